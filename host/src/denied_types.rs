//! Types of components that an operator does not want to have loaded.

use crate::component::{Component, Kind};

/// A Configuration's `spec.components.deny`: types, each alone or with a version, such as
/// `secretstores.local.env` or `state.redis/v1`.
///
/// Dapr compares types as they are written, and opens them in any case: here they match in any case,
/// so that `secretstores.Local.env` is denied, too. For the same reason `v0` and `v1`, which open the
/// same component, are denied together.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct DeniedTypes(Vec<(String, Option<String>)>);

impl DeniedTypes {
    /// Whether a component may not be loaded. As in Dapr, where anything is denied a component
    /// without type or version is, too.
    pub(crate) fn denies(&self, component: &Component) -> bool {
        if self.0.is_empty() || component.kind != Kind::Component {
            return false;
        }
        let (kind, version) = (&component.component_type, &component.version);
        let is_meant = |(denied, of): &(String, Option<String>)| {
            denied.eq_ignore_ascii_case(kind)
                && of.as_ref().is_none_or(|of| {
                    of.eq_ignore_ascii_case(version) || (is_initial(of) && is_initial(version))
                })
        };
        kind.is_empty() || version.is_empty() || self.0.iter().any(is_meant)
    }
}

impl DeniedTypes {
    /// Whether an entry says what it denies: a type in full, such as `state.redis`, or one with its
    /// version.
    #[cfg(feature = "serve")]
    pub(crate) fn is_entry(entry: &str) -> bool {
        let (kind, version) = entry
            .split_once('/')
            .map_or((entry, None), |(kind, version)| (kind, Some(version)));
        let is_name = |name: &str| {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
            !name.is_empty() && name.bytes().all(is_plain)
        };
        kind.contains('.') && is_name(kind) && version.is_none_or(is_name)
    }
}

/// Whether this version and the others of which that holds are the same component.
fn is_initial(version: &str) -> bool {
    version.eq_ignore_ascii_case("v0") || version.eq_ignore_ascii_case("v1")
}

impl<S: AsRef<str>> FromIterator<S> for DeniedTypes {
    /// Takes entries as they stand in the list. As in Dapr, empty ones and those with more than one
    /// `/` say nothing.
    fn from_iter<I: IntoIterator<Item = S>>(entries: I) -> Self {
        let entries = entries.into_iter();
        let read = entries.filter_map(|entry| match entry.as_ref().split_once('/') {
            None if entry.as_ref().is_empty() => None,
            None => Some((entry.as_ref().to_owned(), None)),
            Some((_, version)) if version.contains('/') => None,
            Some((kind, "")) => Some((kind.to_owned(), None)),
            Some((kind, version)) => Some((kind.to_owned(), Some(version.to_owned()))),
        });
        Self(read.collect())
    }
}
