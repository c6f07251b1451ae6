//! Bounded output: rows go in whole, bytes come out as the socket takes them.

use core::fmt::{self, Write as _};
use std::collections::VecDeque;
use std::io::{self, Write};

use super::line::ROW_MAX;

/// Bytes on their way out. `bytes.len()` ≤ `cap`; memory is taken once.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: VecDeque<u8>,
    cap: usize,
}

impl Buffer {
    pub(super) fn new(cap: usize) -> Self {
        Self {
            bytes: VecDeque::with_capacity(cap),
            cap,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn free(&self) -> usize {
        self.cap - self.bytes.len()
    }

    /// One row and its end. What is over [`ROW_MAX`] is cut; the caller has seen to it that
    /// so much is free. An end of line inside becomes a blank.
    pub(super) fn row(&mut self, text: fmt::Arguments<'_>) {
        let left = self.free().min(ROW_MAX).saturating_sub(1);
        let mut row = Row { out: self, left };
        // A row never fails; it is cut.
        let _ = row.write_fmt(text);
        self.bytes.push_back(b'\n');
    }

    /// One row, or nothing at all when it does not fit.
    pub(super) fn try_row(&mut self, text: fmt::Arguments<'_>) -> bool {
        let before = self.bytes.len();
        let left = self.free().min(ROW_MAX);
        let mut row = Row { out: self, left };
        let _ = row.write_fmt(text);
        // At least one byte must be left, for the end.
        let fits = row.left > 0;
        if fits {
            self.bytes.push_back(b'\n');
        } else {
            self.bytes.truncate(before);
        }
        fits
    }

    /// Moves whole lines from `other` while they fit.
    pub(super) fn take_lines(&mut self, other: &mut Self) {
        while let Some(end) = other.bytes.iter().position(|b| *b == b'\n') {
            if end >= self.free() {
                return;
            }
            self.bytes.extend(other.bytes.drain(..=end));
        }
    }

    /// One write of what is at the front; how much the stream took.
    pub(super) fn write_to(&mut self, stream: &mut impl Write) -> io::Result<usize> {
        let (front, _) = self.bytes.as_slices();
        let taken = stream.write(front)?.min(front.len());
        self.bytes.drain(..taken);
        Ok(taken)
    }
}

struct Row<'a> {
    out: &'a mut Buffer,
    left: usize,
}

impl fmt::Write for Row<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut end = text.len();
        if end > self.left {
            end = self.left;
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            self.left = 0;
        } else {
            self.left -= end;
        }
        let text = text.get(..end).unwrap_or_default();
        self.out.bytes.extend(
            text.bytes()
                .map(|b| if matches!(b, b'\n' | b'\r') { b' ' } else { b }),
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(buffer: &mut Buffer) -> String {
        let mut out = Vec::new();
        while !buffer.is_empty() {
            buffer.write_to(&mut out).unwrap();
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_long_row_is_cut_between_characters() {
        let mut buffer = Buffer::new(16 * 1024);
        buffer.row(format_args!("x{}{}", "ä".repeat(ROW_MAX), "tail"));
        let text = text(&mut buffer);
        assert!(text.len() <= ROW_MAX && text.len() >= ROW_MAX - 2);
        assert!(text.ends_with("ä\n"), "the tail would be a lie");
    }

    #[test]
    fn an_end_of_line_inside_a_row_ends_nothing() {
        let mut buffer = Buffer::new(100);
        buffer.row(format_args!("a\n.\r\nb"));
        assert_eq!(text(&mut buffer), "a .  b\n");
    }

    #[test]
    fn a_row_that_does_not_fit_leaves_no_trace() {
        let mut buffer = Buffer::new(10);
        assert!(buffer.try_row(format_args!("12345")));
        assert!(!buffer.try_row(format_args!("{}", "1234")));
        assert!(buffer.try_row(format_args!("{}", "123")));
        assert_eq!(buffer.free(), 0);
        assert_eq!(text(&mut buffer), "12345\n123\n");
    }

    #[test]
    fn only_whole_lines_move() {
        let (mut from, mut to) = (Buffer::new(100), Buffer::new(8));
        from.row(format_args!("123"));
        from.row(format_args!("4567"));
        to.take_lines(&mut from);
        assert_eq!(text(&mut to), "123\n");
        to.take_lines(&mut from);
        assert_eq!(text(&mut to), "4567\n");
        assert!(from.is_empty());
    }
}
