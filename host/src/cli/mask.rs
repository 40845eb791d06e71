//! A line of a document with everything masked that could be a value.
//!
//! Passwords are pasted into manifests, so what is shown of a line is its punctuation, the names of
//! Dapr's own fields, and the names that the problem is about.

/// What stands for masked text, however long it is.
const MASK: &str = "***";

/// Dapr's own field names, shown where a `:` follows them.
const FIELDS: &[&str] = &[
    "allowedSecrets",
    "annotations",
    "apiVersion",
    "auth",
    "baseUrl",
    "certificate",
    "clientTLS",
    "defaultAccess",
    "deniedSecrets",
    "envRef",
    "headers",
    "ignoreErrors",
    "initTimeout",
    "key",
    "kind",
    "labels",
    "metadata",
    "name",
    "namespace",
    "privateKey",
    "rootCA",
    "scopes",
    "secretKeyRef",
    "secretStore",
    "secrets",
    "spec",
    "storeName",
    "type",
    "value",
    "version",
];

/// A masked line, and where in it the marked column has gone.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Masked {
    pub(super) text: String,
    /// The bytes of the token at the marked column.
    pub(super) mark: std::ops::Range<usize>,
}

/// Masks a line; `column` counts characters from 1, and `keep` are names that may be shown.
pub(super) fn mask(line: &str, column: usize, keep: &[&str]) -> Masked {
    let column = column.saturating_sub(1);
    let mut masked = String::with_capacity(line.len());
    let mut mark = None;
    let mut taken = 0;
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let token = token(rest, first, keep);
        let length = token.text.chars().count();
        let begin = masked.len();
        masked.push_str(if token.visible { token.text } else { MASK });
        if (taken..taken + length).contains(&column) {
            mark = Some(begin..masked.len());
        }
        taken += length;
        rest = rest.get(token.text.len()..).unwrap_or_default();
    }
    let end = masked.len();
    Masked {
        text: masked,
        mark: mark.unwrap_or(end..end),
    }
}

struct Token<'l> {
    text: &'l str,
    visible: bool,
}

/// The next token: a name to keep, one character of punctuation, or a run of anything else.
fn token<'l>(rest: &'l str, first: char, keep: &[&str]) -> Token<'l> {
    let kept = keep
        .iter()
        .filter(|name| !name.is_empty() && starts_with_name(rest, name));
    if let Some(name) = kept.max_by_key(|name| name.len()) {
        return Token {
            text: rest.get(..name.len()).unwrap_or(rest),
            visible: true,
        };
    }
    if is_punctuation(first) {
        return Token {
            text: rest.get(..first.len_utf8()).unwrap_or(rest),
            visible: true,
        };
    }
    let end = rest.find(is_punctuation).unwrap_or(rest.len());
    let (text, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
    let field =
        FIELDS.contains(&text) && after.trim_start_matches(['"', '\'', ' ']).starts_with(':');
    Token {
        text,
        visible: field,
    }
}

/// Whether a name stands here as a whole.
fn starts_with_name(rest: &str, name: &str) -> bool {
    rest.strip_prefix(name).is_some_and(|after| {
        after
            .chars()
            .next()
            .is_none_or(|next| is_punctuation(next) && next != '-' && next != '.')
    })
}

fn is_punctuation(character: char) -> bool {
    character.is_ascii_punctuation() && character != '_' || character == ' ' || character == '\t'
}

#[cfg(test)]
mod tests {
    use super::mask;

    fn masked(line: &str, keep: &[&str]) -> String {
        mask(line, 1, keep).text
    }

    #[test]
    fn field_names_stay_and_values_go() {
        assert_eq!(masked("    value: hunter2", &[]), "    value: ***");
        assert_eq!(masked("  password: hunter2", &[]), "  ***: ***");
        assert_eq!(masked("name: name", &[]), "name: ***");
        assert_eq!(masked("\"value\": 'a b'", &[]), "\"value\": '*** ***'");
    }

    #[test]
    fn the_reference_stays_where_it_stands_as_a_whole() {
        let keep = ["redis-password", "password"];
        assert_eq!(
            masked("name: redis-password", &keep),
            "name: redis-password"
        );
        assert_eq!(masked("name: redis-password-2", &keep), "name: ***-***-***");
    }

    #[test]
    fn length_is_not_told_and_the_mark_moves_along() {
        let found = mask("value: hunter2 # hunter2hunter2", 8, &[]);
        assert_eq!(found.text, "value: *** # ***");
        assert_eq!(found.mark, 7..10);
        assert_eq!(mask("a", 9, &[]).mark, 3..3);
    }

    #[test]
    fn characters_outside_ascii_are_masked_whole() {
        assert_eq!(masked("value: pässwörd…", &[]), "value: ***");
    }
}
