//! The log: standard error, or syslog in the background.
//!
//! Never waits: a line that finds no room is counted, and the count is told with the next line
//! that gets through. One line is at most [`LINE_MAX`] bytes.

use core::fmt::{self, Write as _};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use ::log::{Level, LevelFilter, Metadata, Record};

use crate::base::Mono;
use crate::base::gate::Once;
use crate::os::{file, local};

/// Hands a line to the log. A place that has something to say should cost no more than its text and
/// what the text tells of; the macros of the crate ask for the level at each, and carry file, line and
/// module, which nobody is shown.
fn say(level: Level, text: fmt::Arguments<'_>) {
    if level <= ::log::max_level() {
        let record = Record::builder().level(level).args(text).build();
        ::log::logger().log(&record);
    }
}

/// An error, see [`say`].
#[cold]
#[inline(never)]
pub(super) fn say_error(text: fmt::Arguments<'_>) {
    say(Level::Error, text);
}

/// A warning.
#[cold]
#[inline(never)]
pub(super) fn say_warn(text: fmt::Arguments<'_>) {
    say(Level::Warn, text);
}

/// What is worth knowing.
#[cold]
#[inline(never)]
pub(super) fn say_info(text: fmt::Arguments<'_>) {
    say(Level::Info, text);
}

/// What helps to find out why.
#[cold]
#[inline(never)]
pub(super) fn say_debug(text: fmt::Arguments<'_>) {
    say(Level::Debug, text);
}

macro_rules! error {
    ($($text:tt)+) => { $crate::service::log::say_error(format_args!($($text)+)) };
}
// There is an attribute of that name.
macro_rules! warn_ {
    ($($text:tt)+) => { $crate::service::log::say_warn(format_args!($($text)+)) };
}
macro_rules! info {
    ($($text:tt)+) => { $crate::service::log::say_info(format_args!($($text)+)) };
}
macro_rules! debug {
    ($($text:tt)+) => { $crate::service::log::say_debug(format_args!($($text)+)) };
}
pub(super) use {debug, error, info, warn_ as warn};

/// Longest line.
pub const LINE_MAX: usize = 1024;

/// Where lines go.
#[derive(Debug)]
enum Sink {
    /// With procd or systemd this becomes the system log; by hand it is the terminal.
    Stderr,
    /// Datagrams to `/dev/log`.
    Syslog(OwnedFd),
}

#[derive(Debug)]
struct Backend {
    sink: Sink,
    lost: AtomicU32,
    listened: AtomicBool,
    /// For those who listen, until the loop tells them. Never more than [`TAIL_MAX`].
    tail: Mutex<VecDeque<(&'static str, String)>>,
}

/// Lines between two turns of the loop that listeners are told; of more, the later ones.
const TAIL_MAX: usize = 32;

/// What was logged since it was last taken.
#[derive(Clone, Copy, Debug)]
pub struct Tail(&'static Backend);

impl Tail {
    /// Keeps lines from now on, or no more.
    pub fn listen(&self, on: bool) {
        if self.0.listened.swap(on, Ordering::Relaxed) && !on {
            *self.0.tail() = VecDeque::new();
        }
    }

    /// The oldest line: its level and text.
    pub fn take(&self) -> Option<(&'static str, String)> {
        self.0.tail().pop_front()
    }
}

/// Facility daemon (RFC 3164).
const FACILITY: u8 = 3 << 3;
const SYSLOG_PATHS: [&str; 2] = ["/dev/log", "/var/run/log"];

/// Starts the log. Later calls change nothing, and give nothing.
pub fn start(background: bool) -> Option<Tail> {
    let sink = if background {
        local::datagrams().map_or(Sink::Stderr, Sink::Syslog)
    } else {
        Sink::Stderr
    };
    let backend: &'static Backend = Box::leak(Box::new(Backend {
        sink,
        lost: AtomicU32::new(0),
        listened: AtomicBool::new(false),
        tail: Mutex::default(),
    }));
    ::log::set_logger(backend).ok()?;
    ::log::set_max_level(LevelFilter::Info);
    Some(Tail(backend))
}

/// As a shell has it for a process that was aborted.
const FAULT_STATUS: i32 = 134;

/// From now on a panic is one line that says where, and the end of the process: whoever watches it
/// starts it again, and half a state serves nobody. The status is that of an abort, which itself
/// needs a signal that the filter of system calls holds back.
pub fn tell_of_faults() {
    // Where it ends the process at once, without a word, nobody would hear of it.
    if cfg!(panic = "immediate-abort") {
        return;
    }
    std::panic::set_hook(Box::new(|info| {
        let payload = info.payload();
        let what = payload.downcast_ref::<&str>().copied();
        let what = what.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let what = what.unwrap_or("panic");
        let place = info
            .location()
            .map_or_else(String::new, ToString::to_string);
        let text = format!("fault of {} at {place}: {what}", super::VERSION);
        if ::log::max_level() == LevelFilter::Off {
            file::write_stderr_now(format!("{text}\n").as_bytes());
        }
        error!("{text}");
        std::process::exit(FAULT_STATUS);
    }));
}

/// The level by its name.
pub(super) fn level_name() -> String {
    ::log::max_level().as_str().to_ascii_lowercase()
}

/// Sets the level by its name.
pub fn set_level(name: &str) -> bool {
    let level = name.parse::<LevelFilter>();
    if let Ok(level) = level {
        ::log::set_max_level(level);
    }
    level.is_ok()
}

const fn severity(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

const fn word(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warn => "warning",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    }
}

/// Bytes of a line; what does not fit is cut.
struct Line(heapless::Vec<u8, LINE_MAX>);

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for &byte in text.as_bytes() {
            // One line is one line, whatever a name from the network holds.
            let byte = if byte < b' ' || byte == 0x7f {
                b'?'
            } else {
                byte
            };
            if self.0.push(byte).is_err() {
                break;
            }
        }
        Ok(())
    }
}

impl Backend {
    fn tail(&self) -> impl core::ops::DerefMut<Target = VecDeque<(&'static str, String)>> {
        // A panic ends the process.
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, level: Level, text: fmt::Arguments<'_>) {
        let mut line = Line(heapless::Vec::new());
        let _ = line.write_fmt(text);
        let mut tail = self.tail();
        if tail.len() >= TAIL_MAX {
            tail.pop_front();
        }
        tail.push_back((word(level), String::from_utf8_lossy(&line.0).into_owned()));
    }

    fn emit(&self, line: &[u8], level: Level) -> bool {
        match &self.sink {
            Sink::Stderr => crate::os::file::write_stderr_now(line),
            Sink::Syslog(socket) => {
                let mut framed = Line(heapless::Vec::new());
                let _ = write!(
                    framed,
                    "<{}>zerotier-one[{}]: ",
                    FACILITY | severity(level),
                    std::process::id()
                );
                let room = LINE_MAX.saturating_sub(framed.0.len());
                let _ = framed.0.extend_from_slice(line.get(..room).unwrap_or(line));
                SYSLOG_PATHS
                    .iter()
                    .any(|path| local::send_to(socket, &framed.0, Path::new(path)).is_ok())
            }
        }
    }

    fn line(&self, level: Level, text: fmt::Arguments<'_>) -> bool {
        let mut line = Line(heapless::Vec::new());
        if matches!(self.sink, Sink::Stderr) {
            let _ = write!(line, "{}: ", word(level));
        }
        let _ = line.write_fmt(text);
        if matches!(self.sink, Sink::Stderr) {
            line.0.truncate(LINE_MAX - 1);
            let _ = line.0.push(b'\n');
        }
        self.emit(&line.0, level)
    }
}

impl ::log::Log for Backend {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= ::log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let lost = self.lost.load(Ordering::Relaxed);
        if lost > 0 && self.line(Level::Warn, format_args!("{lost} log lines lost")) {
            self.lost.store(0, Ordering::Relaxed);
        }
        if self.listened.load(Ordering::Relaxed) {
            self.keep(record.level(), *record.args());
        }
        if !self.line(record.level(), *record.args()) {
            let lost = self.lost.load(Ordering::Relaxed);
            self.lost.store(lost.saturating_add(1), Ordering::Relaxed);
        }
    }

    fn flush(&self) {}
}

/// What can repeat. The pair with a number (a socket, a network, an errno) is one cause.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// A socket could not be bound.
    Bind,
    /// Sending failed, by errno.
    Send,
    /// Receiving failed, by errno.
    Receive,
    /// A tap could not be made or set up, by network.
    Tap,
    /// A managed address could not be set, by network.
    Address,
    /// A route could not be set, by network.
    Route,
    /// The list of interfaces could not be read.
    Interfaces,
    /// Another node claims our address.
    Collision,
    /// A control connection.
    Control,
    /// A file.
    File,
}

/// Interval of one cause.
const REPEAT_MS: u64 = 60_000;
/// The same for a collision, which lasts until its owner acts.
const COLLISION_REPEAT_MS: u64 = 3_600_000;
/// Causes remembered; the one said longest ago gives way.
const CAUSES_MAX: usize = 32;

#[derive(Debug)]
struct Entry {
    cause: (Cause, u64),
    gate: Once,
    said: Mono,
    held_back: u32,
}

/// Lets a cause speak at once, then once a minute with a count (wishes 70).
#[derive(Debug, Default)]
pub struct Gate {
    entries: Vec<Entry>,
}

impl Gate {
    /// May it be said? If so, how many times it was not since the last time.
    pub fn pass(&mut self, now: Mono, cause: Cause, number: u64) -> Option<u32> {
        let cause = (cause, number);
        let interval = if cause.0 == Cause::Collision {
            COLLISION_REPEAT_MS
        } else {
            REPEAT_MS
        };
        if let Some(entry) = self.entries.iter_mut().find(|e| e.cause == cause) {
            if !entry.gate.pass(now, interval) {
                entry.held_back = entry.held_back.saturating_add(1);
                return None;
            }
            entry.said = now;
            return Some(core::mem::take(&mut entry.held_back));
        }
        let mut entry = Entry {
            cause,
            gate: Once::new(),
            said: now,
            held_back: 0,
        };
        entry.gate.pass(now, interval);
        if self.entries.len() < CAUSES_MAX {
            self.entries.push(entry);
        } else if let Some(oldest) = self.entries.iter_mut().min_by_key(|e| e.said) {
            *oldest = entry;
        }
        Some(0)
    }

    /// Warns, unless the same cause did within the last minute.
    pub fn warn(&mut self, now: Mono, cause: Cause, number: u64, text: fmt::Arguments<'_>) {
        match self.pass(now, cause, number) {
            Some(0) => warn_!("{text}"),
            Some(n) => warn_!("{text} ({n} times more since the last line)"),
            None => {}
        }
    }

    /// A cause that ended: if it comes back, that is news.
    pub fn over(&mut self, cause: Cause, number: u64) {
        let mut entries = self.entries.iter();
        if let Some(n) = entries.position(|e| e.cause == (cause, number)) {
            self.entries.swap_remove(n);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_speaks_at_once_then_once_a_minute_with_a_count() {
        let mut gate = Gate::default();
        let t = Mono::from_ms(1 << 40);
        assert_eq!(gate.pass(t, Cause::Bind, 1), Some(0));
        assert_eq!(gate.pass(t, Cause::Bind, 2), Some(0));
        for s in 1..60 {
            assert_eq!(gate.pass(t.after(s * 1000), Cause::Bind, 1), None);
        }
        assert_eq!(gate.pass(t.after(60_000), Cause::Bind, 1), Some(59));
        gate.over(Cause::Bind, 1);
        assert_eq!(gate.pass(t.after(60_001), Cause::Bind, 1), Some(0));
    }

    #[test]
    fn a_panic_is_one_line_with_the_place_and_the_end() {
        const CHILD: &str = "ZT_TEST_PANIC";
        if std::env::var_os(CHILD).is_some() {
            tell_of_faults();
            start(false);
            panic!("on\npurpose {}", 1 + 1);
        }
        let this = "service::log::tests::a_panic_is_one_line_with_the_place_and_the_end";
        let child = std::process::Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", this, "--nocapture"])
            .env(CHILD, "1")
            .output()
            .expect("a child");
        assert_eq!(child.status.code(), Some(FAULT_STATUS));
        let text = String::from_utf8_lossy(&child.stderr);
        let wanted = format!("error: fault of {} at {}:", super::super::VERSION, file!());
        assert!(text.starts_with(&wanted), "{text}");
        assert!(text.ends_with(": on?purpose 2\n"), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }

    #[test]
    fn causes_are_bounded() {
        let mut gate = Gate::default();
        for n in 0..1000 {
            assert_eq!(gate.pass(Mono::from_ms(n), Cause::Send, n), Some(0));
        }
        assert_eq!(gate.entries.len(), CAUSES_MAX);
    }

    #[test]
    fn control_characters_do_not_reach_the_log_and_long_lines_are_cut() {
        let mut line = Line(heapless::Vec::new());
        let _ = write!(line, "a\nb\u{1b}[2J{}", "x".repeat(2000));
        assert_eq!(line.0.get(..7), Some(&b"a?b?[2J"[..]));
        assert_eq!(line.0.len(), LINE_MAX);
    }
}
