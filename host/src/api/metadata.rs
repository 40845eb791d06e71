//! `GET /v1.0/metadata` as Dapr writes it: empty lists are left out.

use std::fmt::Write as _;

use serde::Serialize;

use crate::api::go;
use crate::api::identity::Identity;
use crate::api::service::{DAPR_VERSION, Service};
use crate::api::settings::HOT_RELOAD;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'m> {
    id: &'m str,
    runtime_version: &'m str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    enabled_features: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    components: Vec<Component<'m>>,
    extended: std::collections::BTreeMap<String, String>,
    app_connection_properties: App<'m>,
    actor_runtime: Actors,
}

#[derive(Serialize)]
struct Component<'m> {
    name: &'m str,
    #[serde(rename = "type")]
    component_type: &'m str,
    #[serde(skip_serializing_if = "str::is_empty")]
    version: &'m str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    capabilities: &'m [String],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct App<'m> {
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    protocol: &'m str,
    channel_address: &'m str,
    #[serde(skip_serializing_if = "Option::is_none")]
    health: Option<Health<'m>>,
}

/// How the app is asked for its health.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Health<'m> {
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) health_check_path: &'m str,
    pub(crate) health_probe_interval: String,
    pub(crate) health_probe_timeout: String,
    pub(crate) health_threshold: u32,
}

/// There are no actors here, which Dapr's own words say.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Actors {
    runtime_status: &'static str,
    host_ready: bool,
    placement: &'static str,
}

/// What Dapr says of actors where it has no placement service.
pub(crate) const PLACEMENT: &str = "placement: disconnected";

/// Those of Dapr's features that are here and on.
pub(crate) fn features(service: &Service) -> Vec<String> {
    let is_hot = service.settings().hot_reload != Some(false);
    let features = is_hot.then(|| HOT_RELOAD.to_owned());
    features.into_iter().collect()
}

/// How the app is asked for its health, in Dapr's words. An app over gRPC has no path for it.
pub(crate) fn health(identity: &Identity) -> Option<Health<'_>> {
    let check = identity.app_health.as_ref()?;
    let is_grpc = identity.app_protocol.starts_with("grpc");
    Some(Health {
        health_check_path: if is_grpc { "" } else { &check.path },
        health_probe_interval: go::duration(check.interval),
        health_probe_timeout: go::duration(check.timeout),
        health_threshold: check.threshold,
    })
}

/// The metadata, escaped as Go's encoder does it.
pub(crate) fn json(service: &Service) -> String {
    let loaded = service.loaded();
    let components = loaded.iter().flat_map(|loaded| &loaded.components);
    let components = components.map(|component| Component {
        name: &component.name,
        component_type: &component.component_type,
        version: &component.version,
        capabilities: &component.capabilities,
    });
    let identity = &service.identity;
    let metadata = Metadata {
        id: &identity.app_id,
        runtime_version: DAPR_VERSION,
        enabled_features: features(service),
        components: components.collect(),
        extended: service.extended(),
        app_connection_properties: App {
            port: identity.app_port,
            protocol: &identity.app_protocol,
            channel_address: &identity.app_host,
            health: health(identity),
        },
        actor_runtime: Actors {
            runtime_status: "DISABLED",
            host_ready: false,
            placement: PLACEMENT,
        },
    };
    let json = serde_json::to_string(&metadata).unwrap_or_default();
    escape(&json)
}

/// JSON with what Go escapes in texts and serde does not: these characters stand nowhere else.
fn escape(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(escaped, "\\u{:04x}", u32::from(character));
            }
            character => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::json;
    use crate::api::access::Access;
    use crate::api::identity::Identity;
    use crate::api::loaded::{Loaded, LoadedComponent};
    use crate::api::service::Service;
    use crate::resolver::Resolver;

    #[test]
    fn metadata_is_written_as_dapr_does() {
        let (identity, timeout) = (Identity::new("myapp"), std::time::Duration::from_secs(1));
        let service = Service::new(identity, Access::default(), None, timeout, None);
        let resolver = Resolver::builder().build().unwrap();
        let component = LoadedComponent::new("a<b", "secretstores.local.file", "v1");
        let component = component.with_capabilities(vec!["X".to_owned()]);
        service.load(Loaded::new(resolver, vec![component]));
        service.extend("k".to_owned(), "v&w".to_owned()).unwrap();
        let version = env!("CARGO_PKG_VERSION");
        let expected = format!(
            "{{\"id\":\"myapp\",\"runtimeVersion\":\"1.18.3\",\"enabledFeatures\":[\"HotReload\"],\"components\":[{{\"name\":\"a\\u003cb\",\
             \"type\":\"secretstores.local.file\",\"version\":\"v1\",\"capabilities\":[\"X\"]}}],\
             \"extended\":{{\"daprRuntimeVersion\":\"1.18.3\",\"k\":\"v\\u0026w\",\
             \"keyrefVersion\":\"{version}\"}},\"appConnectionProperties\":{{\"protocol\":\"http\",\
             \"channelAddress\":\"127.0.0.1\"}},\"actorRuntime\":{{\"runtimeStatus\":\"DISABLED\",\
             \"hostReady\":false,\"placement\":\"placement: disconnected\"}}}}"
        );
        assert_eq!(json(&service), expected);
    }
}
