//! Bounded output: rows go in whole, bytes come out as the socket takes them.

use core::fmt::{self, Write as _};

use super::line::ROW_MAX;

/// Bytes on their way out: those from `taken` on. They are at most `cap`; memory is taken once.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    taken: usize,
    cap: usize,
}

impl Buffer {
    pub(super) fn new(cap: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(cap),
            taken: 0,
            cap,
        }
    }

    /// What is on its way out.
    pub(super) fn rest(&self) -> &[u8] {
        self.bytes.get(self.taken..).unwrap_or_default()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest().is_empty()
    }

    pub(super) fn free(&self) -> usize {
        self.cap - self.rest().len()
    }

    /// One row and its end. What is over [`ROW_MAX`] is cut; the caller has seen to it that
    /// so much is free. An end of line inside becomes a blank.
    pub(super) fn row(&mut self, text: fmt::Arguments<'_>) {
        // A row never fails; it is cut.
        self.write_row(self.free().min(ROW_MAX).saturating_sub(1), text);
        self.bytes.push(b'\n');
    }

    /// One row, or nothing at all when it does not fit.
    pub(super) fn try_row(&mut self, text: fmt::Arguments<'_>) -> bool {
        let left = self.free().min(ROW_MAX);
        let before = self.rest().len();
        // At least one byte must be left, for the end.
        let fits = self.write_row(left, text) > 0;
        if fits {
            self.bytes.push(b'\n');
        } else {
            self.bytes.truncate(self.taken + before);
        }
        fits
    }

    /// So many bytes of a row at most; how many are left.
    fn write_row(&mut self, left: usize, text: fmt::Arguments<'_>) -> usize {
        self.make_room(left);
        let mut row = Row { out: self, left };
        let _ = row.write_fmt(text);
        row.left
    }

    /// Room for so much and an end of line, if it is free at all.
    fn make_room(&mut self, count: usize) {
        if self.bytes.len() + count >= self.cap {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
    }

    /// Moves whole lines from `other` while they fit.
    pub(super) fn take_lines(&mut self, other: &mut Self) {
        while let Some(end) = other.rest().iter().position(|b| *b == b'\n') {
            if end >= self.free() {
                return;
            }
            self.make_room(end + 1);
            self.bytes
                .extend_from_slice(other.rest().get(..=end).unwrap_or_default());
            other.took(end + 1);
        }
    }

    /// So much of what is at the front is out.
    pub(super) fn took(&mut self, count: usize) {
        self.taken = (self.taken + count).min(self.bytes.len());
        if self.is_empty() {
            self.bytes.clear();
            self.taken = 0;
        }
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
        let before = self.out.bytes.len();
        let text = text.as_bytes().get(..end).unwrap_or_default();
        self.out.bytes.extend_from_slice(text);
        for byte in self.out.bytes.iter_mut().skip(before) {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(buffer: &mut Buffer) -> String {
        let text = String::from_utf8(buffer.rest().to_vec()).unwrap();
        buffer.took(text.len());
        text
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
