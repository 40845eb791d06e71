//! The host that a request is for, as it says itself.

use std::net::IpAddr;

use http::header::{ACCEPT_LANGUAGE, HOST, ORIGIN, REFERER, USER_AGENT};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, Request};

/// What a caller is told who asks for another host.
pub(crate) const WRONG_HOST: &str =
    "the host must be an address or localhost, unless a token is asked for";

/// What browsers say where they trust the address.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whether a request may come from a page in a browser here, and not from an app: it has a header that
/// browsers add. To a name with plain HTTP they add none of those that tell where a page is from, unless
/// it sends something or lets them; their language they add in any case.
pub(crate) fn is_of_page(headers: &HeaderMap) -> bool {
    let begins = |agent: &http::HeaderValue| agent.as_bytes().starts_with(b"Mozilla/");
    headers
        .keys()
        .any(|name| [ACCEPT_LANGUAGE, ORIGIN, REFERER, SEC_FETCH_SITE].contains(name))
        || headers.get(USER_AGENT).is_some_and(begins)
}

/// Whether each name of the host that is asked for is one that stands for this machine, or an address.
///
/// Any other may be a name of a page in a browser here, which it has pointed to this machine (DNS
/// rebinding): where nothing else is asked for, its scripts could read all.
pub(crate) fn is_local<B>(request: &Request<B>) -> bool {
    let of_uri = request.uri().host().map(is_address);
    let headers = request.headers().get_all(HOST).iter();
    let mut all = of_uri.into_iter().chain(headers.map(|host| {
        let host = host.to_str().ok();
        let authority = host.and_then(|host| host.parse::<Authority>().ok());
        authority.is_some_and(|authority| is_plain(&authority) && is_address(authority.host()))
    }));
    all.next()
        .is_some_and(|first| first && all.all(|next| next))
}

/// Whether nothing but a port follows the host, and nothing precedes it.
fn is_plain(authority: &Authority) -> bool {
    let rest = authority.as_str().strip_prefix(authority.host());
    rest.is_some_and(|rest| rest.is_empty() || authority.port_u16().is_some())
}

fn is_address(host: &str) -> bool {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    host.eq_ignore_ascii_case("localhost") || bare.unwrap_or(host).parse::<IpAddr>().is_ok()
}
