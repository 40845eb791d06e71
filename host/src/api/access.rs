//! Who may call what: the API token, and the lists of a Configuration's `spec.api`.

use crate::api::token::Token;

/// The header, or entry of gRPC's metadata, that holds the token.
pub(crate) const TOKEN_HEADER: &str = "dapr-api-token";

/// Who may call what.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Access {
    /// What a caller must send as `dapr-api-token`; nothing where everyone may call.
    pub token: Option<Token>,
}

/// The lists of a Configuration's `spec.api`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct ApiLists {
    /// The APIs that may be called; all where there is none.
    pub allowed: Vec<ApiRule>,
    /// The APIs that may not, which counts first.
    pub denied: Vec<ApiRule>,
}

/// An entry of `spec.api.allowed` or `spec.api.denied`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct ApiRule {
    /// The API, such as `secrets`.
    pub name: String,
    /// Its version, such as `v1`.
    pub version: String,
    /// `http` or `grpc`.
    pub protocol: String,
}

impl ApiRule {
    /// A rule for an API's version over a protocol, `http` or `grpc`.
    pub fn new(
        name: impl Into<String>,
        version: impl Into<String>,
        protocol: impl Into<String>,
    ) -> Self {
        Self {
            name: name.into(),
            version: version.into(),
            protocol: protocol.into(),
        }
    }
}

/// An API as rules name it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Api {
    /// Such as `secrets`.
    pub(crate) name: &'static str,
    /// Such as `v1`.
    pub(crate) version: &'static str,
    /// As it stands in a path, such as `v1.0/secrets/{secretStoreName}/{key}`: an older form of
    /// rules names its beginning. Empty over gRPC.
    pub(crate) route: &'static str,
}

impl Access {
    /// Whether a caller that sent this has shown the token.
    pub(crate) fn proves(&self, sent: Option<&[u8]>) -> bool {
        self.token.is_some() && self.admits(sent)
    }

    /// Whether a caller that sent this token may call.
    pub(crate) fn admits(&self, sent: Option<&[u8]>) -> bool {
        let Some(token) = &self.token else {
            return true;
        };
        sent.is_some_and(|sent| token.is(sent))
    }

    /// Waits until a caller that sent this token may not call.
    pub(crate) async fn refuses(&self, sent: Option<&[u8]>) {
        match (&self.token, sent) {
            (None, _) => std::future::pending().await,
            (Some(_), None) => {}
            (Some(token), Some(sent)) => token.is_no_longer(sent).await,
        }
    }
}

impl ApiLists {
    /// Whether an API is there over HTTP.
    pub(crate) fn allows_http(&self, api: Api) -> bool {
        self.allows(api, |rule| rule.protocol.eq_ignore_ascii_case("http"))
    }

    /// Whether an API is there over gRPC, whose name Dapr compares as it is written.
    pub(crate) fn allows_grpc(&self, api: Api) -> bool {
        self.allows(api, |rule| rule.protocol == "grpc")
    }

    fn allows(&self, api: Api, is_for: impl Fn(&ApiRule) -> bool) -> bool {
        let names = |rule: &ApiRule| is_for(rule) && rule.names(api);
        let is_open = !self.allowed.iter().any(&is_for);
        !self.denied.iter().any(names) && (is_open || self.allowed.iter().any(names))
    }
}

impl ApiRule {
    fn names(&self, api: Api) -> bool {
        let is_group = self.name == api.name && self.version == api.version;
        let prefix = format!("{}/{}", self.version, self.name);
        is_group || (!api.route.is_empty() && api.route.starts_with(&prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::{Access, Api, ApiLists, ApiRule};

    const SECRETS: Api = Api {
        name: "secrets",
        version: "v1",
        route: "v1.0/secrets/{secretStoreName}/{key}",
    };

    fn lists(allowed: &[[&str; 3]], denied: &[[&str; 3]]) -> ApiLists {
        let rules = |rules: &[[&str; 3]]| -> Vec<_> {
            let rules = rules.iter();
            let rules =
                rules.map(|[name, version, protocol]| ApiRule::new(*name, *version, *protocol));
            rules.collect()
        };
        ApiLists {
            allowed: rules(allowed),
            denied: rules(denied),
        }
    }

    #[test]
    fn rules_are_of_a_protocol() {
        let http = lists(&[], &[["secrets", "v1", "HTTP"]]);
        assert!(!http.allows_http(SECRETS));
        assert!(http.allows_grpc(SECRETS));
        // Dapr compares gRPC's as it is written.
        assert!(lists(&[], &[["secrets", "v1", "GRPC"]]).allows_grpc(SECRETS));
        assert!(!lists(&[], &[["secrets", "v1", "grpc"]]).allows_grpc(SECRETS));
    }

    #[test]
    fn denial_counts_first_and_lists_that_name_nothing_allow_nothing() {
        let both = lists(&[["secrets", "v1", "http"]], &[["secrets", "v1", "http"]]);
        assert!(!both.allows_http(SECRETS));
        assert!(!lists(&[["state", "v1", "http"]], &[]).allows_http(SECRETS));
        assert!(lists(&[["state", "v1", "grpc"]], &[]).allows_http(SECRETS));
    }

    #[test]
    fn an_older_form_names_the_beginning_of_a_path() {
        assert!(!lists(&[], &[["secrets", "v1.0", "http"]]).allows_http(SECRETS));
        assert!(lists(&[], &[["secrets", "v1alpha1", "http"]]).allows_http(SECRETS));
    }

    #[test]
    fn a_token_is_compared_whole() {
        let access = Access {
            token: Some("t0ken".into()),
        };
        assert!(access.admits(Some(b"t0ken")));
        for wrong in [None, Some(&b"t0ke"[..]), Some(b"t0ken1"), Some(b"")] {
            assert!(!access.admits(wrong));
        }
        assert!(Access::default().admits(None));
    }
}
