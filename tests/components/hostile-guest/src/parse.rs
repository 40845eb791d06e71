//! Documents into texts, and what goes wrong while they are read.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::Set;
use crate::bindings::exports::keyref::secrets::resolver::Document;
use crate::{memory, wait};

/// One document.
pub struct Text {
    /// What it makes the guest do, without its `#`.
    pub misbehaviour: String,
    /// The name of its component.
    pub name: String,
    /// Its references, as indices into those of the set.
    pub references: Vec<u32>,
    /// How many sets this instance had seen before.
    pub sets: u32,
}

/// Lives as long as the instance: what one caller leaves here, the next must not find.
static SETS: AtomicU32 = AtomicU32::new(0);

pub fn parse(documents: &[Document]) -> Set {
    let mut set = Set {
        texts: Vec::new(),
        references: Vec::new(),
    };
    let sets = SETS.fetch_add(1, Ordering::Relaxed);
    for document in documents {
        let text = String::from_utf8_lossy(&document.text);
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default().trim_start_matches('#');
        let (misbehaviour, name) = first.split_once(' ').unwrap_or((first, first));
        misbehave(misbehaviour);
        let lines = lines.filter(|line| !line.is_empty());
        let references = lines.map(|line| set.reference(line)).collect();
        set.texts.push(Text {
            misbehaviour: misbehaviour.to_owned(),
            name: name.to_owned(),
            references,
            sets,
        });
    }
    set
}

impl Set {
    /// The index of a reference, which is added where it is new.
    fn reference(&mut self, reference: &str) -> u32 {
        let known = self.references.iter().position(|known| known == reference);
        let index = known.unwrap_or_else(|| {
            self.references.push(reference.to_owned());
            self.references.len() - 1
        });
        index as u32
    }
}

fn misbehave(misbehaviour: &str) {
    match misbehaviour {
        "trap-in-parse" => panic!("as the document says"),
        "loop" => endless(),
        "recurse" => SETS.store(recurse(1), Ordering::Relaxed),
        "grow-memory" => memory::grow(),
        "block" => wait::block(),
        "poll" => wait::poll(),
        "subscribe" => wait::subscribe(),
        "sleep" => wait::sleep(),
        _ => {}
    }
}

/// Never ends.
pub fn endless() {
    while SETS.load(Ordering::Relaxed) != u32::MAX {}
}

/// Goes deeper than any stack.
#[expect(unconditional_recursion, reason = "as the document says")]
#[inline(never)]
fn recurse(depth: u32) -> u32 {
    recurse(depth + SETS.load(Ordering::Relaxed)).rotate_left(depth) ^ depth
}
