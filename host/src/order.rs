//! The order in which declared stores are opened: each after those that it needs.

use std::collections::{BTreeMap, BTreeSet};

/// A way around a circle is shown up to this many names.
const MOST_SHOWN: usize = 12;

/// A thing with the names of those that it needs. Names that nobody has are no matter.
pub(crate) struct Node<T> {
    pub(crate) name: String,
    pub(crate) needs: Vec<String>,
    pub(crate) thing: T,
}

/// What can be opened, and what cannot because of a circle.
pub(crate) struct Order<T> {
    /// In order: those that need nothing, then those that need these alone, and so on.
    pub(crate) ready: Vec<Vec<T>>,
    pub(crate) circular: Vec<Circular<T>>,
}

/// A thing that is in a circle, or needs one that is.
pub(crate) struct Circular<T> {
    pub(crate) thing: T,
    /// The names from its own on to the first that is met again, or to as many as are shown.
    pub(crate) path: Vec<String>,
    pub(crate) end: End,
}

/// Where a path ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum End {
    /// Where it began.
    Itself,
    /// At another that it has met before.
    Another,
    /// Beyond what is shown.
    NotShown,
}

/// Sorts things by what they need, in time that grows with the number of needs.
pub(crate) fn order<T>(nodes: Vec<Node<T>>) -> Order<T> {
    let needs = places_of_needs(&nodes);
    let (levels, missing) = levels(&needs);
    let names: Vec<String> = nodes.iter().map(|node| node.name.clone()).collect();
    let stuck = |place: usize| missing.get(place).is_some_and(|&missing| missing > 0);
    let first_stuck: Vec<Option<usize>> = needs
        .iter()
        .map(|needs| needs.iter().copied().find(|&need| stuck(need)))
        .collect();
    let mut things: Vec<Option<T>> = nodes.into_iter().map(|node| Some(node.thing)).collect();
    let mut take = |place: usize| things.get_mut(place).and_then(Option::take);
    let ready = levels
        .into_iter()
        .map(|level| level.into_iter().filter_map(&mut take).collect())
        .collect();
    let circular = (0..names.len())
        .filter(|&place| stuck(place))
        .filter_map(|place| {
            let (path, end) = path_from(place, &first_stuck, &names);
            Some(Circular {
                thing: take(place)?,
                path,
                end,
            })
        })
        .collect();
    Order { ready, circular }
}

/// For each thing, the places of those that it needs, each once.
fn places_of_needs<T>(nodes: &[Node<T>]) -> Vec<Vec<usize>> {
    let places: BTreeMap<&str, usize> = nodes
        .iter()
        .map(|node| node.name.as_str())
        .zip(0..)
        .collect();
    let needs = nodes.iter().map(|node| {
        let needs = node.needs.iter();
        let places: BTreeSet<_> = needs
            .filter_map(|name| places.get(name.as_str()).copied())
            .collect();
        places.into_iter().collect()
    });
    needs.collect()
}

/// Kahn's algorithm: the places in order, by how far their needs go, and for each place how many of
/// its needs are not met.
fn levels(needs: &[Vec<usize>]) -> (Vec<Vec<usize>>, Vec<usize>) {
    let mut needed_by = vec![Vec::new(); needs.len()];
    for (place, needs) in needs.iter().enumerate() {
        for &need in needs {
            if let Some(needed_by) = needed_by.get_mut(need) {
                needed_by.push(place);
            }
        }
    }
    let mut missing: Vec<usize> = needs.iter().map(Vec::len).collect();
    let mut level: Vec<usize> = (0..needs.len())
        .filter(|&place| needs.get(place).is_some_and(Vec::is_empty))
        .collect();
    let mut levels = Vec::new();
    while !level.is_empty() {
        let mut above = Vec::new();
        for &next in level
            .iter()
            .filter_map(|&place| needed_by.get(place))
            .flatten()
        {
            if let Some(missing) = missing.get_mut(next) {
                *missing -= 1;
                if *missing == 0 {
                    above.push(next);
                }
            }
        }
        levels.push(std::mem::replace(&mut level, above));
    }
    (levels, missing)
}

/// The way from a thing that is stuck over those that it waits for.
fn path_from(place: usize, first_stuck: &[Option<usize>], names: &[String]) -> (Vec<String>, End) {
    let mut path = vec![place];
    let mut end = End::NotShown;
    while let Some(&last) = path.last()
        && path.len() <= MOST_SHOWN
        && let Some(next) = first_stuck.get(last).copied().flatten()
    {
        let met = path.contains(&next);
        path.push(next);
        if met {
            end = if next == place {
                End::Itself
            } else {
                End::Another
            };
            break;
        }
    }
    let names = path
        .into_iter()
        .filter_map(|place| names.get(place).cloned());
    (names.collect(), end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered(nodes: &[(&str, &[&str])]) -> (Vec<Vec<String>>, Vec<(String, End)>) {
        let nodes = nodes.iter().map(|(name, needs)| Node {
            name: (*name).to_owned(),
            needs: needs.iter().map(|&need| need.to_owned()).collect(),
            thing: (*name).to_owned(),
        });
        let order = order(nodes.collect());
        let circular = order.circular.into_iter();
        (
            order.ready,
            circular
                .map(|circular| (circular.path.join(" -> "), circular.end))
                .collect(),
        )
    }

    #[test]
    fn each_comes_after_what_it_needs() {
        let (ready, circular) = ordered(&[
            ("c", &["b", "a"]),
            ("b", &["a"]),
            ("a", &["given"]),
            ("d", &["a"]),
            ("e", &[]),
        ]);
        assert_eq!(ready, [vec!["a", "e"], vec!["b", "d"], vec!["c"]]);
        assert!(circular.is_empty());
    }

    #[test]
    fn a_circle_is_shown_by_each_that_waits_for_it() {
        let (ready, circular) = ordered(&[
            ("a", &["b"]),
            ("b", &["a"]),
            ("c", &["a"]),
            ("d", &["d"]),
            ("e", &[]),
        ]);
        assert_eq!(ready, [["e"]]);
        let expected = [
            ("a -> b -> a", End::Itself),
            ("b -> a -> b", End::Itself),
            ("c -> a -> b -> a", End::Another),
            ("d -> d", End::Itself),
        ];
        assert_eq!(circular, expected.map(|(path, end)| (path.to_owned(), end)));
    }

    #[test]
    fn a_long_circle_is_cut() {
        let names: Vec<_> = (0..100_000).map(|name| name.to_string()).collect();
        let nodes = names.iter().zip(names.iter().cycle().skip(1));
        let nodes = nodes.map(|(name, next)| Node {
            name: name.clone(),
            needs: vec![next.clone()],
            thing: (),
        });
        let order = order(nodes.collect());
        assert_eq!(order.circular.len(), names.len());
        for circular in order.circular {
            assert_eq!(
                (circular.path.len(), circular.end),
                (MOST_SHOWN + 1, End::NotShown)
            );
        }
    }
}
