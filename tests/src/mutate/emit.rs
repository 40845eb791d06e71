//! Writes a tree as YAML, in a style that changes from node to node.

use super::rng::Rng;
use super::scalars::quote;

/// A node of a document.
#[derive(Debug, Clone)]
pub(super) enum Node {
    /// An alias or a scalar as it stands in the text; what follows a line feed is indented.
    Inline(String),
    /// A literal or folded scalar, where the style allows one.
    Block {
        folded: bool,
        chomping: &'static str,
        lines: Vec<String>,
    },
    /// A mapping.
    Map(Vec<(Self, Self)>),
    /// A sequence.
    Seq(Vec<Self>),
    /// A node behind its tag or anchor.
    With(String, Box<Self>),
}

impl Node {
    /// Returns the scalar that stands as `text` in the document.
    pub(super) fn inline(text: &str) -> Self {
        Self::Inline(text.to_owned())
    }
}

/// Collects the text of a document.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    rng: &'a mut Rng,
    out: String,
    /// How often, in percent, a collection is in flow style.
    flow: usize,
    /// How often, in percent, there is a space, comment or line that need not be there.
    noise: usize,
}

impl<'a> Writer<'a> {
    /// Starts an empty document in a style of its own.
    pub(super) fn new(rng: &'a mut Rng) -> Self {
        let flow = rng.pick(&[0, 5, 15, 60]);
        let noise = rng.pick(&[0, 1, 3, 8]);
        Self {
            rng,
            out: String::new(),
            flow,
            noise,
        }
    }

    /// Returns the text of a whole document.
    pub(super) fn document(mut self, root: &Node) -> String {
        match root {
            Node::Map(pairs) if !self.rng.chance(self.flow / 10) => self.pairs(pairs, 0, false),
            _ => {
                self.flow_node(root, 1);
                self.end_line();
            }
        }
        self.out
    }

    /// Returns the text of a value behind its key or dash, in a collection at column `indent`.
    pub(super) fn fragment(mut self, node: &Node, indent: usize) -> String {
        self.value(node, indent, true);
        self.out
    }

    /// Writes a value and ends its line; a `compact` sequence may stand at the column of its key.
    fn value(&mut self, node: &Node, indent: usize, compact: bool) {
        match node {
            Node::Map(pairs) if self.in_block(pairs) => {
                self.end_line();
                let column = indent + self.rng.pick(&[1, 2, 2, 2, 4]);
                self.pairs(pairs, column, false);
                return;
            }
            Node::Seq(items) if self.in_block(items) => {
                self.end_line();
                let deeper = self.rng.pick(&[0, 2, 4]);
                self.items(items, indent + if compact { deeper } else { 2 }, false);
                return;
            }
            Node::Inline(text) if text.is_empty() => return self.end_line(),
            _ => self.gap(indent),
        }
        match node {
            Node::With(property, node) => {
                self.out += property;
                return self.value(node, indent, false);
            }
            Node::Block { .. } => return self.block_scalar(node, indent),
            Node::Inline(text) => self.scalar(text, indent + 1),
            _ => self.flow_node(node, indent + 1),
        }
        self.end_line();
    }

    /// Writes the pairs of a block mapping, the first of them perhaps on the line that is begun.
    fn pairs(&mut self, pairs: &[(Node, Node)], column: usize, mut begun: bool) {
        for (key, value) in pairs {
            if !std::mem::take(&mut begun) {
                self.pad(column);
            }
            match key {
                Node::Inline(text)
                    if !text.contains(LINE_ENDS) && !self.rng.chance(self.noise / 3) =>
                {
                    self.out += text;
                    if text.starts_with('*') || self.odd() {
                        self.out += " ";
                    }
                    self.out += ":";
                }
                _ => {
                    self.out += "?";
                    self.value(key, column, false);
                    self.pad(column);
                    self.out += ":";
                }
            }
            self.value(value, column, true);
        }
    }

    /// Writes the items of a block sequence, the first of them perhaps on the line that is begun.
    fn items(&mut self, items: &[Node], column: usize, mut begun: bool) {
        for item in items {
            if !std::mem::take(&mut begun) {
                self.pad(column);
            }
            let dash = if self.odd() { "-   " } else { "- " };
            match item {
                Node::Map(pairs) if !self.odd() && self.in_block(pairs) => {
                    self.out += dash;
                    self.pairs(pairs, column + dash.len(), true);
                }
                Node::Seq(items) if self.in_block(items) => {
                    self.out += dash;
                    self.items(items, column + dash.len(), true);
                }
                _ => {
                    self.out += "-";
                    self.value(item, column, false);
                }
            }
        }
    }

    /// Writes a literal or folded scalar, with an indentation indicator where it needs one.
    fn block_scalar(&mut self, node: &Node, indent: usize) {
        let Node::Block {
            folded,
            chomping,
            lines,
        } = node
        else {
            return;
        };
        let deeper = 1 + self.rng.pick(&[0, 1, 1, 3, 8]);
        let first = lines.iter().find(|line| !line.trim().is_empty());
        let needed = first.is_none_or(|line| line.starts_with([' ', '\t']));
        let shown = needed || self.rng.chance(15);
        let indicator = if shown {
            deeper.to_string()
        } else {
            String::new()
        };
        let indicators = [indicator.as_str(), chomping, indicator.as_str()];
        let from = self.rng.below(2);
        self.out += if *folded { ">" } else { "|" };
        self.out.extend(indicators.into_iter().skip(from).take(2));
        if self.odd() {
            self.out += " # header";
        }
        self.out += "\n";
        for line in lines {
            if !line.is_empty() || self.odd() {
                self.pad(indent + deeper);
            }
            self.lines(line, indent + deeper);
            self.out += "\n";
        }
    }

    /// Writes a node in flow style, where fewer plain scalars are allowed.
    fn flow_node(&mut self, node: &Node, indent: usize) {
        match node {
            Node::Inline(text) if text.is_empty() => self.out += "~",
            Node::Inline(text) if needs_quotes(text) && !self.rng.chance(3) => {
                self.out += &quote(text);
            }
            Node::Inline(text) => self.scalar(text, indent),
            Node::Block { lines, .. } => self.out += &quote(&lines.join("\n")),
            Node::With(property, node) => {
                self.out += property;
                self.out += " ";
                self.flow_node(node, indent);
            }
            Node::Seq(items) => {
                self.out += "[";
                for (index, item) in items.iter().enumerate() {
                    self.flow_gap(index, indent);
                    self.flow_node(item, indent);
                }
                self.flow_end(items, "]");
            }
            Node::Map(pairs) => {
                self.out += "{";
                for (index, (key, value)) in pairs.iter().enumerate() {
                    self.flow_gap(index, indent);
                    self.flow_pair(key, value, indent);
                }
                self.flow_end(pairs, "}");
            }
        }
    }

    /// Writes a pair of a flow mapping.
    fn flow_pair(&mut self, key: &Node, value: &Node, indent: usize) {
        if self.rng.chance(self.noise / 3) {
            self.out += "? ";
        }
        self.flow_node(key, indent);
        let adjacent = self.out.ends_with(['"', '\'']) && self.odd();
        self.out += if adjacent { ":" } else { " : " };
        self.flow_node(value, indent);
    }

    /// Writes what stands before the member `index` of a flow collection.
    fn flow_gap(&mut self, index: usize, indent: usize) {
        self.out += if index > 0 { "," } else { "" };
        self.gap(indent);
    }

    /// Closes a flow collection, perhaps after one more comma.
    fn flow_end<T>(&mut self, members: &[T], close: &str) {
        if !members.is_empty() && self.odd() {
            self.out += " ,";
        }
        self.out += close;
    }

    /// Writes a scalar, its lines indented by at least `indent`.
    fn scalar(&mut self, text: &str, indent: usize) {
        let indent = indent + self.rng.below(3);
        self.lines(text, indent);
    }

    /// Writes text whose lines, after the first, begin at `column`; rarely not at those line ends
    /// that only YAML knows.
    fn lines(&mut self, text: &str, column: usize) {
        for character in text.chars() {
            self.out.push(character);
            if character == '\n' || LINE_ENDS.contains(&character) && self.rng.chance(90) {
                self.pad(column);
            }
        }
    }

    /// Writes the space before a value, which may be a line.
    fn gap(&mut self, indent: usize) {
        match self.rng.below(400 / (self.noise + 1)) {
            0 => self.out += "  ",
            1 if self.out.ends_with(':') => self.out += " \t",
            2 | 3 if self.noise > 0 => {
                self.end_line();
                self.pad(indent + 2);
            }
            _ => self.out += " ",
        }
    }

    /// Ends a line, and adds what may stand between lines.
    fn end_line(&mut self) {
        if self.odd() {
            self.out += self.rng.pick(AFTER_VALUES);
        }
        self.out += "\n";
        while self.odd() {
            self.out += self.rng.pick(BETWEEN_LINES);
        }
    }

    /// Writes `column` spaces.
    fn pad(&mut self, column: usize) {
        self.out += &" ".repeat(column);
    }

    /// Tells whether a collection is to be in block style.
    fn in_block<T>(&mut self, members: &[T]) -> bool {
        !members.is_empty() && !self.rng.chance(self.flow)
    }

    /// Is true where the style has something that need not be there.
    fn odd(&mut self) -> bool {
        self.rng.chance(self.noise)
    }
}

/// Tells whether a plain scalar would end early in a flow collection.
fn needs_quotes(text: &str) -> bool {
    let special = text.contains([',', '[', ']', '{', '}', '?', '#']) || text.contains(": ");
    let plain = !text.starts_with(['"', '\'', '[', '{', '&', '*', '!']);
    plain && (special || text.ends_with(':'))
}

/// The line ends of YAML 1.1 that a document may hold besides a carriage return.
const LINE_ENDS: [char; 4] = ['\n', '\u{85}', '\u{2028}', '\u{2029}'];

const AFTER_VALUES: &[&str] = &["  ", " # note", "\t# a: [b", " #", "\t"];
const BETWEEN_LINES: &[&str] = &["\n", "# note: \"\n", "      # far\n", "   \n", "#\n"];
