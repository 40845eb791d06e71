//! "Did you mean": the known name that is nearest to an unknown one.

use crate::problem::printable;

/// The nearest of some names, where one is near enough to be what was meant.
///
/// Names of more than 120 bytes are not compared, since the time is the product of two lengths, and
/// no more than 1,000 names are.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    nearest_within(name, known, |_| true)
}

/// The same as long as there is time: `spend` is told what each comparison costs, the product of the
/// two lengths, and says whether it may be made.
pub(crate) fn nearest_within<'a>(
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
    spend: impl Fn(usize) -> bool,
) -> Option<&'a str> {
    const LONGEST: usize = 120;
    const MOST: usize = 1_000;
    if name.len() > LONGEST {
        return None;
    }
    let length = name.chars().count();
    let lower = name.to_lowercase();
    known
        .into_iter()
        .take(MOST)
        .filter(|candidate| *candidate != name && candidate.len() <= LONGEST)
        .filter_map(|candidate| {
            let candidate_length = candidate.chars().count();
            let farthest = (candidate_length / 3).max(1);
            if candidate_length.abs_diff(length) > farthest || !spend(candidate_length * length) {
                return None;
            }
            let distance = strsim::damerau_levenshtein(&lower, &candidate.to_lowercase());
            (distance <= farthest).then_some((distance, candidate))
        })
        .min()
        .map(|(_, candidate)| candidate)
}

/// A hint that lists some known names (at most 20), and says which may have been meant.
pub fn among<'a>(
    what: &str,
    name: &str,
    known: impl IntoIterator<Item = &'a str, IntoIter: Clone>,
) -> String {
    among_within(what, name, known.into_iter(), |_| true)
}

/// The same as long as there is time, as for [`nearest_within`].
pub(crate) fn among_within<'a>(
    what: &str,
    name: &str,
    known: impl Iterator<Item = &'a str> + Clone,
    spend: impl Fn(usize) -> bool,
) -> String {
    let quoted = known.clone().take(20);
    let quoted: Vec<_> = quoted
        .map(|name| format!("`{}`", printable(name)))
        .collect();
    if quoted.is_empty() {
        return String::new();
    }
    let list = format!("{what}: {}", quoted.join(", "));
    match nearest_within(name, known, spend).map(printable) {
        Some(nearest) => format!("did you mean `{nearest}`? {list}"),
        None => list,
    }
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn near_names_are_suggested_and_far_ones_are_not() {
        let known = ["kubernetes-secrets", "vault"];
        assert_eq!(
            nearest("kubernetes-secret", known),
            Some("kubernetes-secrets")
        );
        assert_eq!(nearest("valut", known), Some("vault"));
        assert_eq!(nearest("redis", known), None);
    }
}
