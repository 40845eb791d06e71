//! HTML under construction: what is not of the program's own text goes in escaped, and nothing else can.

use std::fmt::{self, Display, Write};

use crate::problem::escape;

/// How many characters of a text are shown.
const MOST_TEXT: usize = 1_000;

/// HTML that is well-formed as far as its fixed parts are.
#[derive(Debug, Default)]
pub(super) struct Markup(String);

impl Markup {
    /// Adds HTML of the program's own.
    pub(super) fn html(&mut self, html: &'static str) -> &mut Self {
        self.0.push_str(html);
        self
    }

    /// Adds text, which may be anybody's: fit for what stands between tags, and between quotes within
    /// them. Characters that are not seen, or reorder others, are shown by their numbers.
    pub(super) fn text(&mut self, text: impl Display) -> &mut Self {
        let mut escaped = Escaped {
            into: &mut self.0,
            left: MOST_TEXT,
            is_cut: false,
        };
        let _ = write!(escaped, "{text}");
        self
    }

    /// Adds other HTML.
    pub(super) fn markup(&mut self, other: &Self) -> &mut Self {
        self.0.push_str(&other.0);
        self
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

struct Escaped<'m> {
    into: &'m mut String,
    /// How many characters may still be shown.
    left: usize,
    /// Whether more was to be shown.
    is_cut: bool,
}

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            if self.left == 0 {
                if !self.is_cut {
                    self.is_cut = true;
                    self.into.push('…');
                }
                return Ok(());
            }
            self.left -= 1;
            match character {
                '&' => self.into.push_str("&amp;"),
                '<' => self.into.push_str("&lt;"),
                '>' => self.into.push_str("&gt;"),
                '"' => self.into.push_str("&quot;"),
                '\'' => self.into.push_str("&#39;"),
                character => escape(character, self.into),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST_TEXT, Markup};

    #[test]
    fn text_is_no_markup_and_hides_nothing() {
        let mut markup = Markup::default();
        markup
            .html("<b title=\"")
            .text("<script>\"'&\u{202e}\0\n\u{200b}é");
        assert_eq!(
            markup.finish(),
            "<b title=\"&lt;script&gt;&quot;&#39;&amp;\\u{202e}\\u{0}\\n\\u{200b}é"
        );
        for (length, end) in [(MOST_TEXT, 'x'), (MOST_TEXT + 1, '…'), (MOST_TEXT * 2, '…')] {
            let mut markup = Markup::default();
            // In parts, as a format writes it.
            markup.text(format_args!("{}x{}", "x", "x".repeat(length - 2)));
            let text = markup.finish();
            assert!(text.starts_with(&"x".repeat(MOST_TEXT)) && text.ends_with(end));
            assert_eq!(text.matches('…').count(), usize::from(end == '…'));
        }
    }
}
