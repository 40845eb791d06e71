//! JSON as Go's encoder writes it, to the byte: sorted keys, and `<`, `>` and `&` escaped.

use zeroize::Zeroizing;

/// JSON under construction. What it holds may be secret, so it is wiped when dropped.
#[derive(Default)]
pub(crate) struct Json(Zeroizing<Vec<u8>>);

impl Json {
    /// An object with these members, in this order.
    pub(crate) fn object<'m, V>(
        &mut self,
        members: impl IntoIterator<Item = (&'m str, V)>,
        mut value: impl FnMut(&mut Self, V),
    ) {
        self.raw("{");
        for (index, (name, member)) in members.into_iter().enumerate() {
            if index > 0 {
                self.raw(",");
            }
            self.text(name);
            self.raw(":");
            value(self, member);
        }
        self.raw("}");
    }

    /// An array of these, in this order.
    pub(crate) fn array<V>(
        &mut self,
        items: impl IntoIterator<Item = V>,
        mut write: impl FnMut(&mut Self, V),
    ) {
        self.raw("[");
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                self.raw(",");
            }
            write(self, item);
        }
        self.raw("]");
    }

    /// A text.
    pub(crate) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// Bytes as text: what is not UTF-8 becomes the replacement character, escaped.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.raw("\"");
        for chunk in bytes.utf8_chunks() {
            let mut rest = chunk.valid();
            while let Some(index) = rest.find(is_escaped) {
                let (plain, odd) = rest.split_at(index);
                self.raw(plain);
                let mut characters = odd.chars();
                if let Some(character) = characters.next() {
                    self.escape(character);
                }
                rest = characters.as_str();
            }
            self.raw(rest);
            for _ in chunk.invalid() {
                self.raw("\\ufffd");
            }
        }
        self.raw("\"");
    }

    fn escape(&mut self, character: char) {
        match character {
            '"' => self.raw("\\\""),
            '\\' => self.raw("\\\\"),
            '\u{8}' => self.raw("\\b"),
            '\u{c}' => self.raw("\\f"),
            '\n' => self.raw("\\n"),
            '\r' => self.raw("\\r"),
            '\t' => self.raw("\\t"),
            character => self.raw(&format!("\\u{:04x}", u32::from(character))),
        }
    }

    /// What is JSON already.
    pub(crate) fn raw(&mut self, json: &str) {
        let free = self.0.capacity() - self.0.len();
        if free < json.len() {
            // Growing in place would leave a copy behind.
            let capacity = (self.0.capacity() * 2)
                .max(self.0.len() + json.len())
                .max(256);
            let mut grown = Zeroizing::new(Vec::with_capacity(capacity));
            grown.extend_from_slice(&self.0);
            self.0 = grown;
        }
        self.0.extend_from_slice(json.as_bytes());
    }

    /// The bytes.
    pub(crate) fn finish(self) -> Zeroizing<Vec<u8>> {
        self.0
    }
}

/// Whether Go's encoder escapes it.
fn is_escaped(character: char) -> bool {
    matches!(
        character,
        '"' | '\\' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}'
    )
}

#[cfg(test)]
mod tests {
    use super::Json;

    #[test]
    fn text_is_escaped_as_go_does() {
        let mut json = Json::default();
        json.bytes(b"<&>\"\\\n\x01\x08\x7f\xe2\x80\xa8\xc3\xa9\xff\xfe");
        assert_eq!(
            json.finish().as_slice(),
            "\"\\u003c\\u0026\\u003e\\\"\\\\\\n\\u0001\\b\u{7f}\\u2028é\\ufffd\\ufffd\"".as_bytes()
        );
    }
}
