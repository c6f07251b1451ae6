//! Whom to ask: the control socket of the home, else the TCP port there, as the switches say
//! (service 2).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::os::file;

/// Bytes of a port or token file.
const TEXT_MAX: usize = 4096;
/// Written at every start of the service, and left when it stops.
const PORT_FILE: &str = "zerotier-one.port";
const TOKEN_FILE: &str = "authtoken.secret";
/// A copy that a user may keep.
#[cfg(not(target_os = "macos"))]
const USER_TOKEN_FILE: &str = ".zeroTierOneAuthToken";
/// A copy that a user may keep.
#[cfg(target_os = "macos")]
const USER_TOKEN_FILE: &str = "Library/Application Support/ZeroTier/One/authtoken.secret";

/// What the switches say of the service.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) home: PathBuf,
    pub(super) port: Option<u16>,
    pub(super) token: Option<String>,
    pub(super) ip: Option<IpAddr>,
}

/// A token, and whose it is.
pub(super) struct Token {
    pub(super) text: Zeroizing<String>,
    /// The user whose file it was; none: it was given by hand.
    #[cfg(feature = "http-compat")]
    pub(super) owner: Option<u32>,
}

impl Target {
    /// Of a home directory, without switches.
    pub(super) fn new(home: impl Into<PathBuf>) -> Self {
        Self {
            home: home.into(),
            port: None,
            token: None,
            ip: None,
        }
    }

    /// A service ran there some time.
    pub(super) fn has_port_file(&self) -> bool {
        file::exists(&self.home.join(PORT_FILE))
    }

    /// A TCP port was named, and not that of the service that has the home: that one is reached
    /// by its socket.
    pub(super) fn is_by_tcp(&self) -> bool {
        let stored = self.stored_port();
        self.ip.is_some() || self.port.is_some() && stored.is_some() && self.port != stored
    }

    /// Where the TCP port is.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        let ip = self.ip.unwrap_or(Ipv4Addr::LOCALHOST.into());
        let port = self.port.or_else(|| self.stored_port())?;
        Some(SocketAddr::new(ip, port))
    }

    fn stored_port(&self) -> Option<u16> {
        let text = read_text(&self.home.join(PORT_FILE))?;
        text.parse().ok().filter(|port| *port != 0)
    }

    /// The token, from wherever it can be had.
    pub(super) fn token(&self) -> Option<Token> {
        if let Some(text) = &self.token {
            return Some(Token {
                text: Zeroizing::new(text.clone()),
                #[cfg(feature = "http-compat")]
                owner: None,
            });
        }
        read_token(&self.home.join(TOKEN_FILE)).or_else(|| {
            let home = crate::os::environment(c"HOME").filter(|home| !home.is_empty())?;
            read_token(&Path::new(&home).join(USER_TOKEN_FILE))
        })
    }
}

/// A small text without blanks around it. A pipe that lies there in its place does not stop us, nor does a device.
fn read_text(path: &Path) -> Option<Zeroizing<String>> {
    let bytes = Zeroizing::new(file::read_bounded(path, TEXT_MAX).ok()?);
    let text = core::str::from_utf8(&bytes).ok()?;
    Some(Zeroizing::new(text.trim_ascii().to_owned()))
}

fn read_token(path: &Path) -> Option<Token> {
    let text = read_text(path)?;
    (!text.is_empty()).then(|| Token {
        text,
        #[cfg(feature = "http-compat")]
        owner: file::look(path, file::Look::Through)
            .ok()
            .map(|seen| seen.st_uid),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_in_place_of_a_file_is_passed_over() {
        let home = std::env::temp_dir().join(format!("zt-{}-pipes", std::process::id()));
        let _ = std::fs::remove_dir_all(&home);
        std::fs::create_dir_all(&home).expect("a directory");
        for name in [PORT_FILE, TOKEN_FILE] {
            nix::unistd::mkfifo(&home.join(name), nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        }
        assert_eq!(Target::new(&home).address(), None);
        assert!(read_token(&home.join(TOKEN_FILE)).is_none());
        for (name, text) in [(PORT_FILE, "9994\n"), (TOKEN_FILE, " secret\n")] {
            std::fs::remove_file(home.join(name)).expect("removed");
            file::write_cache(&home.join(name), text.as_bytes(), 0o600).expect("written");
        }
        assert_eq!(Target::new(&home).stored_port(), Some(9994));
        let token = read_token(&home.join(TOKEN_FILE)).expect("a token");
        assert_eq!(*token.text, "secret");
        std::fs::remove_dir_all(&home).expect("removed");
    }
}
