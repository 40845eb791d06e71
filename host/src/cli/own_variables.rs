//! The variables that Dapr's server sets in its own environment, where a store of variables finds
//! them. Here they are told to whoever reads the environment, which itself stays as it is.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use keyref::env::Environment;
use keyref::secret::SecretValue;

use super::arguments::{Global, ServeArguments};

/// The address of this machine towards others, where something else decides about it.
const HOST_IP: &str = "DAPR_HOST_IP";

/// `APP_ID`, `APP_PORT` and `HOST_ADDRESS`, each where it is known.
pub(super) fn of(global: &Global, arguments: &ServeArguments) -> Vec<(String, SecretValue)> {
    let port = arguments.app_port.unwrap_or_default().to_string();
    let variables = [
        ("APP_ID", global.app_id.clone().filter(|id| !id.is_empty())),
        ("APP_PORT", Some(port)),
        ("HOST_ADDRESS", host_address(&Environment::process())),
    ];
    let known = variables
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.as_str().into())));
    known.collect()
}

/// The address that the system would send from, as Dapr asks for it: nothing is sent.
fn host_address(environment: &Environment) -> Option<String> {
    let given = environment.text(HOST_IP).filter(|given| !given.is_empty());
    given.or_else(|| {
        // Addresses of documentation, which nobody has.
        let others = ["192.0.2.1:80", "[2001:db8::1]:80"].into_iter();
        let found = others.filter_map(source).find(|address| !is_clat(*address));
        found.map(|address| address.to_string())
    })
}

fn source(towards: &str) -> Option<IpAddr> {
    let towards: SocketAddr = towards.parse().ok()?;
    let any = if towards.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(towards).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// Whether an address is one of those that translate between versions (192.0.0.0/29).
fn is_clat(address: IpAddr) -> bool {
    let IpAddr::V4(address) = address else {
        return false;
    };
    address.to_bits() >> 3 == Ipv4Addr::new(192, 0, 0, 0).to_bits() >> 3
}

#[cfg(test)]
mod tests {
    use keyref::env::Environment;

    use super::{host_address, is_clat};

    #[test]
    fn the_host_s_address_is_the_one_that_is_given() {
        let given = Environment::of([("DAPR_HOST_IP", "192.0.2.2")]);
        assert_eq!(host_address(&given).unwrap(), "192.0.2.2");
        // Where there is no way out, there is none.
        if let Some(found) = host_address(&Environment::none()) {
            assert!(found.parse::<std::net::IpAddr>().is_ok(), "{found}");
        }
    }

    #[test]
    fn addresses_that_translate_are_none() {
        assert!(is_clat("192.0.0.7".parse().unwrap()));
        assert!(!is_clat("192.0.0.8".parse().unwrap()));
        assert!(!is_clat("::1".parse().unwrap()));
    }
}
