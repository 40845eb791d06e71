//! Who may see the page.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Request};
use zeroize::Zeroizing;

use crate::api::access::Access;
use crate::api::asked_host::is_local;

/// Why somebody may not see the page.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Refusal {
    /// It was asked for under a name that anybody can point here.
    Host,
    /// Without the token.
    Token,
}

/// Decides about a request.
///
/// Without a token, whoever reaches the address may see the page, and so might every page in a browser
/// there ([`is_local`]). With a token a name is no help: a browser sends a password only where it was
/// given.
pub(super) fn decide<B>(access: &Access, request: &Request<B>) -> Result<(), Refusal> {
    if access.token.is_none() {
        return if is_local(request) {
            Ok(())
        } else {
            Err(Refusal::Host)
        };
    }
    let sent = sent(request.headers());
    let sent = sent.as_ref().map(|sent| sent.as_slice());
    if access.admits(sent) {
        Ok(())
    } else {
        Err(Refusal::Token)
    }
}

/// The token that a caller sent: as a password beside any name, as browsers do, or by itself.
fn sent(headers: &HeaderMap) -> Option<Zeroizing<Vec<u8>>> {
    let header = headers.get(AUTHORIZATION)?.as_bytes();
    let blank = header.iter().position(|byte| *byte == b' ')?;
    let (scheme, rest) = header.split_at_checked(blank)?;
    let rest = rest.trim_ascii();
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return Some(Zeroizing::new(rest.to_vec()));
    }
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return None;
    }
    let pair = Zeroizing::new(STANDARD.decode(rest).ok()?);
    let colon = pair.iter().position(|byte| *byte == b':')?;
    let password = pair.get(colon + 1..)?;
    Some(Zeroizing::new(password.to_vec()))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::{Refusal, decide};
    use crate::api::access::Access;

    fn asked(access: &Access, uri: &str, headers: &[(&str, &str)]) -> Result<(), Refusal> {
        let mut request = Request::get(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        decide(access, &request.body(()).unwrap())
    }

    #[test]
    fn without_a_token_names_that_anybody_can_point_here_are_refused() {
        let open = Access::default();
        let by = |host| asked(&open, "/", &[("host", host)]);
        for host in [
            "localhost",
            "LOCALHOST:80",
            "127.0.0.1:8080",
            "[::1]:8080",
            "10.1.2.3",
        ] {
            assert_eq!(by(host), Ok(()), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.nip.io:80",
            "a@127.0.0.1.x",
            "a@127.0.0.1",
            "127.0.0.1:",
            "127.0.0.1:x",
            "127.0.0.1:99999",
            "local host",
            "",
        ] {
            assert_eq!(by(host), Err(Refusal::Host), "{host}");
        }
        assert_eq!(asked(&open, "/", &[]), Err(Refusal::Host));
        assert_eq!(asked(&open, "http://localhost/", &[]), Ok(()));
        let two = [("host", "localhost"), ("host", "evil.example")];
        assert_eq!(asked(&open, "/", &two), Err(Refusal::Host));
        let local = [("host", "localhost")];
        let uri = "http://evil.example/";
        assert_eq!(asked(&open, uri, &local), Err(Refusal::Host));
    }

    #[test]
    fn a_token_is_a_password_or_stands_by_itself() {
        let access = Access {
            token: Some("t0:ken".into()),
        };
        let by = |header| asked(&access, "/", &[("host", "any"), ("authorization", header)]);
        // `anybody:t0:ken`
        for right in ["Bearer t0:ken", "basic YW55Ym9keTp0MDprZW4="] {
            assert_eq!(by(right), Ok(()), "{right}");
        }
        // `t0:ken`, whose password is `ken`
        for wrong in [
            "Bearer t0",
            "Bearer",
            "Basic dDA6a2Vu",
            "Basic !",
            "t0:ken",
            "",
        ] {
            assert_eq!(by(wrong), Err(Refusal::Token), "{wrong}");
        }
        let none = asked(&access, "/", &[("host", "localhost")]);
        assert_eq!(none, Err(Refusal::Token));
    }
}
