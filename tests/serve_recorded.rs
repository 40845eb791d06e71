//! Every line that was recorded of Dapr's server, asked again: the same to the byte, or a row of
//! `docs/differences.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Arc;

use async_trait::async_trait;
use keyref::api::{Identity, Loaded, Options};
use keyref::configuration::{ConfigurationStore, Items, ItemsRequest};
use keyref::error::Class;
use keyref::stores::StoreError;
use keyref::{Context, Resolver};
use keyref_tests::dapr::{
    Change, DAPR, Empty, GetItems, Items as Found, Text, Unsubscribed, bulk, get,
};
use keyref_tests::encoding::percent_decoded;
use keyref_tests::recorded::{self, Exchange, Section};
use keyref_tests::server::{Detail, Reply, Server, Stream, ask_at, call_at};
use keyref_tests::workspace;
use serde_json::{Value, json};
use tokio::sync::watch;

/// The recordings of starts.
const STARTS: [&str; 2] = ["scopes.txt", "startup.txt"];

fn sections() -> Vec<Section> {
    let starts = STARTS.iter().flat_map(|name| recorded::starts(name));
    let mut sections: Vec<_> = starts.collect();
    sections.push(recorded::requests());
    sections
}

/// Dapr's metadata as it is here, by the row H4: features that are not here are not named, nor is
/// what components can do that are not opened here; keyref's version is.
fn by_row_h4(recorded: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    recorded
        .replace(
            "\"HotReload\",\"WorkflowsRemoteActivityReminder\"",
            "\"HotReload\"",
        )
        .replace(
            "\"WorkflowsRemoteActivityReminder\",\"HotReload\"",
            "\"HotReload\"",
        )
        .replace(
            ",\"capabilities\":[\"ETAG\",\"TRANSACTIONAL\",\"TTL\",\"DELETE_WITH_PREFIX\",\
             \"KEYS_LIKE\",\"ACTOR\"]",
            "",
        )
        .replace(
            "\"daprRuntimeVersion\":\"1.18.3\"",
            &format!("\"daprRuntimeVersion\":\"1.18.3\",\"keyrefVersion\":\"{version}\""),
        )
        // A store that the recording alone had.
        .replace("configuration.testfile", "configuration.local.file")
}

/// What of an answer is not as it was recorded.
fn mismatch(server: &Server, ask: &Exchange) -> Option<String> {
    let headers: Vec<_> = ask
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let answer = ask_at(server.http, &ask.ask, &headers, &ask.send);
    let expected = match ask.ask.as_str() {
        "GET /v1.0/metadata" => by_row_h4(&ask.answer),
        _ => ask.answer.clone(),
    };
    let kind = answer.headers.get("content-type");
    let kind = kind.map_or("", String::as_str);
    let is_same = answer.body == expected || (ask.is_cut && answer.body.starts_with(&expected));
    let is_kind = ask
        .content_type
        .as_ref()
        .is_none_or(|recorded| recorded == kind);
    let is_right = answer.status == ask.status && is_same && is_kind;
    (!is_right).then(|| format!("{ask:?}: {} {kind} {}", answer.status, answer.body))
}

#[test]
fn every_recorded_request_is_answered_to_the_byte_or_by_a_row() {
    let section = recorded::requests();
    assert!(section.asks.len() >= 58, "{}", section.asks.len());
    let server = recorded::serve("http");
    let wrong = section.asks.iter().filter_map(|ask| mismatch(&server, ask));
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let log = server.log();
    for value in ["p<&>", "\"pw\"", "%!s(float64=42)", "space"] {
        assert!(!log.contains(value), "{log}");
    }
}

#[test]
fn every_recorded_start_ends_and_answers_as_recorded_or_by_a_row() {
    let rows = fs::read_to_string(workspace().join("docs/differences.md")).unwrap();
    let mut wrong = Vec::new();
    for section in STARTS.iter().flat_map(|name| recorded::starts(name)) {
        let name = &section.name;
        assert!(
            recorded::root().join(name).exists(),
            "`{name}` has no folder"
        );
        let differs = recorded::differences(name).unwrap_or_default();
        if let Some(row) = differs["row"].as_str() {
            assert!(
                rows.contains(&format!("| {row} |")),
                "{name}: there is no row {row}"
            );
        }
        if differs["elsewhere"].is_string() {
            continue;
        }
        let says = differs["fatal"].as_str().or(section.fatal.as_deref());
        let begins = differs["begins"].as_str();
        let is_up = differs["is_up"].as_bool().unwrap_or(section.status == 0);
        if !is_up {
            let (status, last) = recorded::refused(name);
            let is_said = match begins {
                Some(begin) => last.starts_with(begin),
                None => Some(last.as_str()) == says,
            };
            if status != Some(1) || !is_said {
                wrong.push(format!("{name}: {status:?} {last}\n  not {says:?}"));
            }
            continue;
        }
        let Ok(server) = std::panic::catch_unwind(|| recorded::serve(name)) else {
            wrong.push(format!("{name}: it does not start"));
            continue;
        };
        for ask in &section.asks {
            let mut ask = ask.clone();
            if let Some(answer) = differs["answers"][ask.ask.as_str()].as_array() {
                ask.status = answer[0].as_u64().unwrap().try_into().unwrap();
                ask.answer = answer[1].as_str().unwrap().to_owned();
            }
            wrong.extend(mismatch(&server, &ask).map(|wrong| format!("{name}: {wrong}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_folder_of_a_recording_is_without_one() {
    let names: BTreeSet<_> = sections().into_iter().map(|section| section.name).collect();
    let folders = fs::read_dir(recorded::root()).unwrap();
    for entry in folders.map(|entry| entry.unwrap()) {
        let name = entry.file_name().into_string().unwrap();
        let is_folder = entry.file_type().unwrap().is_dir();
        assert!(!is_folder || names.contains(&name), "{name}");
    }
}

/// What a question comes to over gRPC.
struct Told {
    status: u32,
    text: String,
    details: Vec<Detail>,
    data: Value,
}

impl Told {
    fn of<R>(reply: Reply<R>, data: impl Fn(R) -> Value) -> Self {
        Self {
            status: reply.status,
            text: reply.text,
            details: reply.details,
            data: reply.message.map(data).unwrap_or_default(),
        }
    }
}

fn items(found: Found) -> Value {
    let items = found.items.into_iter().map(|(key, item)| {
        let mut shown = BTreeMap::from([("value", item.value)]);
        if !item.version.is_empty() {
            shown.insert("version", item.version);
        }
        (key, json!(shown))
    });
    Value::Object(items.collect())
}

/// Asks the same over gRPC, where that can be asked there.
fn told(server: &Server, ask: &Exchange) -> Option<Told> {
    let headers: Vec<_> = ask
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let path = ask.ask.strip_prefix("GET /")?;
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let parts: Vec<String> = path
        .split('/')
        .map(|part| percent_decoded(&part.replace('+', " ")))
        .collect();
    let parts: Vec<_> = parts.iter().map(String::as_str).collect();
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let keys = pairs.filter(|(name, _)| *name == "key");
    let keys: Vec<_> = keys.map(|(_, key)| key.to_owned()).collect();
    let alpha = if parts[0] == "v1.0-alpha1" {
        "Alpha1"
    } else {
        ""
    };
    match parts[1..] {
        ["secrets", store, "bulk"] if path.ends_with("/bulk") => {
            Some(Told::of(bulk(server, store, &headers), |bulk| {
                let secrets = bulk.data.into_iter();
                json!(
                    secrets
                        .map(|(name, found)| (name, found.data))
                        .collect::<BTreeMap<_, _>>()
                )
            }))
        }
        // A body is HTTP's, and so is a wrong escape.
        ["secrets", store, name]
            if !ask.ask.ends_with('%') && !ask.answer.contains("MALFORMED") =>
        {
            (alpha.is_empty()).then(|| {
                Told::of(get(server, store, name, &headers), |secret| {
                    json!(secret.data)
                })
            })
        }
        ["configuration", store] => {
            let store = store.to_owned();
            let method = format!("{DAPR}/GetConfiguration{alpha}");
            let reply = server.call(&method, &GetItems { store, keys }, &headers);
            Some(Told::of(reply, items))
        }
        ["metadata"] => {
            let reply: Reply<Empty> =
                server.call(&format!("{DAPR}/GetMetadata"), &Empty {}, &headers);
            Some(Told::of(reply, |_| Value::Null))
        }
        _ => None,
    }
}

/// The same questions over gRPC: Dapr answers both from one function.
#[test]
fn the_same_questions_have_the_same_answers_over_grpc() {
    let mut asked = 0;
    for section in sections() {
        let name = &section.name;
        let differs = recorded::differences(name).unwrap_or_default();
        // Rules name a protocol, and these name HTTP.
        let is_http_alone = name.starts_with("api_");
        if section.status != 0 || section.asks.is_empty() || is_http_alone {
            continue;
        }
        let server = recorded::serve(name);
        for ask in &section.asks {
            if !differs["answers"][ask.ask.as_str()].is_null() {
                continue;
            }
            let Some(told) = told(&server, ask) else {
                continue;
            };
            asked += 1;
            let case = format!("{name}: {}", ask.ask);
            let answer: Value = serde_json::from_str(&ask.answer).unwrap_or_default();
            let code = answer["errorCode"].as_str().unwrap_or_default();
            let expected = match (ask.status, code) {
                (200 | 204, _) => 0,
                (401, "") => 16,
                (_, code) if code.ends_with("_NOT_CONFIGURED") => 9,
                (_, "ERR_SECRET_STORE_NOT_FOUND" | "ERR_CONFIGURATION_STORE_NOT_FOUND") => 3,
                (_, "ERR_PERMISSION_DENIED") => 7,
                (_, "ERR_SECRET_GET") => 13,
                other => panic!("{case}: {other:?}"),
            };
            assert_eq!(told.status, expected, "{case}");
            match expected {
                0 if ask.ask.ends_with("/metadata") => {}
                0 if ask.status == 204 => assert_eq!(told.data, json!({}), "{case}"),
                0 => assert_eq!(told.data, answer, "{case}"),
                16 => {
                    assert_eq!(told.text, "Unauthorized", "{case}");
                    assert_eq!(told.details[0].metadata["http.code"], "401", "{case}");
                }
                _ => {
                    assert_eq!(told.text, answer["message"].as_str().unwrap(), "{case}");
                    assert_eq!(told.details.len(), 1, "{case}");
                    assert_eq!(told.details[0].reason, code, "{case}");
                    assert_eq!(told.details[0].domain, "dapr.io", "{case}");
                }
            }
        }
    }
    assert!(asked >= 70, "{asked}");
}

/// What differs over gRPC in Dapr itself: no app is needed to subscribe, and ending what is not there
/// is no error.
#[test]
fn subscriptions_are_told_over_grpc_in_dapr_s_own_way() {
    let server = recorded::serve("http");
    for alpha in ["", "Alpha1"] {
        let request = |store: &str| GetItems {
            store: store.to_owned(),
            keys: vec!["err".to_owned()],
        };
        let method = format!("{DAPR}/SubscribeConfiguration{alpha}");
        let mut stream = Stream::open(server.grpc, &method, &request("cfg"), &[]);
        assert_eq!(stream.status, None);
        let first: Change = stream.receive().unwrap();
        assert!(!first.id.is_empty() && first.items.is_empty());
        let reply: Reply<Empty> = server.call(&method, &request("nostore"), &[]);
        assert_eq!(
            (reply.status, reply.text.as_str()),
            (3, "configuration store nostore not found")
        );
        assert_eq!(reply.details[0].reason, "ERR_CONFIGURATION_STORE_NOT_FOUND");
        for store in ["cfg", "nostore"] {
            let request = Text {
                key: store.to_owned(),
                value: "sub-9".to_owned(),
            };
            let method = format!("{DAPR}/UnsubscribeConfiguration{alpha}");
            let reply: Reply<Unsubscribed> = server.call(&method, &request, &[]);
            assert_eq!(reply.status, 0);
            let ended = reply.message.unwrap();
            assert!(!ended.ok);
            assert_eq!(
                ended.message,
                "failed to unsubscribe to configuration request sub-9: subscription does not exist"
            );
        }
    }
}

/// The store that the recording had: it fails where it is asked for `err`.
struct Failing;

#[async_trait]
impl ConfigurationStore for Failing {
    async fn get(&self, request: &ItemsRequest, _: &Context) -> Result<Items, StoreError> {
        if request.keys.iter().any(|key| key == "err") {
            return Err(StoreError::new(Class::Internal, "get failed"));
        }
        Ok(Items::new())
    }

    async fn watch(
        &self,
        _: &ItemsRequest,
        _: &Context,
    ) -> Result<watch::Receiver<Arc<Items>>, StoreError> {
        Err(StoreError::new(Class::Internal, "watch failed"))
    }
}

#[test]
fn the_recorded_failure_of_a_store_is_told_to_the_byte() {
    let text = fs::read_to_string(recorded::root().join("http.txt")).unwrap();
    let line = text.lines().nth(42).unwrap();
    assert!(
        line.starts_with("GET /v1.0/configuration/cfg?key=err "),
        "{line}"
    );
    let (_, body) = line.rsplit_once("| ").unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(async {
        let server = keyref::api::Server::bind(Options::new(Identity::new("myapp")));
        server.await.unwrap()
    });
    let (http, grpc) = (server.http()[0], server.grpc()[0]);
    let resolver = Resolver::builder().build().unwrap();
    let loaded = Loaded::new(resolver, Vec::new()).with_configuration("cfg", Arc::new(Failing));
    server.handle().load(loaded);
    runtime.spawn(server.run());
    let answer = ask_at(http, "GET /v1.0/configuration/cfg?key=err", &[], "");
    assert_eq!(answer.status, 500);
    assert_eq!(format!("'{}'", answer.body), body);
    let request = GetItems {
        store: "cfg".to_owned(),
        keys: vec!["err".to_owned()],
    };
    let failed = "to get [err] from Configuration store cfg: get failed";
    let reply: Reply<Found> = call_at(grpc, &format!("{DAPR}/GetConfiguration"), &request, &[]);
    assert_eq!((reply.status, reply.text), (13, format!("failed {failed}")));
    assert_eq!(reply.details[0].reason, "ERR_CONFIGURATION_GET");
    let failed = "to subscribe [err] from Configuration store cfg: watch failed";
    let reply: Reply<Empty> = call_at(
        grpc,
        &format!("{DAPR}/SubscribeConfiguration"),
        &request,
        &[],
    );
    assert_eq!((reply.status, reply.text), (3, format!("failed {failed}")));
    assert_eq!(reply.details[0].reason, "ERR_CONFIGURATION_SUBSCRIBE");
}
