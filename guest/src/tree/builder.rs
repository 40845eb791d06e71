//! Events into nodes.

use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use super::{Content, Flaw, Id, Keys, MAX_DEPTH, Node, Span, Tree, aliasing, index};
use crate::base64;
use crate::fault::Fault;
use crate::scalar::{self, Resolved};
use crate::yaml::{Event, Mark, Scalar};

/// Memory for more nodes than this is taken when they come.
const MOST_EXPECTED: usize = 4096;

/// Builds a tree from events.
#[derive(Default)]
pub(super) struct Builder {
    nodes: Vec<Node>,
    text: String,
    children: Vec<Id>,
    /// Children of the collections that are still open.
    pending: Vec<Id>,
    /// Open collections, each with where its children begin in `pending`.
    open: Vec<(Id, usize)>,
    /// Collections in the order of their ends: whatever one refers to stands before it.
    closed: Vec<Id>,
    anchors: BTreeMap<Vec<u8>, u32>,
    aliases: usize,
    /// What stands for apostrophes in the text.
    stand_in: Option<char>,
}

impl Builder {
    /// Builds from a text of this length, in which `stand_in` stands for apostrophes.
    pub(super) fn new(length: usize, stand_in: Option<char>) -> Self {
        // About what an ordinary manifest has, so that little has to grow.
        let nodes = (length / 12).min(MOST_EXPECTED);
        Self {
            nodes: Vec::with_capacity(nodes),
            text: String::with_capacity(length.min(12 * MOST_EXPECTED)),
            children: Vec::with_capacity(nodes),
            pending: Vec::with_capacity(nodes),
            stand_in,
            ..Self::default()
        }
    }

    pub(super) fn take(&mut self, event: Event<'_>, mark: Mark) -> Result<(), Fault> {
        match event {
            Event::Boundary(_) => {}
            Event::Scalar(scalar) => self.scalar(&scalar, mark)?,
            Event::Alias(anchor) => self.alias(anchor, mark)?,
            Event::SequenceStart { anchor } => {
                self.begin(
                    Content::Sequence {
                        elements: Span::default(),
                    },
                    anchor,
                    mark,
                )?;
            }
            Event::MappingStart { anchor } => {
                let content = Content::Mapping {
                    pairs: Span::default(),
                    entries: Span::default(),
                    keys: Keys::default(),
                };
                self.begin(content, anchor, mark)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
        }
        Ok(())
    }

    fn scalar(&mut self, scalar: &Scalar<'_>, mark: Mark) -> Result<(), Fault> {
        let fault = |message: &'static str| Fault::schema(mark, message);
        let mut resolved =
            scalar::resolve(scalar.tag, scalar.implicit, scalar.value).map_err(fault)?;
        let text = if resolved == Resolved::Binary {
            let decoded = base64::decode(scalar.value.as_bytes())
                .ok_or_else(|| fault("is tagged as binary and is not base64"))?;
            let text = crate::json::lossy(&decoded);
            if matches!(text, Cow::Borrowed(_)) {
                resolved = Resolved::Text;
            }
            self.text_of(&text)
        } else {
            self.text_of(scalar.value)
        };
        let merge =
            scalar.value == "<<" && (scalar.implicit || scalar.tag == Some(scalar::MERGE_TAG));
        let flaw = match resolved {
            Resolved::Float(float) if !float.is_finite() => Some(Flaw {
                mark,
                message: "infinities and NaN cannot be a value",
            }),
            _ => None,
        };
        let id = self.push(
            Content::Scalar {
                text,
                resolved,
                merge,
            },
            mark,
            false,
        );
        if let Some(node) = self.nodes.get_mut(id.0 as usize) {
            node.flaw = flaw;
        }
        self.anchor(scalar.anchor, id);
        Ok(())
    }

    fn alias(&mut self, anchor: &[u8], mark: Mark) -> Result<(), Fault> {
        let fault = |message: &'static str| Fault::syntax(mark, message);
        let target = self
            .anchors
            .get(anchor)
            .map(|&target| Id(target))
            .ok_or_else(|| fault("alias to an anchor that this document does not have"))?;
        if self
            .nodes
            .get(target.0 as usize)
            .is_none_or(|node| node.open)
        {
            return Err(fault("alias to an anchor that contains it"));
        }
        self.aliases += 1;
        self.push(Content::Alias(target), mark, false);
        Ok(())
    }

    fn begin(&mut self, content: Content, anchor: Option<&[u8]>, mark: Mark) -> Result<(), Fault> {
        if self.open.len() >= MAX_DEPTH {
            return Err(Fault::limit(mark, "nested deeper than 10000 levels"));
        }
        let id = self.push(content, mark, true);
        self.anchor(anchor, id);
        self.open.push((id, self.pending.len()));
        Ok(())
    }

    fn end(&mut self) {
        let Some((id, first)) = self.open.pop() else {
            return;
        };
        let start = index(self.children.len());
        self.children.extend(self.pending.drain(first..));
        let span = Span {
            start,
            end: index(self.children.len()),
        };
        if let Some(node) = self.nodes.get_mut(id.0 as usize) {
            node.open = false;
            match &mut node.content {
                Content::Sequence { elements } => *elements = span,
                Content::Mapping { pairs, .. } => *pairs = span,
                Content::Scalar { .. } | Content::Alias(_) => {}
            }
        }
        self.closed.push(id);
    }

    fn push(&mut self, content: Content, mark: Mark, open: bool) -> Id {
        let id = Id(index(self.nodes.len()));
        self.nodes.push(Node {
            mark,
            content,
            flaw: None,
            depth: 0,
            open,
        });
        self.pending.push(id);
        id
    }

    fn anchor(&mut self, anchor: Option<&[u8]>, id: Id) {
        if let Some(anchor) = anchor {
            self.anchors.insert(anchor.into(), id.0);
        }
    }

    fn text_of(&mut self, text: &str) -> Span {
        let start = index(self.text.len());
        match self.stand_in {
            Some(stand_in) => {
                let apostrophes = |found| if found == stand_in { '\'' } else { found };
                self.text.extend(text.chars().map(apostrophes));
            }
            None => self.text.push_str(text),
        }
        Span {
            start,
            end: index(self.text.len()),
        }
    }

    pub(super) fn finish(self) -> Result<Option<Tree>, Fault> {
        let Some(&root) = self.pending.first() else {
            return Ok(None);
        };
        let mut tree = Tree {
            nodes: self.nodes,
            text: self.text,
            children: self.children,
            entries: Vec::new(),
            root,
        };
        if self.aliases > 0 {
            aliasing::check(&tree)?;
        }
        for id in self.closed {
            tree.close(id)?;
        }
        match tree.node(root) {
            Some(node) if node.depth as usize > MAX_DEPTH => {
                Err(Fault::limit(node.mark, "nested deeper than 10000 levels"))
            }
            _ => Ok(Some(tree)),
        }
    }
}
