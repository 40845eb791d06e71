//! Collections worked out: merge keys, keys as strings, the last of equal keys.

use alloc::string::String;

use super::{Content, Entry, Flaw, Id, Keys, Node, Span, Tree, index};
use crate::fault::Fault;
use crate::json;
use crate::scalar::{self, Resolved};

/// More entries than this are not copied by merge keys: each copy is sorted anew.
const MAX_MERGED: usize = 200_000;

impl Tree {
    /// Works out a collection whose parts are all worked out.
    pub(super) fn close(&mut self, id: Id) -> Result<(), Fault> {
        match self.node(id).map(|node| node.content) {
            Some(Content::Sequence { elements }) => {
                let parts = elements.start..elements.end;
                let (flaw, depth) =
                    self.sum(parts.filter_map(|at| self.children.get(at as usize).copied()));
                self.set(id, None, flaw, depth);
            }
            Some(Content::Mapping { pairs, .. }) => {
                let (entries, keys) = self.entries_of(pairs)?;
                let values = entries.start..entries.end;
                let (flaw, depth) =
                    self.sum(values.filter_map(|at| Some(self.entries.get(at as usize)?.value)));
                let content = Content::Mapping {
                    pairs,
                    entries,
                    keys,
                };
                self.set(id, Some(content), keys.flaw.or(flaw), depth);
            }
            _ => {}
        }
        Ok(())
    }

    fn set(&mut self, id: Id, content: Option<Content>, flaw: Option<Flaw>, depth: u32) {
        if let Some(node) = self.nodes.get_mut(id.0 as usize) {
            node.content = content.unwrap_or(node.content);
            node.flaw = flaw;
            node.depth = depth.saturating_add(1);
        }
    }

    /// The first flaw and the greatest depth of some nodes.
    fn sum(&self, parts: impl Iterator<Item = Id>) -> (Option<Flaw>, u32) {
        parts
            .filter_map(|part| self.node(self.follow(part)))
            .fold((None, 0), |(flaw, depth), node| {
                (flaw.or(node.flaw), depth.max(node.depth))
            })
    }

    /// Applies merge keys in the place where they stand, then keeps the last value of each key.
    ///
    /// As in go-yaml 2, a merge overrides what stands before it, and keys are compared as strings.
    fn entries_of(&mut self, pairs: Span) -> Result<(Span, Keys), Fault> {
        let start = self.entries.len();
        let mut keys = Keys::default();
        let mut merged = false;
        for at in (pairs.start..pairs.end).step_by(2) {
            let (Some(&key), Some(&value)) = (
                self.children.get(at as usize),
                self.children.get(at as usize + 1),
            ) else {
                break;
            };
            if matches!(
                self.node(key).map(|node| node.content),
                Some(Content::Scalar { merge: true, .. })
            ) {
                merged = true;
                self.merge(value, &mut keys)?;
            } else if let Some(entry) = self.entry(key, value, &mut keys)? {
                self.entries.push(entry);
            }
        }
        self.keep_last(start, merged, &mut keys);
        Ok((
            Span {
                start: index(start),
                end: index(self.entries.len()),
            },
            keys,
        ))
    }

    /// One entry, unless its key is one that JSON cannot hold.
    fn entry(&mut self, key: Id, value: Id, keys: &mut Keys) -> Result<Option<Entry>, Fault> {
        let mark = self.mark(key);
        let Some(&Node {
            content: Content::Scalar { text, resolved, .. },
            ..
        }) = self.node(self.follow(key))
        else {
            return Err(Fault::schema(
                mark,
                "a mapping or a sequence cannot be a key",
            ));
        };
        let key = match resolved {
            Resolved::Null | Resolved::Uint(_) => {
                keys.flaw = keys.flaw.or(Some(Flaw {
                    mark,
                    message: "this cannot be a key",
                }));
                return Ok(None);
            }
            Resolved::Text | Resolved::Binary => text,
            Resolved::Bool(_) | Resolved::Int(_) | Resolved::Float(_) => {
                let start = index(self.text.len());
                write_key(&mut self.text, resolved);
                Span {
                    start,
                    end: index(self.text.len()),
                }
            }
        };
        Ok(Some(Entry {
            key,
            order: 0,
            key_mark: mark,
            value,
        }))
    }

    fn merge(&mut self, value: Id, keys: &mut Keys) -> Result<(), Fault> {
        match self.node(value).map(|node| node.content) {
            Some(Content::Sequence { elements }) => {
                // Backwards, so that the first in the list wins.
                for at in (elements.start..elements.end).rev() {
                    if let Some(&element) = self.children.get(at as usize) {
                        self.merge_mapping(element, keys)?;
                    }
                }
                Ok(())
            }
            _ => self.merge_mapping(value, keys),
        }
    }

    fn merge_mapping(&mut self, value: Id, keys: &mut Keys) -> Result<(), Fault> {
        let Some(Content::Mapping {
            entries,
            keys: merged,
            ..
        }) = self.node(self.follow(value)).map(|node| node.content)
        else {
            return Err(Fault::schema(
                self.mark(value),
                "`<<` takes a mapping or a list of mappings",
            ));
        };
        keys.flaw = keys.flaw.or(merged.flaw);
        if self.entries.len() > self.children.len() + MAX_MERGED {
            return Err(Fault::limit(
                self.mark(value),
                "merge keys copy more than 200000 entries",
            ));
        }
        self.entries
            .extend_from_within(entries.start as usize..entries.end as usize);
        Ok(())
    }

    /// Sorts the entries from `start` on by key and drops all but the last of each.
    fn keep_last(&mut self, start: usize, merged: bool, keys: &mut Keys) {
        let Self { entries, text, .. } = self;
        let key = |entry: &Entry| {
            let Span { start, end } = entry.key;
            text.get(start as usize..end as usize).unwrap_or_default()
        };
        let new = entries.get_mut(start..).unwrap_or_default();
        for (order, entry) in (0..).zip(new.iter_mut()) {
            entry.order = order;
        }
        new.sort_unstable_by(|a, b| key(a).cmp(key(b)).then(a.order.cmp(&b.order)));
        let mut kept = start;
        for at in start..entries.len() {
            let next = entries.get(at + 1).copied();
            let Some(&entry) = entries.get(at) else { break };
            match next {
                Some(next) if key(&next) == key(&entry) => {
                    if !merged {
                        keys.repeated = keys.repeated.or(Some(next.key_mark));
                    }
                }
                _ => {
                    if let Some(place) = entries.get_mut(kept) {
                        *place = entry;
                    }
                    kept += 1;
                }
            }
        }
        entries.truncate(kept);
    }
}

/// Writes a key that is no string as `sigs.k8s.io/yaml` does.
fn write_key(out: &mut String, key: Resolved) {
    match key {
        Resolved::Bool(value) => out.push_str(if value { "true" } else { "false" }),
        Resolved::Int(value) => json::write_integer(out, value),
        Resolved::Float(value) if value.is_nan() => out.push_str(".nan"),
        Resolved::Float(value) if value == f64::INFINITY => out.push_str(".inf"),
        Resolved::Float(value) if value == f64::NEG_INFINITY => out.push_str("-.inf"),
        Resolved::Float(value) => {
            let mut text = String::new();
            scalar::write_single_float(&mut text, value);
            // What is finite in double precision and not in single is `+Inf` there, too.
            out.push_str(match text.as_str() {
                "+Inf" => ".inf",
                "-Inf" => "-.inf",
                text => text,
            });
        }
        Resolved::Null | Resolved::Uint(_) | Resolved::Text | Resolved::Binary => {}
    }
}
