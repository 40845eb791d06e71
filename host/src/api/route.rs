//! Paths: what they ask for, and which of Dapr's APIs that belongs to.

use http::Method;

use crate::api::access::Api;
use crate::api::go;

/// What a path and method ask for, parameters unescaped.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Route {
    Secret { store: String, name: String },
    Secrets { store: String },
    Configuration(Version, Ask),
    Health,
    OutboundHealth,
    Metadata,
    SetMetadata { name: String },
    Shutdown,
}

/// Both versions of the Configuration API are the same.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Version {
    V1,
    V1Alpha1,
}

/// What is asked of a configuration store.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Ask {
    Get { store: String },
    Subscribe { store: String },
    Unsubscribe { store: String, id: String },
}

const SECRET: Api = secrets("v1.0/secrets/{secretStoreName}/{key}");
const SECRETS: Api = secrets("v1.0/secrets/{secretStoreName}/bulk");
pub(crate) const CONFIGURATION: Api = Api {
    name: "configuration",
    version: "v1",
    route: "v1.0/configuration/{storeName}",
};
pub(crate) const CONFIGURATION_ALPHA: Api = Api {
    name: "configuration",
    version: "v1alpha1",
    route: "v1.0-alpha1/configuration/{storeName}",
};
const METADATA: Api = metadata("v1.0/metadata");
const SET_METADATA: Api = metadata("v1.0/metadata/{key}");
const SHUTDOWN: Api = Api {
    name: "shutdown",
    version: "v1",
    route: "v1.0/shutdown",
};
/// The API that takes what no route does.
pub(crate) const INVOKE: Api = Api {
    name: "invoke",
    version: "v1",
    route: "v1.0/invoke/*",
};

/// The versions in Dapr's paths.
pub(crate) const DAPR_VERSIONS: &[&str] = &["v1.0", "v1.0-alpha1", "v1.0-alpha2", "v1.0-beta1"];

/// Dapr's APIs over HTTP that are not here.
pub(crate) const DAPR_APIS: &[&str] = &[
    "actors",
    "bindings",
    "conversation",
    "crypto",
    "invoke",
    "jobs",
    "lock",
    "publish",
    "state",
    "subscribe",
    "subtlecrypto",
    "unlock",
    "workflows",
];

const fn secrets(route: &'static str) -> Api {
    Api {
        name: "secrets",
        version: "v1",
        route,
    }
}

const fn metadata(route: &'static str) -> Api {
    Api {
        name: "metadata",
        version: "v1",
        route,
    }
}

impl Route {
    /// The API that rules name; `None` for health, which is always there.
    pub(crate) fn api(&self) -> Option<Api> {
        match self {
            Self::Secret { .. } => Some(SECRET),
            Self::Secrets { .. } => Some(SECRETS),
            Self::Configuration(version, _) => Some(match version {
                Version::V1 => CONFIGURATION,
                Version::V1Alpha1 => CONFIGURATION_ALPHA,
            }),
            Self::Health | Self::OutboundHealth => None,
            Self::Metadata => Some(METADATA),
            Self::SetMetadata { .. } => Some(SET_METADATA),
            Self::Shutdown => Some(SHUTDOWN),
        }
    }

    pub(crate) fn method(&self) -> Method {
        match self {
            Self::SetMetadata { .. } => Method::PUT,
            Self::Shutdown => Method::POST,
            _ => Method::GET,
        }
    }

    /// Dapr's name of it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Secret { .. } => "GetSecret",
            Self::Secrets { .. } => "GetBulkSecret",
            Self::Configuration(_, Ask::Get { .. }) => "GetConfiguration",
            Self::Configuration(_, Ask::Subscribe { .. }) => "SubscribeConfiguration",
            Self::Configuration(_, Ask::Unsubscribe { .. }) => "UnsubscribeConfiguration",
            Self::Health => "Healthz",
            Self::OutboundHealth => "HealthzOutbound",
            Self::Metadata => "GetMetadata",
            Self::SetMetadata { .. } => "PutMetadata",
            Self::Shutdown => "Shutdown",
        }
    }

    /// Whether it asks for health.
    pub(crate) fn is_health(&self) -> bool {
        matches!(self, Self::Health | Self::OutboundHealth)
    }

    /// Whether Dapr's public port has it.
    pub(crate) fn is_public(&self) -> bool {
        matches!(self, Self::Health | Self::OutboundHealth | Self::Metadata)
    }
}

/// What a cleaned, still escaped path names; each parameter is unescaped once.
pub(crate) fn route(path: &str) -> Option<Route> {
    let parameter = |text: &str| {
        let plain = go::query_unescape(text)?;
        Some(String::from_utf8_lossy(&plain).into_owned())
    };
    let mut rest = path.strip_prefix('/')?.split('/');
    let parts = [(); 5].map(|()| rest.next());
    if rest.next().is_some() {
        return None;
    }
    let route = match parts {
        [
            Some("v1.0"),
            Some("secrets"),
            Some(store),
            Some("bulk"),
            None,
        ] => Route::Secrets {
            store: parameter(store)?,
        },
        [Some("v1.0"), Some("secrets"), Some(store), Some(name), None] => Route::Secret {
            store: parameter(store)?,
            name: parameter(name)?,
        },
        [
            Some(version @ ("v1.0" | "v1.0-alpha1")),
            Some("configuration"),
            Some(store),
            rest @ ..,
        ] => {
            let version = if version == "v1.0" {
                Version::V1
            } else {
                Version::V1Alpha1
            };
            let store = parameter(store)?;
            Route::Configuration(
                version,
                match rest {
                    [None, None] => Ask::Get { store },
                    [Some("subscribe"), None] => Ask::Subscribe { store },
                    [Some(id), Some("unsubscribe")] => Ask::Unsubscribe {
                        store,
                        id: parameter(id)?,
                    },
                    _ => return None,
                },
            )
        }
        [Some("v1.0"), Some("healthz"), None, None, None] => Route::Health,
        [Some("v1.0"), Some("healthz"), Some("outbound"), None, None] => Route::OutboundHealth,
        [Some("v1.0"), Some("metadata"), None, None, None] => Route::Metadata,
        [Some("v1.0"), Some("metadata"), Some(name), None, None] => Route::SetMetadata {
            name: parameter(name)?,
        },
        [Some("v1.0"), Some("shutdown"), None, None, None] => Route::Shutdown,
        _ => return None,
    };
    Some(route)
}

#[cfg(test)]
mod tests {
    use super::{Ask, Route, Version, route};

    #[test]
    fn bulk_is_a_route_only_where_it_is_written_so() {
        let secrets = Some(Route::Secrets {
            store: "s".to_owned(),
        });
        assert_eq!(route("/v1.0/secrets/s/bulk"), secrets);
        let secret = Some(Route::Secret {
            store: "s".to_owned(),
            name: "bulk".to_owned(),
        });
        assert_eq!(route("/v1.0/secrets/s/%62ulk"), secret);
        for other in [
            "/",
            "/v1.0/secrets/s",
            "/v1.0/secrets/s/a/b",
            "/v1.0/Secrets/s/a",
        ] {
            assert_eq!(route(other), None, "{other}");
        }
    }

    #[test]
    fn both_versions_of_configuration_are_served() {
        let (store, id) = ("s".to_owned(), "i".to_owned());
        for (path, ask) in [
            (
                "",
                Ask::Get {
                    store: store.clone(),
                },
            ),
            (
                "/subscribe",
                Ask::Subscribe {
                    store: store.clone(),
                },
            ),
            ("/i/unsubscribe", Ask::Unsubscribe { store, id }),
        ] {
            let alpha = route(&format!("/v1.0-alpha1/configuration/s{path}"));
            assert_eq!(alpha, Some(Route::Configuration(Version::V1Alpha1, ask)));
            assert!(
                route(&format!("/v1.0/configuration/s{path}")).is_some(),
                "{path}"
            );
            assert_eq!(route(&format!("/v1.0/configuration/s{path}/x/y/z")), None);
        }
    }
}
