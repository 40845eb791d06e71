//! Component documents from scratch: mostly what Dapr accepts, with a few unusual spots.

use super::emit::{Node, Writer};
use super::lists::{
    ANCHORS, BAD_NAMES, FLAGS, KEYS, MERGED, MERGES, NAMES, ODD_SCOPES, TYPED, TYPES,
};
use super::rng::Rng;
use super::scalars;

/// Returns a component document.
pub(super) fn component(rng: &mut Rng) -> String {
    let unusual = rng.pick(&[2, 5, 10, 25]);
    let mut grammar = Grammar {
        rng,
        unusual,
        anchors: Vec::new(),
    };
    let root = Node::Map(grammar.root());
    Writer::new(rng).document(&root)
}

type Pairs = Vec<(Node, Node)>;

/// Builds the parts of one document.
struct Grammar<'a> {
    rng: &'a mut Rng,
    /// How often, in percent, a spot is unusual.
    unusual: usize,
    /// The anchors so far, and whether a mapping is behind them.
    anchors: Vec<(&'static str, bool)>,
}

impl Grammar<'_> {
    /// Returns the fields of a document, in any order.
    fn root(&mut self) -> Pairs {
        let mut sections = vec!["apiVersion", "kind", "metadata", "spec"];
        for (section, percent) in [("auth", 45), ("scopes", 30), ("status", self.unusual)] {
            if self.rng.chance(percent) {
                sections.push(section);
            }
        }
        if self.odd() {
            let (one, other) = (self.rng.below(4), self.rng.below(4));
            sections.swap(one, other);
        }
        let mut pairs = Pairs::new();
        if self.rng.chance(30) {
            let shared = self.shared();
            pairs.push((Node::inline("x-shared"), Node::Seq(shared)));
        }
        for section in sections {
            let value = self.section(section);
            self.push(&mut pairs, section, value);
        }
        pairs
    }

    /// Returns the value of a field of the document.
    fn section(&mut self, name: &str) -> Node {
        match name {
            "apiVersion" if self.rng.below(200) > 0 => self.spelled("dapr.io/v1alpha1"),
            "kind" if self.rng.below(200) > 0 => self.spelled("Component"),
            "metadata" => Node::Map(self.object_meta()),
            "spec" => Node::Map(self.spec()),
            "auth" => {
                let mut pairs = Pairs::new();
                self.push_text(
                    &mut pairs,
                    "secretStore",
                    &["vault", "kubernetes", "local-file"],
                );
                Node::Map(pairs)
            }
            "scopes" => self.scopes(),
            _ => self.anything(3),
        }
    }

    /// Returns nodes that the rest of the document may repeat: a mapping, an item, a scalar.
    fn shared(&mut self) -> Vec<Node> {
        let nodes = [
            Node::Map(self.item()),
            Node::Map(self.texts()),
            scalars::any(self.rng),
        ];
        nodes.into_iter().map(|node| self.anchored(node)).collect()
    }

    /// Returns a component's `metadata`: names, labels, and now and then the other typed fields.
    fn object_meta(&mut self) -> Pairs {
        let mut pairs = Pairs::new();
        if self.rng.below(50) > 0 {
            let names = if self.rng.chance(98) {
                NAMES
            } else {
                BAD_NAMES
            };
            self.push_text(&mut pairs, "name", names);
        }
        if self.rng.chance(30) {
            self.push_text(&mut pairs, "namespace", &["default", "prod"]);
        }
        for (field, percent) in [("labels", 25), ("annotations", 15)] {
            if self.rng.chance(percent) {
                let texts = self.texts();
                self.push(&mut pairs, field, Node::Map(texts));
            }
        }
        while self.rng.chance(20) {
            let (field, right, wrong) = self.rng.pick(TYPED);
            let value = if self.rng.chance(12) { wrong } else { right };
            let value = Node::inline(self.rng.pick(value));
            self.push(&mut pairs, field, value);
        }
        pairs
    }

    /// Returns a mapping of names to texts, as labels are, perhaps with merged ones.
    fn texts(&mut self) -> Pairs {
        let mut pairs = self.merged();
        for _ in 0..self.rng.below(3) {
            let (key, value) = (self.key(), self.text(&["a", "tier-1", "x y"]));
            pairs.push((key, value));
        }
        pairs
    }

    /// Returns a component's `spec`.
    fn spec(&mut self) -> Pairs {
        let mut pairs = Pairs::new();
        self.push_text(&mut pairs, "type", TYPES);
        self.push_text(&mut pairs, "version", &["v1", "v1", "V2", "1.0"]);
        if self.rng.chance(20) {
            let wrong = self.rng.chance(self.unusual / 2);
            let value = if wrong {
                "\"true\""
            } else {
                self.rng.pick(FLAGS)
            };
            self.push(&mut pairs, "ignoreErrors", Node::inline(value));
        }
        if self.rng.chance(20) {
            self.push_text(&mut pairs, "initTimeout", &["5s", "1h30m", "0", "-1.5ms"]);
        }
        if self.odd() {
            let (key, value) = (self.key(), self.anything(2));
            pairs.push((key, value));
        }
        let items = self.items();
        self.push(&mut pairs, "metadata", items);
        pairs
    }

    /// Returns the items of `spec.metadata`.
    fn items(&mut self) -> Node {
        if self.rng.chance(self.unusual / 6) {
            return self.anything(1);
        }
        let mut items = Vec::new();
        for _ in 0..self.rng.pick(&[0, 1, 2, 3, 3, 4, 5, 9]) {
            let item = match self.alias(true) {
                Some(alias) if self.odd() => alias,
                _ if self.rng.chance(self.unusual / 5) => {
                    Node::inline(self.rng.pick(&["~", "", "null", "{}"]))
                }
                _ => {
                    let item = Node::Map(self.item());
                    self.perhaps_anchored(item)
                }
            };
            items.push(item);
        }
        Node::Seq(items)
    }

    /// Returns an item of `spec.metadata`.
    fn item(&mut self) -> Pairs {
        let mut pairs = self.merged();
        self.push_text(&mut pairs, "name", &["redisHost", "url", "enable-TLS"]);
        let what = self.rng.below(100);
        if what < 75 {
            let value = self.value();
            self.push(&mut pairs, "value", value);
        }
        if (70..92).contains(&what) {
            let reference = self.reference();
            self.push(&mut pairs, "secretKeyRef", reference);
        }
        if (90..99).contains(&what) {
            self.push_text(&mut pairs, "envRef", &["HOME", "REDIS_HOST", "x"]);
        }
        if self.rng.chance(30) {
            pairs.extend(self.merged());
        }
        pairs
    }

    /// Returns the value of an item.
    fn value(&mut self) -> Node {
        match (self.rng.below(100), self.alias(false)) {
            (0..12, Some(alias)) => alias,
            (12..24, _) => self.anything(3),
            (24..30, _) => {
                let scalar = scalars::any(self.rng);
                self.anchored(scalar)
            }
            _ => scalars::any(self.rng),
        }
    }

    /// Returns a `secretKeyRef`.
    fn reference(&mut self) -> Node {
        if self.rng.chance(self.unusual / 6) {
            return self.anything(1);
        }
        let mut pairs = Pairs::new();
        self.push_text(&mut pairs, "name", &["redis", "redis:password", "db/creds"]);
        if self.rng.chance(70) {
            self.push_text(&mut pairs, "key", &["password", "api-key", "x.y"]);
        }
        Node::Map(pairs)
    }

    /// Returns the scopes, which are not converted to strings as other fields are.
    fn scopes(&mut self) -> Node {
        if self.rng.chance(self.unusual / 2) {
            return Node::inline(self.rng.pick(ODD_SCOPES));
        }
        let mut apps = Vec::new();
        for _ in 0..self.rng.below(4) {
            let app = self.rng.pick(&["myapp", "other", "\"1\"", "!!str 5"]);
            apps.push(self.spelled(app));
        }
        Node::Seq(apps)
    }

    /// Returns merge keys with what they merge, at an unusual spot that may name a mapping.
    fn merged(&mut self) -> Pairs {
        let key = Node::inline(self.rng.pick(MERGES));
        let literal = Node::inline(self.rng.pick(MERGED));
        match (self.odd(), self.alias(true), self.alias(true)) {
            (true, Some(one), Some(other)) => match self.rng.below(9) {
                0..5 => vec![(key, one)],
                5 => vec![(key, Node::Seq(vec![one, other]))],
                6 => vec![(key.clone(), one), (key, other)],
                7 => vec![(key, Node::Map(vec![(Node::inline("value"), other)]))],
                _ => vec![(key, literal)],
            },
            _ => Pairs::new(),
        }
    }

    /// Returns a text in its usual form, or any scalar.
    fn text(&mut self, usual: &[&str]) -> Node {
        if self.odd() {
            let scalar = scalars::any(self.rng);
            return self.perhaps_anchored(scalar);
        }
        let text = self.rng.pick(usual);
        self.spelled(text)
    }

    /// Returns `text` in one of the ways to write the same.
    fn spelled(&mut self, text: &str) -> Node {
        if !self.odd() || text.starts_with(['"', '!']) {
            return Node::inline(text);
        }
        let (tag, chomping) = self.rng.pick(&[
            ("!!str", "-"),
            ("!<tag:yaml.org,2002:str>", "-"),
            ("!!str", ""),
        ]);
        match self.rng.below(8) {
            0 | 1 => Node::Inline(scalars::quote(text)),
            2 => Node::Inline(format!("'{text}'")),
            3 | 4 => Node::With(tag.to_owned(), Box::new(Node::inline(text))),
            5 => Node::Block {
                folded: self.rng.chance(50),
                chomping,
                lines: vec![text.to_owned()],
            },
            6 => Node::Inline(escaped(text)),
            _ => self.anchored(Node::inline(text)),
        }
    }

    /// Adds a field with a text, usually one of `usual`.
    fn push_text(&mut self, pairs: &mut Pairs, name: &str, usual: &[&str]) {
        let text = self.text(usual);
        self.push(pairs, name, text);
    }

    /// Adds a field, its name perhaps in another spelling, and perhaps once more.
    fn push(&mut self, pairs: &mut Pairs, name: &str, value: Node) {
        if self.rng.chance(self.unusual / 4) {
            let value = if self.odd() {
                self.anything(1)
            } else {
                value.clone()
            };
            pairs.push((self.field(name), value));
        }
        let key = if self.odd() {
            self.field(name)
        } else {
            Node::inline(name)
        };
        pairs.push((key, value));
    }

    /// Returns the name of a field in other letters or in another form.
    fn field(&mut self, name: &str) -> Node {
        match self.rng.below(12) {
            0 | 1 => Node::Inline(name.to_uppercase()),
            2 => Node::Inline(name.to_lowercase()),
            3 => Node::Inline(name.replacen('s', "ſ", 1)),
            4 => Node::Inline(name.replacen('k', "\u{212a}", 1)),
            5 => Node::Inline(format!("!!str {name}")),
            6 => Node::Inline(escaped(name)),
            7 => Node::Inline(format!("{name} ")),
            8 => self.key(),
            _ => self.spelled(name),
        }
    }

    /// Returns a key of a mapping that has no schema.
    fn key(&mut self) -> Node {
        match self.rng.below(20) {
            0..10 => Node::inline(self.rng.pick(KEYS)),
            10..17 => Node::Inline(format!("k{}", self.rng.below(5))),
            17 => Node::Inline(scalars::quote(&scalars::words(self.rng))),
            _ => scalars::any(self.rng),
        }
    }

    /// Returns a node of any shape, at most `depth` deep.
    fn anything(&mut self, depth: usize) -> Node {
        match self.rng.below(if depth == 0 { 6 } else { 10 }) {
            6 | 7 => {
                let length = self.rng.below(5);
                Node::Seq((0..length).map(|_| self.anything(depth - 1)).collect())
            }
            8 | 9 => {
                let mut pairs = self.merged();
                for _ in 0..self.rng.below(4) {
                    let (key, value) = (self.key(), self.anything(depth - 1));
                    pairs.push((key, value));
                }
                Node::Map(pairs)
            }
            _ => scalars::any(self.rng),
        }
    }

    /// Puts an anchor before a node; from here on aliases may name it.
    fn anchored(&mut self, node: Node) -> Node {
        let name = self.rng.pick(ANCHORS);
        self.anchors.push((name, matches!(node, Node::Map(_))));
        Node::With(format!("&{name}"), Box::new(node))
    }

    /// Puts an anchor before a node at an unusual spot.
    fn perhaps_anchored(&mut self, node: Node) -> Node {
        if self.odd() {
            self.anchored(node)
        } else {
            node
        }
    }

    /// Returns an alias of a mapping, or of a node that is none.
    fn alias(&mut self, mapping: bool) -> Option<Node> {
        let fitting = self.anchors.iter().filter(|anchor| anchor.1 == mapping);
        let names: Vec<&str> = fitting.map(|anchor| anchor.0).collect();
        (!names.is_empty()).then(|| Node::Inline(format!("*{}", self.rng.pick(&names))))
    }

    /// Is true at an unusual spot.
    fn odd(&mut self) -> bool {
        self.rng.chance(self.unusual)
    }
}

/// Writes `text` in double quotes, its first character by number.
fn escaped(text: &str) -> String {
    let mut rest = text.chars();
    let first = rest.next().map_or(0, u32::from);
    format!("\"\\u{first:04x}{}\"", rest.as_str())
}
