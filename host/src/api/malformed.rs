//! What is wrong in a body that must be empty or a JSON object.

use serde::Deserialize;
use serde::de::IgnoredAny;

/// Why Dapr's JSON decoder takes a body for none, nearly in its words; nothing where it takes it.
pub(crate) fn reason(body: &[u8]) -> Option<String> {
    if body.is_empty() {
        return None;
    }
    let is_object = body.trim_ascii_start().starts_with(b"{");
    let (line, column) = match serde_json::from_slice::<AnyObject>(body) {
        Ok(_) if is_object => return None,
        Ok(_) => (1, 1),
        Err(error) => (error.line().max(1), error.column().max(1)),
    };
    let token = token_at(body, line, column);
    Some(if token.is_empty() {
        "syntax error: unexpected EOF".to_owned()
    } else {
        format!("syntax error (line {line}:{column}): invalid value {token}")
    })
}

/// An object, of which nothing is kept.
#[derive(Deserialize)]
struct AnyObject {
    #[serde(rename = "storeName")]
    _store_name: Option<IgnoredAny>,
}

/// What stands at a place of a body, as Dapr's JSON decoder names it: up to 32 characters of a word,
/// or one.
fn token_at(body: &[u8], line: usize, column: usize) -> String {
    let text = String::from_utf8_lossy(body);
    let line = text.split('\n').nth(line - 1).unwrap_or_default();
    let rest = line.chars().skip(column - 1);
    let is_word =
        |character: &char| character.is_ascii_alphanumeric() || "-+._".contains(*character);
    let word: String = rest.clone().take_while(is_word).take(32).collect();
    if word.is_empty() {
        rest.take(1).collect()
    } else {
        word
    }
}

#[cfg(test)]
mod tests {
    use super::token_at;

    #[test]
    fn what_is_wrong_in_a_body_is_named_as_dapr_does() {
        assert_eq!(token_at(b"{bad json", 1, 2), "bad");
        assert_eq!(token_at(b"\n[", 2, 1), "[");
        assert_eq!(token_at(b"{", 1, 2), "");
    }
}
