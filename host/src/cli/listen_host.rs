//! Where to listen: an address, or a name of this machine.

use std::convert::Infallible;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use super::arguments::ServeArguments;

/// How long a name may take to be looked up.
const PATIENCE: Duration = Duration::from_secs(5);

/// An address, or a name that has some. Those of IPv6 may stand in brackets, as `daprd` takes them.
#[derive(Clone, Debug)]
pub(super) enum ListenHost {
    Address(IpAddr),
    Name(String),
}

impl FromStr for ListenHost {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let bare = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'));
        let address = bare.unwrap_or(text).parse();
        Ok(address.map_or_else(|_| Self::Name(text.to_owned()), Self::Address))
    }
}

impl ListenHost {
    /// Its addresses, those of IPv4 first, as Go prefers them; none where there is no such name.
    pub(super) async fn addresses(&self) -> Vec<IpAddr> {
        let name = match self {
            Self::Address(address) => return vec![*address],
            Self::Name(name) => name.as_str(),
        };
        let looking = tokio::time::timeout(PATIENCE, tokio::net::lookup_host((name, 0)));
        let Ok(Ok(found)) = looking.await else {
            return Vec::new();
        };
        let mut addresses: Vec<_> = found.map(|address| address.ip()).collect();
        addresses.sort_by_key(IpAddr::is_ipv6);
        addresses.dedup();
        addresses
    }

    /// As it was written.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Address(address) => address.to_string(),
            Self::Name(name) => keyref::problem::terminal_safe(name),
        }
    }
}

/// The addresses of all that a server listens on.
#[derive(Debug)]
pub(super) struct ListenAddresses {
    /// Of HTTP and gRPC.
    pub(super) api: Vec<IpAddr>,
    pub(super) public: IpAddr,
    pub(super) metrics: IpAddr,
    pub(super) components: IpAddr,
    pub(super) admin: IpAddr,
}

impl ListenAddresses {
    /// Looks up what is named. A failure says in words which name has no address; of several for
    /// HTTP and gRPC, one that has some is enough.
    pub(super) async fn of(arguments: &ServeArguments) -> Result<Self, String> {
        let mut api = Vec::new();
        let mut missing = None;
        for host in &arguments.dapr_listen_addresses {
            let found = host.addresses().await;
            if found.is_empty() {
                tracing::warn!("there is no host `{}` to listen on", host.shown());
                missing = Some(host);
            }
            api.extend(found);
        }
        if let (Some(host), true) = (missing, api.is_empty()) {
            return Err(absent(host));
        }
        Ok(Self {
            api,
            public: one(&arguments.dapr_public_listen_address).await?,
            metrics: one(&arguments.metrics_listen_address).await?,
            components: one(&arguments.components_listen_address).await?,
            admin: one(&arguments.admin_listen_address).await?,
        })
    }
}

async fn one(host: &ListenHost) -> Result<IpAddr, String> {
    let first = host.addresses().await.into_iter().next();
    first.ok_or_else(|| absent(host))
}

fn absent(host: &ListenHost) -> String {
    let host = host.shown();
    format!("could not listen on any endpoint: `{host}`: no such host")
}

#[cfg(test)]
mod tests {
    use super::ListenHost;

    async fn addresses(text: &str) -> Vec<String> {
        let host: ListenHost = text.parse().unwrap();
        let addresses = host.addresses().await;
        addresses.iter().map(ToString::to_string).collect()
    }

    #[tokio::test]
    async fn addresses_and_names_are_taken() {
        assert_eq!(addresses("127.0.0.2").await, ["127.0.0.2"]);
        assert_eq!(addresses("[::1]").await, ["::1"]);
        assert_eq!(addresses("::").await, ["::"]);
        assert_eq!(addresses("localhost").await[0], "127.0.0.1");
        for no_host in ["", "256.0.0.1", "no such host.invalid", "[localhost]"] {
            assert!(addresses(no_host).await.is_empty(), "{no_host}");
        }
    }
}
