//! go-yaml's limit on aliases.

use alloc::vec;
use alloc::vec::Vec;

use super::{Content, Id, Span, Tree};
use crate::fault::Fault;

/// Follows go-yaml 2's own count of decoding steps, with every alias expanded, and refuses what it
/// refuses: the share of steps below aliases may be 99 % up to 400,000 steps and falls to 10 % at
/// 4,000,000. So the walk itself is bounded.
pub(super) fn check(tree: &Tree) -> Result<(), Fault> {
    let mut steps = vec![Step::Visit(tree.root)];
    // The document itself is the first step.
    let (mut decoded, mut below_alias, mut alias_depth) = (1_u64, 0_u64, 0_u32);
    while let Some(step) = steps.pop() {
        let id = match step {
            Step::Visit(id) => id,
            Step::LeaveAlias => {
                alias_depth -= 1;
                continue;
            }
        };
        decoded += 1;
        below_alias += u64::from(alias_depth > 0);
        if below_alias > 100 && decoded > 1000 && exceeds_ratio(below_alias, decoded) {
            return Err(Fault::limit(
                tree.mark(id),
                "document contains excessive aliasing",
            ));
        }
        match tree.node(id).map(|node| node.content) {
            Some(Content::Alias(target)) => {
                alias_depth += 1;
                steps.extend([Step::LeaveAlias, Step::Visit(target)]);
            }
            Some(Content::Sequence { elements }) => {
                steps.extend(
                    children(tree, elements)
                        .iter()
                        .rev()
                        .copied()
                        .map(Step::Visit),
                );
            }
            Some(Content::Mapping { pairs, .. }) => {
                for pair in children(tree, pairs).chunks_exact(2).rev() {
                    if let &[key, value] = pair {
                        push_pair(tree, key, value, &mut steps);
                    }
                }
            }
            Some(Content::Scalar { .. }) | None => {}
        }
    }
    Ok(())
}

enum Step {
    Visit(Id),
    LeaveAlias,
}

fn push_pair(tree: &Tree, key: Id, value: Id, steps: &mut Vec<Step>) {
    let content = |id| tree.node(id).map(|node| node.content);
    let merge = matches!(content(key), Some(Content::Scalar { merge: true, .. }));
    match content(value) {
        // A merged list is not a step of its own.
        Some(Content::Sequence { elements }) if merge => {
            steps.extend(children(tree, elements).iter().copied().map(Step::Visit));
        }
        _ => steps.push(Step::Visit(value)),
    }
    if !merge {
        steps.push(Step::Visit(key));
    }
}

fn children(tree: &Tree, span: Span) -> &[Id] {
    let children = tree.children.get(span.start as usize..span.end as usize);
    children.unwrap_or_default()
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
fn exceeds_ratio(below_alias: u64, decoded: u64) -> bool {
    const LOW: f64 = 400_000.0;
    const HIGH: f64 = 4_000_000.0;
    let steps = decoded as f64;
    let allowed = if steps <= LOW {
        0.99
    } else if steps >= HIGH {
        0.10
    } else {
        0.99 - 0.89 * ((steps - LOW) / (HIGH - LOW))
    };
    below_alias as f64 / steps > allowed
}
