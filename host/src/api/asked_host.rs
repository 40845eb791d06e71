//! The host that a request is for, as it says itself.

use std::net::IpAddr;

use http::Request;
use http::header::HOST;
use http::uri::Authority;

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
