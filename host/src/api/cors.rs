//! Which pages in a browser may call: CORS, as Dapr answers it.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HeaderName, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body_util::Full;

/// What a page may do.
const METHODS: [&str; 6] = ["HEAD", "GET", "POST", "PUT", "PATCH", "DELETE"];

/// The origins whose pages may call over HTTP.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Origins(Arc<[Pattern]>);

/// An origin in lower case, in which one `*` can stand for anything.
#[derive(Debug, Eq, PartialEq)]
struct Pattern {
    begin: String,
    end: Option<String>,
}

impl Origins {
    /// Reads Dapr's list: origins with commas between them, each with at most one `*`. Nothing where
    /// it is empty, since then no page may call.
    pub fn parse(list: &str) -> Option<Self> {
        if list.is_empty() {
            return None;
        }
        let patterns = list.split(',').map(|origin| {
            let origin = origin.to_lowercase();
            let (begin, end) = match origin.split_once('*') {
                Some((begin, end)) => (begin, Some(end.to_owned())),
                None => (origin.as_str(), None),
            };
            let begin = begin.to_owned();
            Pattern { begin, end }
        });
        Some(Self(patterns.collect()))
    }

    /// Whether every page in every browser may call.
    pub fn has_all(&self) -> bool {
        // `https://*` names nobody either.
        let names_nobody = |begin: &str| {
            let mut schemes = ["http://", "https://"].iter();
            schemes.any(|scheme| scheme.starts_with(begin))
        };
        let is_all = |pattern: &Pattern| {
            let end = pattern.end.as_deref();
            names_nobody(&pattern.begin) && end.is_some_and(str::is_empty)
        };
        self.0.iter().any(is_all)
    }

    /// What a browser's question is answered, whether or not it has a token: it never has one.
    /// Nothing where this is none.
    pub(crate) fn preflight<B>(&self, request: &Request<B>) -> Option<Response<Full<Bytes>>> {
        let headers = request.headers();
        let method = headers.get(ACCESS_CONTROL_REQUEST_METHOD);
        let method = method.filter(|method| !method.is_empty())?;
        if request.method() != Method::OPTIONS {
            return None;
        }
        let mut answer = Response::new(Full::default());
        let said = answer.headers_mut();
        vary(said, "Origin");
        vary(said, "Access-Control-Request-Method");
        vary(said, "Access-Control-Request-Headers");
        let (Some(origin), Some(method)) = (self.allowed(headers), allowed_method(method)) else {
            return Some(answer);
        };
        said.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        said.insert(ACCESS_CONTROL_ALLOW_METHODS, method);
        let asked = headers.get(ACCESS_CONTROL_REQUEST_HEADERS);
        let asked = header_names(asked.map_or(&[], HeaderValue::as_bytes)).join(", ");
        if !asked.is_empty()
            && let Ok(asked) = HeaderValue::from_str(&asked)
        {
            said.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked);
        }
        Some(answer)
    }

    /// Whether a request comes from a page that may call.
    pub(crate) fn have<B>(&self, request: &Request<B>) -> bool {
        self.allowed(request.headers()).is_some()
    }

    /// What any other request's answer says of it.
    pub(crate) fn headers<B>(&self, request: &Request<B>) -> Said {
        let allowed = self.allowed(request.headers());
        Said(allowed.filter(|_| is_allowed(request.method().as_str())))
    }

    /// The origin of a request as it is allowed.
    fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(ORIGIN).filter(|origin| !origin.is_empty())?;
        if self.has_all() {
            return Some(HeaderValue::from_static("*"));
        }
        let lower = origin.to_str().ok()?.to_lowercase();
        let is_match = |pattern: &Pattern| match &pattern.end {
            None => lower == pattern.begin,
            Some(end) => lower
                .strip_prefix(&pattern.begin)
                .is_some_and(|rest| rest.ends_with(end)),
        };
        self.0.iter().any(is_match).then(|| origin.clone())
    }
}

/// What an answer says of the page that may read it.
pub(crate) struct Said(Option<HeaderValue>);

impl Said {
    /// Says it.
    pub(crate) fn on<B>(self, mut answer: Response<B>) -> Response<B> {
        let headers = answer.headers_mut();
        vary(headers, "Origin");
        if let Some(origin) = self.0 {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        }
        answer
    }
}

fn vary(headers: &mut HeaderMap, on: &'static str) {
    headers.append::<HeaderName>(VARY, HeaderValue::from_static(on));
}

fn is_allowed(method: &str) -> bool {
    METHODS.contains(&method) || method == "OPTIONS"
}

fn allowed_method(method: &HeaderValue) -> Option<HeaderValue> {
    let method = method.to_str().ok()?.to_uppercase();
    let method = Some(method).filter(|method| is_allowed(method))?;
    HeaderValue::from_str(&method).ok()
}

/// Names of a list, as Go writes headers. What no name can have is left out.
fn header_names(list: &[u8]) -> Vec<String> {
    let names = list.split(|byte| matches!(byte, b' ' | b','));
    let names = names.map(|name| {
        let mut is_first = true;
        let mut written = String::with_capacity(name.len());
        for &byte in name {
            if byte.is_ascii_alphabetic() {
                let byte = if is_first {
                    byte.to_ascii_uppercase()
                } else {
                    byte.to_ascii_lowercase()
                };
                written.push(char::from(byte));
            } else if byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.') {
                written.push(char::from(byte));
            }
            is_first = byte == b'-';
        }
        written
    });
    names.filter(|name| !name.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};

    use super::{Origins, header_names};

    fn said(origins: &str, origin: &str) -> Option<String> {
        let request = Request::get("/").header("Origin", origin).body(()).unwrap();
        let said = Origins::parse(origins).unwrap().headers(&request);
        let answer = said.on(Response::new(()));
        assert_eq!(answer.headers()["vary"], "Origin");
        let allowed = answer.headers().get("access-control-allow-origin");
        allowed.map(|allowed| allowed.to_str().unwrap().to_owned())
    }

    #[test]
    fn origins_are_compared_without_case_and_may_have_a_wildcard() {
        let list = "https://One.test,https://*.two.test";
        for (origin, is_allowed) in [
            ("https://one.test", true),
            ("HTTPS://ONE.TEST", true),
            ("https://one.test.evil", false),
            ("https://a.two.test", true),
            ("https://.two.test", true),
            ("https://two.test", false),
            ("http://one.test", false),
            ("null", false),
        ] {
            let expected = is_allowed.then(|| origin.to_owned());
            assert_eq!(said(list, origin), expected, "{origin}");
        }
        assert_eq!(said("x,*", "https://any").as_deref(), Some("*"));
        assert!(Origins::parse("").is_none());
        assert!(!Origins::parse(list).unwrap().has_all());
    }

    #[test]
    fn names_of_headers_are_written_as_go_does() {
        let names = header_names(b"dapr-api-token, CONTENT-type,x_y  z\xff1");
        assert_eq!(names, ["Dapr-Api-Token", "Content-Type", "X_y", "Z1"]);
    }
}
