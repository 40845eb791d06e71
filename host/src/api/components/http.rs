//! The components over HTTP: JSON, and a line of it for each event of a stream.

use std::convert::Infallible;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::stream;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use http_body::Frame;
use http_body_util::{Full, StreamBody};
use tonic::body::Body;
use zeroize::Zeroizing;

use crate::api::asked_host::WRONG_HOST;
use crate::api::components::recipient::Recipient;
use crate::api::components::state::{Key, Shown, State};
use crate::api::components::watching::{Event, Watching};
use crate::api::components::{Inner, Refusal, WRONG_TOKEN};
use crate::api::go;
use crate::api::json::Json;
use crate::component::{ItemPlace, Kind, Property, Value};
use crate::problem::Problem;

const COMPONENTS: &str = "/v1/components";
/// The code of those who may not know.
const UNAUTHENTICATED: &str = "unauthenticated";

/// Answers a request.
pub(super) async fn answer(
    inner: &Inner,
    request: &Parts,
    recipient: Recipient,
    refused: Option<Refusal>,
) -> Response<Body> {
    match refused {
        Some(Refusal::Token) => {
            let answer = refusal(StatusCode::UNAUTHORIZED, UNAUTHENTICATED, WRONG_TOKEN);
            return with_header(answer, WWW_AUTHENTICATE, "Bearer");
        }
        Some(Refusal::Host) => return refusal(StatusCode::FORBIDDEN, "forbidden", WRONG_HOST),
        None => {}
    }
    let rest = request.uri.path().strip_prefix(COMPONENTS);
    let name = match rest.map(|rest| (rest, rest.strip_prefix('/'))) {
        Some(("" | "/", _)) => None,
        Some((_, Some(name))) => Some(name),
        _ => return refusal(StatusCode::NOT_FOUND, "not-found", "no such path"),
    };
    if request.method != Method::GET {
        let status = StatusCode::METHOD_NOT_ALLOWED;
        let answer = refusal(status, "method-not-allowed", "components are only read");
        return with_header(answer, ALLOW, "GET");
    }
    let query = |name| {
        let mut pairs = go::query_pairs(request.uri.query().unwrap_or_default());
        pairs.find_map(|(found, value)| (found == name).then_some(value))
    };
    let is_watch = query("watch").is_some_and(|value| ["", "1", "true"].contains(&value.as_str()));
    if is_watch && name.is_none() {
        return match inner.watch(recipient) {
            Some(watching) => lines(watching),
            None => refusal(
                StatusCode::SERVICE_UNAVAILABLE,
                "exhausted",
                "too many watch",
            ),
        };
    }
    let Some(state) = inner.state().await else {
        return refusal(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "not resolved yet",
        );
    };
    let mut json = Json::default();
    match name {
        None => {
            state.values().for_each(|shown| recipient.receives(shown));
            write_list(&mut json, &state);
        }
        Some(name) => match find(&state, name, query("kind").as_deref()) {
            Some((key, shown)) => {
                recipient.receives(shown);
                write_component(&mut json, &key, shown);
            }
            None => return refusal(StatusCode::NOT_FOUND, "not-found", "no such component"),
        },
    }
    json.raw("\n");
    whole(StatusCode::OK, json)
}

/// The component of a name as it stands in a path. Of two kinds with one name, it is the Component
/// unless a kind is given.
fn find<'s>(state: &'s State, escaped: &str, kind: Option<&str>) -> Option<(Key, &'s Shown)> {
    let name = String::from_utf8(go::path_unescape(escaped)?.into_owned()).ok()?;
    let kinds = [Kind::Component, Kind::HttpEndpoint].into_iter();
    let mut kinds = kinds.filter(|known| kind.is_none_or(|kind| kind == known.as_str()));
    kinds.find_map(|kind| {
        let key = Key::new(kind, name.as_str());
        let shown = state.get(&key)?;
        Some((key, &**shown))
    })
}

/// A stream of events, each a line.
fn lines(watching: Watching) -> Response<Body> {
    let lines = stream::unfold(watching, async |mut watching: Watching| {
        let mut json = Json::default();
        match watching.next().await? {
            Event::Component(key, shown) => {
                json.object([("component", ())], |json, ()| {
                    write_component(json, &key, &shown);
                });
            }
            Event::Complete => json.raw("{\"complete\":{}}"),
            Event::Refused => write_refusal(&mut json, UNAUTHENTICATED, WRONG_TOKEN),
            Event::Removed(Key { kind, name }) => json.object([("removed", ())], |json, ()| {
                json.object([("kind", kind), ("name", name.as_str())], Json::text);
            }),
        }
        json.raw("\n");
        let frame = Frame::data(Bytes::from_owner(json.finish()));
        Some((Ok::<_, Infallible>(frame), watching))
    });
    let body = Body::new(StreamBody::new(lines));
    json_answer(StatusCode::OK, "application/x-ndjson", body)
}

fn write_list(json: &mut Json, state: &State) {
    json.object([("components", ())], |json, ()| {
        json.array(state, |json, (key, shown)| {
            write_component(json, key, shown);
        });
    });
}

fn write_component(json: &mut Json, key: &Key, shown: &Shown) {
    json.raw("{");
    let texts = [
        ("kind", key.kind),
        ("name", &key.name),
        ("namespace", &shown.namespace),
        ("type", &shown.component_type),
        ("version", &shown.version),
        ("revision", &shown.revision),
    ];
    for (name, text) in texts {
        json.text(name);
        json.raw(":");
        json.text(text);
        json.raw(",");
    }
    json.raw("\"scopes\":");
    json.array(&shown.scopes, |json, scope| json.text(scope));
    if let Some(properties) = &shown.properties {
        json.raw(",\"properties\":");
        json.array(properties, write_property);
    }
    json.raw(",\"problems\":");
    json.array(&shown.problems, write_problem);
    json.raw("}");
}

/// What is not text stands in a field of its own.
fn write_property(json: &mut Json, property: &Property) {
    json.raw("{\"name\":");
    json.text(&property.name);
    let is_secret = match &property.value {
        Value::Plain(text) => {
            json.raw(",\"value\":");
            json.text(text);
            "false"
        }
        // This is the answer that was asked for.
        Value::Secret(value) => {
            if let Ok(text) = value.reveal_text() {
                json.raw(",\"value\":");
                json.text(text);
            } else {
                json.raw(",\"base64\":");
                json.text(&encoded(value.reveal()));
            }
            "true"
        }
    };
    json.raw(",\"secret\":");
    json.raw(is_secret);
    json.raw(match property.place {
        ItemPlace::Metadata => ",\"place\":\"metadata\"}",
        ItemPlace::Header => ",\"place\":\"header\"}",
        ItemPlace::ClientTls => ",\"place\":\"clientTLS\"}",
    });
}

/// Base64 in one piece of memory, which is wiped.
fn encoded(bytes: &[u8]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(bytes.len().div_ceil(3) * 4));
    STANDARD.encode_string(bytes, &mut text);
    text
}

fn write_problem(json: &mut Json, problem: &Problem) {
    let place = problem.place.as_ref();
    let subject = problem.subject.as_ref();
    json.raw("{");
    let texts = [
        ("class", problem.class.code()),
        ("message", &problem.message),
        ("hint", &problem.hint),
        ("document", place.map_or("", |place| &place.document)),
        ("property", subject.map_or("", |subject| &subject.property)),
    ];
    for (name, text) in texts {
        json.text(name);
        json.raw(":");
        json.text(text);
        json.raw(",");
    }
    let (line, column) = place.map_or((0, 0), |place| (place.line, place.column));
    let is_retryable = problem.class.retry_helps();
    json.raw(&format!(
        "\"line\":{line},\"column\":{column},\"retryable\":{is_retryable}}}"
    ));
}

fn refusal(status: StatusCode, code: &str, message: &str) -> Response<Body> {
    let mut json = Json::default();
    write_refusal(&mut json, code, message);
    json.raw("\n");
    whole(status, json)
}

fn write_refusal(json: &mut Json, code: &str, message: &str) {
    json.object([("code", code), ("message", message)], Json::text);
}

fn whole(status: StatusCode, json: Json) -> Response<Body> {
    let body = Body::new(Full::new(Bytes::from_owner(json.finish())));
    json_answer(status, "application/json", body)
}

fn json_answer(status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let answer = with_header(answer, CONTENT_TYPE, content_type);
    // There are secrets in it.
    with_header(answer, CACHE_CONTROL, "no-store")
}

fn with_header(
    mut answer: Response<Body>,
    name: HeaderName,
    value: &'static str,
) -> Response<Body> {
    let value = HeaderValue::from_static(value);
    answer.headers_mut().insert(name, value);
    answer
}
