//! What is asked of the API server.

use std::fmt;

/// One request for secrets, or for a ConfigMap.
#[derive(Clone, Copy)]
pub(crate) enum Question<'a> {
    /// One secret.
    Get { namespace: &'a str, name: &'a str },
    /// A page of a namespace's secrets: the first one, or the one that a token stands for.
    List {
        namespace: &'a str,
        next: Option<&'a str>,
    },
    /// One ConfigMap, as a list: so the right to list and watch is enough to follow it.
    #[cfg_attr(
        not(feature = "serve"),
        expect(dead_code, reason = "only configuration is read from them")
    )]
    ConfigMap { namespace: &'a str, name: &'a str },
}

impl Question<'_> {
    /// Whether Kubernetes allows such names at all. The check also keeps a name from being more
    /// than one step of a path.
    pub(super) fn can_have_an_answer(self) -> bool {
        match self {
            Self::Get { namespace, name } | Self::ConfigMap { namespace, name } => {
                is_namespace(namespace) && is_name(name)
            }
            Self::List { namespace, .. } => is_namespace(namespace),
        }
    }

    /// RBAC's word for it.
    pub(super) fn verb(self) -> &'static str {
        match self {
            Self::Get { .. } => "get",
            Self::List { .. } | Self::ConfigMap { .. } => "list",
        }
    }

    /// RBAC's word for what is asked for.
    pub(super) fn resource(self) -> &'static str {
        match self {
            Self::Get { .. } | Self::List { .. } => "secrets",
            Self::ConfigMap { .. } => "configmaps",
        }
    }

    pub(super) fn namespace(&self) -> &str {
        match self {
            Self::Get { namespace, .. }
            | Self::List { namespace, .. }
            | Self::ConfigMap { namespace, .. } => namespace,
        }
    }
}

impl fmt::Display for Question<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Get { namespace, name } => {
                write!(f, "secret `{name}` in namespace `{namespace}`")
            }
            Self::List { namespace, .. } => write!(f, "the secrets of namespace `{namespace}`"),
            Self::ConfigMap { namespace, name } => {
                write!(f, "config map `{name}` in namespace `{namespace}`")
            }
        }
    }
}

/// A name of a Secret or a ConfigMap: a DNS subdomain by RFC 1123.
pub(crate) fn is_name(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_label)
}

/// A name of a namespace: one label of such a name.
pub(crate) fn is_namespace(name: &str) -> bool {
    name.len() <= 63 && is_label(name)
}

fn is_label(label: &str) -> bool {
    !label.is_empty()
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::{is_name, is_namespace};

    #[test]
    fn names_are_those_of_kubernetes() {
        for name in ["redis", "a.b-c.d1", "0"] {
            assert!(is_name(name), "{name}");
        }
        for name in [
            "", ".", "..", "a/b", "a%2Fb", "A", "a_b", "-a", "a-", "a..b", "a b", "é",
        ] {
            assert!(!is_name(name), "{name}");
        }
        assert!(is_namespace("kube-system"));
        assert!(!is_namespace("a.b"));
        assert!(!is_namespace(&"a".repeat(64)));
    }
}
