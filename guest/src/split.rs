//! A text as Dapr splits it into documents' parts.
//!
//! A part ends at a line break followed by `---`; the rest of that line is dropped. Dapr's scanner
//! loses the last part where the text ends within such a line, and never ends where a part is
//! longer than 64 KiB; neither is copied.

/// A part of a text, and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part<'t> {
    pub(crate) text: &'t [u8],
    /// Its first line in the whole text, from 0.
    pub(crate) line: u32,
    /// Whether the line of dashes after it held something else that is dropped.
    pub(crate) drops_text: bool,
}

/// The parts of `text`, in order.
pub(crate) fn parts(text: &[u8]) -> impl Iterator<Item = Part<'_>> {
    let mut rest = (!text.is_empty()).then_some(text);
    let mut line = 0_u32;
    core::iter::from_fn(move || {
        let current = rest?;
        let Some(at) = find(current, SEPARATOR) else {
            rest = None;
            return Some(Part {
                text: current,
                line,
                drops_text: false,
            });
        };
        let (text, after) = current.split_at(at);
        let after = after.get(SEPARATOR.len()..).unwrap_or_default();
        let end = after
            .iter()
            .position(|&byte| byte == b'\n')
            .unwrap_or(after.len());
        let (dropped, after) = after.split_at(end);
        let part = Part {
            text,
            line,
            drops_text: is_content(dropped),
        };
        line = line.saturating_add(line_breaks(text)).saturating_add(2);
        rest = after.get(1..).filter(|after| !after.is_empty());
        Some(part)
    })
}

const SEPARATOR: &[u8] = b"\n---";

fn find(text: &[u8], pattern: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = line_break(text.get(from..)?) {
        if text.get(from + at..)?.starts_with(pattern) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

/// The first line break, looked for in eight bytes at a time.
fn line_break(text: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    const BREAKS: u64 = u64::from_ne_bytes([b'\n'; 8]);
    let (words, _) = text.as_chunks();
    let word = words.iter().position(|&word| {
        // A byte that is zero borrows from its highest bit.
        let zeros = u64::from_ne_bytes(word) ^ BREAKS;
        zeros.wrapping_sub(ONES) & !zeros & HIGH != 0
    });
    let begin = word.unwrap_or(words.len()) * 8;
    let at = text.get(begin..)?.iter().position(|&byte| byte == b'\n');
    at.map(|at| begin + at)
}

/// Whether the rest of a separator's line is more than dashes, blanks or a comment.
fn is_content(rest: &[u8]) -> bool {
    let text = rest.trim_ascii();
    !text.starts_with(b"#") && text.iter().any(|&byte| byte != b'-')
}

/// Line breaks as YAML 1.1 has them, by which the parser counts lines. One that a carriage return
/// at the end begins is the separator's.
pub(crate) fn line_breaks(text: &[u8]) -> u32 {
    let is_break = |&at: &usize| match text.get(at..) {
        Some([b'\r', next, ..]) => *next != b'\n',
        Some([b'\n', ..] | [0xC2, 0x85, ..] | [0xE2, 0x80, 0xA8 | 0xA9, ..]) => true,
        _ => false,
    };
    u32::try_from((0..text.len()).filter(is_break).count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn texts(text: &str) -> Vec<(&str, u32, bool)> {
        parts(text.as_bytes())
            .map(|part| {
                (
                    core::str::from_utf8(part.text).unwrap(),
                    part.line,
                    part.drops_text,
                )
            })
            .collect()
    }

    #[test]
    fn a_line_of_dashes_separates() {
        assert_eq!(texts("a\n---\nb\n"), [("a", 0, false), ("b\n", 2, false)]);
        assert_eq!(
            texts("a\n----------\nb"),
            [("a", 0, false), ("b", 2, false)]
        );
        assert_eq!(texts("a\r\n---\r\nb"), [("a\r", 0, false), ("b", 2, false)]);
    }

    #[test]
    fn dashes_elsewhere_do_not() {
        assert_eq!(texts("---\na\n"), [("---\na\n", 0, false)]);
        assert_eq!(texts("a\n ---\nb"), [("a\n ---\nb", 0, false)]);
    }

    #[test]
    fn the_rest_of_the_line_is_dropped() {
        assert_eq!(
            texts("a\n--- # note\nb"),
            [("a", 0, false), ("b", 2, false)]
        );
        assert_eq!(texts("a\n--- {b: c}\nd"), [("a", 0, true), ("d", 2, false)]);
        assert_eq!(
            texts("a\n-----BEGIN KEY-----\nd"),
            [("a", 0, true), ("d", 2, false)]
        );
    }

    #[test]
    fn lines_are_counted_as_the_parser_counts_them() {
        let text = "a\rb\r\nc\u{85}d\u{2028}e\u{2029}f\ng\r\n---\nh";
        assert_eq!(texts(text).get(1), Some(&("h", 8, false)));
    }

    #[test]
    fn a_text_cut_within_the_separator_keeps_its_last_part() {
        assert_eq!(texts("a\n---"), [("a", 0, false)]);
        assert_eq!(texts("a\n--- "), [("a", 0, false)]);
        assert_eq!(texts("a\n---\r"), [("a", 0, false)]);
    }

    #[test]
    fn no_text_has_no_parts() {
        assert_eq!(texts(""), []);
    }
}
