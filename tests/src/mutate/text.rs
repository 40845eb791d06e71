//! Changes to the text of a document, mostly behind its keys, where values stand.

use super::emit::Writer;
use super::lists::SPECIAL;
use super::rng::Rng;
use super::scalars;

/// Returns `text` with one change or a few; a change may take lines from `other`.
pub(super) fn change(rng: &mut Rng, text: &str, other: &str) -> String {
    let mut text = text.to_owned();
    for _ in 0..rng.pick(&[1, 1, 1, 2, 4]) {
        text = match rng.below(100) {
            0..55 => replace_value(rng, &text),
            55..79 => change_characters(rng, &text),
            79..97 => change_lines(rng, &text),
            97 | 98 => splice(rng, &text, other),
            _ => text.chars().take(place(rng, &text)).collect(),
        };
    }
    text
}

/// Puts a new scalar behind a key or a dash.
fn replace_value(rng: &mut Rng, text: &str) -> String {
    let mut lines: Vec<&str> = text.split('\n').collect();
    let at = rng.below(lines.len());
    let Some(line) = lines.get(at) else {
        return String::new();
    };
    let Some(end) = line.find(": ").or_else(|| line.find("- ")) else {
        return text.to_owned();
    };
    let indent = line.len() - line.trim_start_matches([' ', '-']).len();
    let scalar = scalars::any(rng);
    let value = Writer::new(rng).fragment(&scalar, indent);
    let kept = line.get(..=end).unwrap_or_default();
    let changed = format!("{kept}{}", value.trim_end_matches('\n'));
    lines.splice(at..=at, [changed.as_str()]);
    lines.join("\n")
}

/// Inserts, deletes, replaces, exchanges or repeats a character.
fn change_characters(rng: &mut Rng, text: &str) -> String {
    let at = place(rng, text);
    let special = if rng.chance(90) {
        rng.pick(SPECIAL).to_owned()
    } else {
        rng.character().to_string()
    };
    let before: String = text.chars().take(at).collect();
    let mut rest = text.chars().skip(at);
    let here = rest.next().map(String::from).unwrap_or_default();
    let after: String = rest.collect();
    match rng.below(10) {
        0..4 => before + &special + &here + &after,
        4 | 5 => before + &after,
        6 | 7 => before + &special + &after,
        8 => before + &here + &here + &after,
        _ => {
            let mut after = after.chars();
            let next = after.next().map(String::from).unwrap_or_default();
            before + &next + &here + after.as_str()
        }
    }
}

/// Repeats, deletes, moves or indents a line.
fn change_lines(rng: &mut Rng, text: &str) -> String {
    let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    let at = rng.below(lines.len());
    let line = lines.remove(at);
    let changed = match rng.below(8) {
        0 | 1 => vec![line.clone(), line],
        2 => Vec::new(),
        3 => {
            lines.insert(rng.below(lines.len()), line);
            return lines.join("\n");
        }
        4 => vec![format!("{}{line}", rng.pick(&[" ", "  ", "\t", "    "]))],
        5 => vec![line.strip_prefix(' ').unwrap_or(&line).to_owned()],
        6 => vec![line + rng.pick(&[" # c", "#c", " ", "\t", "\r", "  "])],
        _ => vec![
            line,
            String::from(rng.pick(&["", "# c", "   ", "\t", "...", "%A b"])),
        ],
    };
    lines.splice(at..at, changed);
    lines.join("\n")
}

/// Joins the first lines of one document and the last lines of another.
fn splice(rng: &mut Rng, text: &str, other: &str) -> String {
    let (lines, others) = (text.split('\n').count(), other.split('\n').count());
    let (kept, skipped) = (rng.below(lines), rng.below(others));
    let begin = text.split('\n').take(kept);
    let lines: Vec<&str> = begin.chain(other.split('\n').skip(skipped)).collect();
    lines.join("\n")
}

/// Returns the index of a character, mostly of one behind a colon on its line.
fn place(rng: &mut Rng, text: &str) -> usize {
    let characters: Vec<char> = text.chars().collect();
    let mut at = rng.below(characters.len());
    for _ in 0..4 {
        let mut before = characters
            .iter()
            .take(at)
            .rev()
            .take_while(|character| **character != '\n');
        if before.any(|character| *character == ':') {
            break;
        }
        at = rng.below(characters.len());
    }
    at
}
