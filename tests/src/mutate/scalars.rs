//! YAML 1.1 scalars of every kind.

use super::emit::Node;
use super::lists::{
    BAD_ESCAPES, BOOLS, BREAKS, BROKEN, DATES, ESCAPES, FOLDS, JOINTS, LINES, MORE_WORDS, NULLS,
    NUMBERS, QUOTABLE, SEPARATORS, STRANGE, TAGGED, TIMES, WORDS, ZONES,
};
use super::rng::Rng;

/// Returns a scalar of any kind; a few in a hundred are none that Dapr accepts.
pub(super) fn any(rng: &mut Rng) -> Node {
    let text = match rng.below(100) {
        0..14 => words(rng),
        14..32 => number(rng),
        32..39 => rng.pick(BOOLS).to_owned(),
        39..43 => rng.pick(NULLS).to_owned(),
        43..49 => timestamp(rng),
        49..58 => rng.pick(STRANGE).to_owned(),
        58..62 => [words(rng), rng.pick(FOLDS).to_owned(), words(rng)].concat(),
        62..69 => single_quoted(rng),
        69..82 => double_quoted(rng),
        82..91 => return block(rng),
        91..99 => return tagged(rng),
        _ => rng.pick(BROKEN).to_owned(),
    };
    Node::Inline(text)
}

/// Writes `text` between double quotes.
pub(super) fn quote(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", text.replace('\n', "\\n"))
}

/// Joins a few words by what a plain scalar may hold between them.
pub(super) fn words(rng: &mut Rng) -> String {
    let mut text = rng.pick(WORDS).to_owned();
    for _ in 0..rng.below(3) {
        text += rng.pick(JOINTS);
        text += rng.pick(MORE_WORDS);
    }
    text
}

/// Returns a number, or what nearly is one, in one of the many ways to write it.
fn number(rng: &mut Rng) -> String {
    if rng.chance(45) {
        return rng.pick(NUMBERS).to_owned();
    }
    let mut text = rng.pick(&["", "", "", "-", "+"]).to_owned();
    let prefix = rng.pick(&["", "", "", "0", "0o", "0x", "0b", "."]);
    text += prefix;
    text += &digits(rng, prefix);
    if rng.chance(25) {
        text = format!("{text}.{}", digits(rng, "."));
    }
    if rng.chance(20) {
        let highest = rng.pick(&[10, 40, 330]);
        text += rng.pick(&["e", "E", "e+", "e-", "E-"]);
        text += &rng.below(highest).to_string();
    }
    text
}

/// Returns one or more digits of the base that `prefix` stands for, perhaps with underscores.
fn digits(rng: &mut Rng, prefix: &str) -> String {
    let alphabet: &[&str] = match prefix {
        "0b" => &["0", "1", "1"],
        "0" | "0o" => &["0", "1", "2", "3", "4", "5", "6", "7"],
        "0x" => &["0", "1", "9", "a", "B", "c", "F", "e"],
        _ => &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
    };
    let longest = rng.pick(&[1, 3, 9, 24]);
    let mut text = String::new();
    for _ in 0..=rng.below(longest) {
        text += rng.pick(alphabet);
        text += if rng.chance(3) { "_" } else { "" };
    }
    text
}

/// Returns a date or time, not always one that exists.
fn timestamp(rng: &mut Rng) -> String {
    let parts = [DATES, SEPARATORS, TIMES, ZONES].map(|part| rng.pick(part));
    parts.concat().trim_end().to_owned()
}

/// Returns a scalar between single quotes.
fn single_quoted(rng: &mut Rng) -> String {
    let mut text = String::new();
    for _ in 0..rng.below(4) {
        text += match rng.below(8) {
            0..4 => rng.pick(WORDS),
            4 => "''",
            5 => rng.pick(FOLDS),
            6 => rng.pick(BREAKS),
            _ => rng.pick(QUOTABLE),
        };
    }
    format!("'{text}'")
}

/// Returns a scalar between double quotes with escapes, nearly all of them known to YAML 1.1.
fn double_quoted(rng: &mut Rng) -> String {
    let mut text = String::new();
    for _ in 0..rng.below(6) {
        match rng.below(40) {
            0..12 => text += rng.pick(WORDS),
            12..22 => text += rng.pick(ESCAPES),
            22..28 => text += &numeric_escape(rng),
            28..32 => text += rng.pick(FOLDS),
            32..34 => text += rng.pick(BREAKS),
            34..39 => text += rng.pick(QUOTABLE),
            _ if rng.chance(30) => text += rng.pick(BAD_ESCAPES),
            _ => text.push(rng.character()),
        }
    }
    format!("\"{text}\"")
}

/// Returns the escape of a character by its number, rarely of half of a surrogate pair.
fn numeric_escape(rng: &mut Rng) -> String {
    let code = u32::from(rng.character());
    match rng.below(4) {
        0 if code < 0x100 => format!("\\x{code:02x}"),
        1 if code < 0x1_0000 => format!("\\u{code:04X}"),
        _ => format!("\\U{code:08x}"),
    }
}

/// Returns a literal or folded scalar.
fn block(rng: &mut Rng) -> Node {
    let mut lines = vec![rng.pick(LINES).to_owned()];
    for _ in 0..rng.below(5) {
        let common = rng.chance(50);
        lines.push(if common {
            words(rng)
        } else {
            rng.pick(LINES).to_owned()
        });
    }
    Node::Block {
        folded: rng.chance(50),
        chomping: rng.pick(&["", "", "-", "+"]),
        lines,
    }
}

/// Returns a scalar with a tag, which it mostly fits.
fn tagged(rng: &mut Rng) -> Node {
    let (tag, text) = rng.pick(TAGGED);
    let text = match text {
        "*" => words(rng),
        "1" => number(rng),
        _ => text.to_owned(),
    };
    Node::With(tag.to_owned(), Box::new(Node::Inline(text)))
}
