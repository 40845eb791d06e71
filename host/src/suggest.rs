//! "Did you mean": the known name that is nearest to an unknown one.

use crate::problem::printable;

/// The nearest of some names, where one is near enough to be what was meant.
///
/// Names of more than 120 bytes are not compared, since the time is the product of two lengths, and
/// no more than 1,000 names are.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const LONGEST: usize = 120;
    const MOST: usize = 1_000;
    if name.len() > LONGEST {
        return None;
    }
    known
        .into_iter()
        .take(MOST)
        .filter(|candidate| *candidate != name && candidate.len() <= LONGEST)
        .map(|candidate| {
            let distance =
                strsim::damerau_levenshtein(&name.to_lowercase(), &candidate.to_lowercase());
            (distance, candidate)
        })
        .filter(|(distance, candidate)| *distance <= (candidate.chars().count() / 3).max(1))
        .min()
        .map(|(_, candidate)| candidate)
}

/// A hint that lists some known names (at most 20), and says which may have been meant.
pub fn among<'a>(what: &str, name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<_> = known.into_iter().collect();
    if known.is_empty() {
        return String::new();
    }
    let list = known
        .iter()
        .take(20)
        .map(|name| format!("`{}`", printable(name)))
        .collect::<Vec<_>>()
        .join(", ");
    match nearest(name, known).map(printable) {
        Some(nearest) => format!("did you mean `{nearest}`? {what}: {list}"),
        None => format!("{what}: {list}"),
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
