# Shared by the scripts: what a fresh Debian machine lacks, and namespaces that clean up.
# Sourced, not run.

MSRV=1.89

say() { printf '%s\n' "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# version_ge A B: is A at least B?
version_ge() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

apt_install() {
    [ "$(id -u)" = 0 ] || { say "missing: $* (run as root, or: apt-get install $*)"; return 1; }
    command -v apt-get >/dev/null || { say "missing: $* (no apt-get here)"; return 1; }
    if [ -z "${APT_UPDATED-}" ]; then
        apt-get update -qq >/dev/null 2>&1 || true
        APT_UPDATED=1
    fi
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# need COMMAND PACKAGE: installs PACKAGE if COMMAND is not there.
need() { command -v "$1" >/dev/null 2>&1 || apt_install "$2"; }

# A Rust toolchain of at least the MSRV and a C linker.
need_rust() {
    command -v cc >/dev/null 2>&1 || apt_install gcc libc6-dev || return 1
    # A toolchain of rustup may not be on the path of a root shell.
    for dir in "$HOME/.cargo/bin" ${SUDO_USER:+"$(getent passwd "$SUDO_USER" | cut -d: -f6)/.cargo/bin"}; do
        [ -x "$dir/cargo" ] && ! command -v cargo >/dev/null 2>&1 && PATH="$dir:$PATH"
    done
    if command -v cargo >/dev/null 2>&1 &&
        version_ge "$(rustc --version 2>/dev/null | awk '{print $2}')" "$MSRV"; then
        return 0
    fi
    apt_install cargo-web rustc-web || return 1
    hash -r
    version_ge "$(rustc --version | awk '{print $2}')" "$MSRV" ||
        die "rustc $(rustc --version | awk '{print $2}') is older than $MSRV"
}

# Can this machine make namespaces and taps? Says what is missing.
can_namespaces() {
    [ "$(id -u)" = 0 ] || { say "needs root (network namespaces and taps)"; return 1; }
    need ip iproute2 || return 1
    if [ ! -c /dev/net/tun ]; then
        mkdir -p /dev/net && mknod /dev/net/tun c 10 200 2>/dev/null
    fi
    ( : <>/dev/net/tun ) 2>/dev/null ||
        { say "needs /dev/net/tun (kernel module tun)"; return 1; }
    ip netns add "zt$$-try" 2>/dev/null ||
        { say "may not make network namespaces here"; return 1; }
    ip netns del "zt$$-try"
}

# Can this machine look into programs? Containers may not.
can_trace() {
    need strace strace || return 1
    strace -o /dev/null true 2>/dev/null || { say "may not trace programs here"; return 1; }
}

# lab_up NODE…: a switch and one namespace a node, all named by our process id (and LAB_TAG, for
# labs beside each other). Node number n has 10.99.n.1/16. Sets NS_PREFIX.
lab_up() {
    NS_PREFIX="zt$$${LAB_TAG-}"
    LAB_NODES="$*"
    ip netns add "$NS_PREFIX-switch"
    ip -n "$NS_PREFIX-switch" link add br0 type bridge
    ip -n "$NS_PREFIX-switch" link set br0 up
    local n=0 node
    for node in "$@"; do
        n=$((n + 1))
        ip netns add "$NS_PREFIX-$node"
        ip -n "$NS_PREFIX-$node" link set lo up
        ip -n "$NS_PREFIX-switch" link add "v$n" type veth peer name eth0 netns "$NS_PREFIX-$node"
        ip -n "$NS_PREFIX-switch" link set "v$n" master br0 up
        ip -n "$NS_PREFIX-$node" addr add "10.99.$n.1/16" dev eth0
        ip -n "$NS_PREFIX-$node" link set eth0 up
    done
}

on() { local node=$1; shift; ip netns exec "$NS_PREFIX-$node" "$@"; }

# start NODE LOG COMMAND…: runs a program in a node's namespace, in the background; its own
# process id (not that of a shell around it) goes to LAB_PIDS.
start() {
    local node=$1 log=$2; shift 2
    ip netns exec "$NS_PREFIX-$node" "$@" >"$log" 2>&1 &
    LAB_PIDS="${LAB_PIDS-} $!"
}

# Ends only what this shell started (LAB_PIDS) and removes only its own namespaces.
lab_down() {
    local pid node
    for pid in ${LAB_PIDS-}; do kill "$pid" 2>/dev/null || true; done
    for pid in ${LAB_PIDS-}; do wait "$pid" 2>/dev/null || true; done
    LAB_PIDS=
    for node in ${LAB_NODES-} switch; do
        ip netns del "${NS_PREFIX-none}-$node" 2>/dev/null || true
    done
    LAB_NODES=
}

# release_binary: ZT_BIN is what is measured: as it is set, or built now.
release_binary() {
    [ -z "${ZT_BIN-}" ] || return 0
    need_rust || die "no Rust toolchain"
    cargo build --quiet --release || die "build failed"
    ZT_BIN=$(cd "${CARGO_TARGET_DIR:-target}/release" && pwd)/zerotier-one
}

# own_planet DIR ROOT IP: an identity for DIR/ROOT, and a planet with that root alone in each home
# that DIR has.
own_planet() {
    local home
    "$ZT_BIN" idtool generate "$1/$2/identity.secret" "$1/$2/identity.public" >/dev/null
    "$ZT_BIN" idtool genplanet "$1/$2/identity.public@$3/9993" -o "$1/planet" -k "$1/planet.key" >/dev/null
    for home in "$1"/*/; do cp "$1/planet" "$home/planet"; done
}

# until_ok SECONDS COMMAND…: repeats the command until it succeeds.
until_ok() {
    local end=$(($(date +%s%3N) + $1 * 1000)); shift
    until "$@" >/dev/null 2>&1; do
        [ "$(date +%s%3N)" -lt "$end" ] || return 1
        sleep 0.05
    done
}
