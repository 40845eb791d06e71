//! What the properties of `configuration.redis` say, as Dapr reads them.

use std::sync::Arc;
use std::time::Duration;

use redis::{ProtocolVersion, RedisConnectionInfo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::TlsConnector;

use crate::client_tls::{self, Authorities, Check, Identity, Unfit};
use crate::configuration::property::{self, Time};
use crate::error::Class;
use crate::problem::printable;
use crate::stores::{StoreConfig, StoreError};

const DEFAULT_PORT: u16 = 6379;
/// Dapr's own defaults, and those of its client.
const DIAL: Duration = Duration::from_secs(5);
const READ: Duration = Duration::from_secs(3);
const RETRIES: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(8);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
const MILLISECOND: Duration = Duration::from_millis(1);

/// A server, and how to talk to it.
pub(super) struct Settings {
    pub(super) host: String,
    pub(super) port: u16,
    /// User, password and database.
    pub(super) login: RedisConnectionInfo,
    pub(super) database: i64,
    pub(super) tls: Option<Tls>,
    /// How long a connection may take to be made.
    pub(super) dial: Duration,
    /// How long an answer may take.
    pub(super) read: Duration,
    /// How often a read is tried again where the connection fails.
    pub(super) retries: u32,
    pub(super) first_pause: Duration,
    pub(super) longest_pause: Duration,
}

/// TLS, and the name that the server's certificate must be for.
#[derive(Clone)]
pub(super) struct Tls {
    pub(super) connector: TlsConnector,
    pub(super) name: ServerName<'static>,
}

impl Settings {
    pub(super) fn read(config: &StoreConfig) -> Result<Self, StoreError> {
        refuse_others(config)?;
        let (host, port) = address(config)?;
        if let Some(grants) = config.grants()
            && !grants.allows_host(&host)
        {
            let message = "documents may not reach this `redisHost`";
            return Err(StoreError::new(Class::PolicyDenied, message)
                .of_property("redisHost")
                .with_hint("grant its host, or give the store itself"));
        }
        let database = property::number::<i64>(config, "redisDB")?.unwrap_or(0);
        if database < 0 {
            return Err(property::unreadable("redisDB", "a database's number"));
        }
        let mut login = RedisConnectionInfo::default()
            .set_protocol(ProtocolVersion::RESP2)
            .set_lib_name("keyref", env!("CARGO_PKG_VERSION"))
            .set_db(database);
        if let Some(user) = property::text(config, "redisUsername")? {
            login = login.set_username(user);
        }
        // Revealed for the server, which it is for.
        if let Some(password) = property::text(config, "redisPassword")? {
            login = login.set_password(password);
        }
        let longest = |time| match time {
            Some(Time::Of(time)) if !time.is_zero() => Some(time),
            Some(Time::Off) => Some(Duration::from_hours(24)),
            _ => None,
        };
        let time = |name| property::time(config, name, MILLISECOND);
        // One time is for a request and its answer here.
        let write = longest(time("writeTimeout")?);
        let read = longest(time("readTimeout")?);
        let retries = match property::number::<i64>(config, "redisMaxRetries")? {
            None | Some(0) => RETRIES,
            Some(retries) => u32::try_from(retries.max(0)).unwrap_or(u32::MAX),
        };
        let pause = |time, default| match time {
            None => default,
            Some(Time::Off) => Duration::ZERO,
            Some(Time::Of(time)) => time,
        };
        Ok(Self {
            tls: tls(config, &host)?,
            host,
            port,
            login,
            database,
            dial: longest(time("dialTimeout")?).unwrap_or(DIAL),
            read: read.or(write).unwrap_or(READ),
            retries,
            first_pause: pause(time("redisMinRetryInterval")?, FIRST_PAUSE),
            longest_pause: pause(time("redisMaxRetryInterval")?, LONGEST_PAUSE),
        })
    }
}

/// Refuses servers of other kinds: several of them, and logins that Azure gives.
fn refuse_others(config: &StoreConfig) -> Result<(), StoreError> {
    let refused = |name, message: &str| {
        let hint = "name a single server in `redisHost`";
        let error = StoreError::misconfigured(message).of_property(name);
        Err(error.with_hint(hint))
    };
    match property::text(config, "redisType")? {
        None | Some("node") => {}
        Some("cluster") => {
            return refused("redisType", "`redisType` `cluster` is not supported");
        }
        Some(_) => return Err(property::unreadable("redisType", "`node`")),
    }
    if property::flag(config, "failover")? {
        return refused(
            "failover",
            "`failover`, a way through sentinels, is not supported",
        );
    }
    for name in ["useEntraID", "useAzureAD"] {
        if property::flag(config, name)? {
            return refused(name, &format!("`{name}` is not supported"));
        }
    }
    Ok(())
}

fn address(config: &StoreConfig) -> Result<(String, u16), StoreError> {
    let hint = "set it to `HOST:PORT`";
    let text = property::required(config, "redisHost", hint)?;
    let given = property::number::<u16>(config, "redisPort")?.filter(|port| *port != 0);
    let unreadable = || property::unreadable("redisHost", "`HOST` or `HOST:PORT`");
    let (host, port) = match text.rsplit_once(':') {
        // Without brackets, an address of IPv6 has no port.
        Some((host, _)) if host.contains(':') && !host.ends_with(']') => (text, None),
        Some((_, rest)) if rest.ends_with(']') => (text, None),
        Some((host, port)) => (host, Some(port.parse::<u16>().map_err(|_| unreadable())?)),
        None => (text, None),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, ',' | '/' | '@');
    if host.is_empty() || host.contains(is_odd) {
        return Err(unreadable());
    }
    match (port, given) {
        (Some(port), Some(given)) if port != given => Err(StoreError::misconfigured(
            "`redisHost` has a port, and `redisPort` is another one",
        )
        .of_property("redisPort")
        .with_hint("remove one of the two")),
        (port, given) => Ok((host.to_owned(), port.or(given).unwrap_or(DEFAULT_PORT))),
    }
}

fn tls(config: &StoreConfig, host: &str) -> Result<Option<Tls>, StoreError> {
    let chain = property::text(config, "clientCert")?;
    let key = property::text(config, "clientKey")?;
    let insecure = property::flag(config, "insecureSkipTLSVerify")?;
    if !property::flag(config, "enableTLS")? {
        let idle = [
            ("clientCert", chain.is_some()),
            ("clientKey", key.is_some()),
        ];
        return match idle.iter().find(|(_, is_set)| *is_set) {
            None => Ok(None),
            Some((name, _)) => {
                let message = format!("`{name}` is set, and `enableTLS` is not");
                Err(StoreError::misconfigured(message).of_property(name))
            }
        };
    }
    let identity = match (chain, key) {
        (Some(chain), Some(key)) => Some(identity(chain, key)?),
        (None, None) => None,
        _ => {
            let message = "of `clientCert` and `clientKey` only one is set";
            return Err(StoreError::misconfigured(message).of_property("clientCert"));
        }
    };
    let check = if insecure {
        let name = printable(&config.name);
        tracing::warn!(
            "configuration store {name}: `insecureSkipTLSVerify` turns the check of Redis's certificate off"
        );
        Check::Nothing
    } else {
        Check::Name(Authorities::System)
    };
    let tls = client_tls::config(check, identity).map_err(|unfit| match unfit {
        Unfit::Key => property::unreadable("clientKey", "a key of a kind that can be used"),
        Unfit::Version | Unfit::Authorities | Unfit::System => {
            StoreError::misconfigured("the operating system has no certificate authorities")
                .of_property("enableTLS")
                .with_hint("install them, or set SSL_CERT_FILE to a file of them")
        }
    })?;
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| property::unreadable("redisHost", "a name that a certificate can be for"))?;
    Ok(Some(Tls {
        connector: TlsConnector::from(Arc::new(tls)),
        name,
    }))
}

fn identity(chain: &str, key: &str) -> Result<Identity, StoreError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty());
    let chain = chain.ok_or_else(|| property::unreadable("clientCert", "certificates in PEM"))?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes());
    let key = key
        .map_err(|_| property::unreadable("clientKey", "a private key in PEM without password"))?;
    Ok(Identity { chain, key })
}

#[cfg(test)]
mod tests {
    use super::Settings;
    use crate::stores::StoreConfig;

    fn read(properties: &[(&str, &str)]) -> Result<Settings, String> {
        let config = StoreConfig::new("c", "configuration.redis");
        let config = properties.iter().fold(config, |config, (name, value)| {
            config.with_property(name, *value)
        });
        Settings::read(&config).map_err(|error| error.message)
    }

    #[test]
    fn addresses_are_those_of_dapr() {
        for (host, port, expected) in [
            ("redis", "", ("redis", 6379)),
            ("redis:1", "", ("redis", 1)),
            ("redis:1", "1", ("redis", 1)),
            ("redis", "2", ("redis", 2)),
            ("::1", "", ("::1", 6379)),
            ("[::1]:7", "", ("::1", 7)),
            ("[::1]", "8", ("::1", 8)),
        ] {
            let settings = read(&[("redisHost", host), ("redisPort", port)]).unwrap();
            assert_eq!((settings.host.as_str(), settings.port), expected, "{host}");
        }
    }

    #[test]
    fn wrong_settings_are_named_without_what_they_say() {
        for (name, value, message) in [
            ("redisHost", "", "`redisHost` is missing"),
            (
                "redisHost",
                "a:b",
                "`redisHost` is not `HOST` or `HOST:PORT`",
            ),
            (
                "redisHost",
                "a:1,b:2",
                "`redisHost` is not `HOST` or `HOST:PORT`",
            ),
            ("redisPort", "s3cr3t", "`redisPort` is not a number"),
            (
                "redisPort",
                "2",
                "`redisHost` has a port, and `redisPort` is another one",
            ),
            ("redisDB", "s3cr3t", "`redisDB` is not a number"),
            ("redisDB", "-1", "`redisDB` is not a database's number"),
            (
                "redisType",
                "cluster",
                "`redisType` `cluster` is not supported",
            ),
            ("redisType", "s3cr3t", "`redisType` is not `node`"),
            (
                "failover",
                "true",
                "`failover`, a way through sentinels, is not supported",
            ),
            ("useEntraID", "true", "`useEntraID` is not supported"),
            ("enableTLS", "ture", "`enableTLS` is not `true` or `false`"),
            (
                "clientKey",
                "s3cr3t",
                "`clientKey` is set, and `enableTLS` is not",
            ),
            (
                "readTimeout",
                "s3cr3t",
                "`readTimeout` is not a time such as `5s`",
            ),
            (
                "redisMaxRetries",
                "many",
                "`redisMaxRetries` is not a number",
            ),
        ] {
            let read = read(&[("redisHost", "localhost:1"), (name, value)]);
            assert_eq!(read.err().as_deref(), Some(message), "{name}={value}");
        }
        let tls = [("redisHost", "localhost"), ("enableTLS", "true")];
        let only_one = [&tls[..], &[("clientCert", "s3cr3t")]].concat();
        let message = read(&only_one).err().unwrap();
        assert_eq!(message, "of `clientCert` and `clientKey` only one is set");
        let not_pem = [&only_one[..], &[("clientKey", "s3cr3t")]].concat();
        let message = read(&not_pem).err().unwrap();
        assert_eq!(message, "`clientCert` is not certificates in PEM");
    }
}
