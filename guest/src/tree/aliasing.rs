//! go-yaml's limit on aliases.

use alloc::vec;

use super::{Content, Id, Tree};
use crate::fault::Fault;

/// Follows go-yaml 2's own count of decoding steps, with every alias expanded, and refuses what it
/// refuses: the share of steps below aliases may be 99 % up to 400,000 steps and falls to 10 % at
/// 4,000,000. So the walk itself is bounded.
pub(super) fn check(tree: &Tree) -> Result<(), Fault> {
    enum Step {
        Visit(Id),
        LeaveAlias,
    }
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
                steps.push(Step::LeaveAlias);
                steps.push(Step::Visit(target));
            }
            Some(Content::Sequence { elements }) => {
                let elements = tree
                    .children
                    .get(elements.start as usize..elements.end as usize);
                steps.extend(
                    elements
                        .unwrap_or_default()
                        .iter()
                        .rev()
                        .map(|&id| Step::Visit(id)),
                );
            }
            Some(Content::Mapping { pairs, .. }) => {
                let pairs = tree.children.get(pairs.start as usize..pairs.end as usize);
                for pair in pairs.unwrap_or_default().chunks_exact(2).rev() {
                    let &[key, value] = pair else { continue };
                    let merge = matches!(
                        tree.node(key).map(|node| node.content),
                        Some(Content::Scalar { merge: true, .. })
                    );
                    match tree.node(value).map(|node| node.content) {
                        // A merged list is not a step of its own.
                        Some(Content::Sequence { elements }) if merge => {
                            let elements = tree
                                .children
                                .get(elements.start as usize..elements.end as usize);
                            steps.extend(
                                elements
                                    .unwrap_or_default()
                                    .iter()
                                    .map(|&id| Step::Visit(id)),
                            );
                        }
                        _ => steps.push(Step::Visit(value)),
                    }
                    if !merge {
                        steps.push(Step::Visit(key));
                    }
                }
            }
            Some(Content::Scalar { .. }) | None => {}
        }
    }
    Ok(())
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
