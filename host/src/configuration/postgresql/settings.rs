//! What the properties of `configuration.postgresql` say, as Dapr reads them.

use std::fmt::Write as _;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::Host;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::connection_string::{self, Parameters};
use super::tls;
use crate::configuration::property::{self, Time};
use crate::error::Class;
use crate::problem::printable;
use crate::stores::{StoreConfig, StoreError};

const CONNECTION_STRING: &str = "connectionString";
/// Dapr's own default.
const TIMEOUT: Duration = Duration::from_secs(20);
/// The longest name of a table or channel, as Dapr has it.
const LONGEST_NAME: usize = 64;
/// When a silent connection is looked after, and how often then.
const KEEPALIVE: &str = "15";

/// Properties that say the same as a part of the connection string, and win.
const PARTS: &[(&str, &str)] = &[
    ("user", "user"),
    ("host", "host"),
    ("hostaddr", "hostaddr"),
    ("port", "port"),
    ("database", "dbname"),
    ("password", "password"),
    ("sslRootCert", "sslrootcert"),
];
/// Parts of a connection string that go to the library as they are.
const KNOWN: &[&str] = &[
    "application_name",
    "channel_binding",
    "connect_timeout",
    "dbname",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "load_balance_hosts",
    "options",
    "password",
    "port",
    "sslnegotiation",
    "target_session_attrs",
    "tcp_user_timeout",
    "user",
];
/// Those that are about pools and prepared statements, which this store has not.
const IDLE: &[&str] = &[
    "default_query_exec_mode",
    "description_cache_capacity",
    "pool_health_check_period",
    "pool_max_conn_idle_time",
    "pool_max_conn_lifetime",
    "pool_max_conn_lifetime_jitter",
    "pool_max_conns",
    "pool_min_conns",
    "pool_min_idle_conns",
    "statement_cache_capacity",
];
const QUERY_MODES: &[&str] = &[
    "cache_describe",
    "cache_statement",
    "describe_exec",
    "exec",
    "simple_protocol",
];

/// A database, and how to talk to it.
pub(super) struct Settings {
    pub(super) config: Config,
    pub(super) tls: MakeRustlsConnect,
    /// How long anything may take.
    pub(super) timeout: Duration,
    pub(super) table: String,
    /// The channel that tells of changes, where it does not stand in each request.
    pub(super) channel: Option<String>,
}

impl Settings {
    pub(super) fn read(config: &StoreConfig) -> Result<Self, StoreError> {
        for name in ["useAzureAD", "useAWSIAM"] {
            if property::flag(config, name)? {
                let message = format!("`{name}` is not supported");
                return Err(StoreError::misconfigured(message)
                    .of_property(name)
                    .with_hint("log in with a password or a certificate"));
            }
        }
        let mode = property::text(config, "queryExecMode")?;
        if mode.is_some_and(|mode| !QUERY_MODES.contains(&mode)) {
            return Err(property::unreadable(
                "queryExecMode",
                "a mode that Dapr knows",
            ));
        }
        property::number::<i64>(config, "maxConns")?;
        for name in ["connectionMaxIdleTime", "connMaxIdleTime"] {
            property::time(config, name, Duration::from_secs(1))?;
        }
        let table = property::required(config, "table", "set it to the table of the items")?;
        if !is_name(table) {
            return Err(property::unreadable("table", NAME));
        }
        let channel = match property::text(config, "notifyChannel")? {
            None => property::text(config, "pgNotifyChannel")?,
            channel => channel,
        };
        if channel.is_some_and(|channel| !is_name(channel)) {
            return Err(property::unreadable("notifyChannel", NAME));
        }
        let timeout = match property::time(config, "timeout", Duration::from_secs(1))? {
            None => property::time(config, "timeoutInSeconds", Duration::from_secs(1))?,
            timeout => timeout,
        };
        let timeout = match timeout {
            None => TIMEOUT,
            Some(Time::Of(time)) if time >= Duration::from_secs(1) => time,
            Some(_) => return Err(property::unreadable("timeout", "a second or more")),
        };
        let mut parameters = parameters(config)?;
        let (mode, tls) = tls::read(config, &mut parameters)?;
        let mut database = database(config, &parameters)?;
        database.ssl_mode(mode);
        Ok(Self {
            config: database,
            tls,
            timeout,
            table: table.to_owned(),
            channel: channel.map(str::to_owned),
        })
    }
}

/// What a name must be.
pub(super) const NAME: &str = "a name of lower-case letters, digits, `.`, `/` and `_`";

/// Whether a table or a channel may be called so, by Dapr's rule.
pub(super) fn is_name(name: &str) -> bool {
    let is_known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"./_".contains(&b);
    !name.is_empty() && name.len() <= LONGEST_NAME && name.bytes().all(is_known)
}

/// The connection string, with the properties that say more.
fn parameters(config: &StoreConfig) -> Result<Parameters, StoreError> {
    let string = match property::text(config, CONNECTION_STRING)? {
        None => property::text(config, "url")?,
        string => string,
    };
    let parameters = connection_string::parse(string.unwrap_or_default());
    let mut parameters = parameters.ok_or_else(|| wrong("is not in its format"))?;
    for (name, part) in PARTS {
        if let Some(text) = property::text(config, name)? {
            parameters.insert((*part).to_owned(), text.to_owned());
        }
    }
    if !parameters.contains_key("host") && !parameters.contains_key("hostaddr") {
        let error = StoreError::misconfigured(format!("`{CONNECTION_STRING}` names no host"));
        return Err(error
            .of_property(CONNECTION_STRING)
            .with_hint("write it as `host=… user=… password=… dbname=…`, or as a URL"));
    }
    Ok(parameters)
}

/// Its name alone is told of a part: the string has a password in it.
pub(super) fn wrong(what: &str) -> StoreError {
    StoreError::misconfigured(format!("`{CONNECTION_STRING}` {what}"))
        .of_property(CONNECTION_STRING)
}

/// The library's settings. What it does not know are settings of the session, as with Dapr's.
fn database(config: &StoreConfig, parameters: &Parameters) -> Result<Config, StoreError> {
    let mut known = Parameters::new();
    let mut options = String::new();
    for (name, value) in parameters {
        if KNOWN.contains(&name.as_str()) {
            known.insert(name.clone(), value.clone());
        } else if is_session_setting(name) {
            let value = value.replace('\\', "\\\\").replace(' ', "\\ ");
            let _ = write!(options, " -c {name}={value}");
        } else if !IDLE.contains(&name.as_str()) {
            // What looks like a name can be the rest of a password with a space.
            let is_name = OTHERS
                .iter()
                .any(|begin| name.to_ascii_lowercase().starts_with(begin));
            let shown = if is_name {
                printable(name)
            } else {
                "…".into()
            };
            return Err(wrong(&format!("has `{shown}`, which is not supported")));
        }
    }
    if !options.is_empty() {
        known
            .entry("options".to_owned())
            .or_default()
            .push_str(&options);
    }
    for name in ["keepalives_idle", "keepalives_interval"] {
        known
            .entry(name.to_owned())
            .or_insert_with(|| KEEPALIVE.to_owned());
    }
    let found: Config = connection_string::text(&known).parse().map_err(|_| {
        let is_wrong = |(name, value): &(&String, &String)| {
            let alone = Parameters::from([((*name).clone(), (*value).clone())]);
            connection_string::text(&alone).parse::<Config>().is_err()
        };
        match known.iter().find(is_wrong) {
            Some((name, _)) => wrong(&format!("has a `{name}` that is not in its format")),
            None => wrong("is not in its format"),
        }
    })?;
    for host in found.get_hosts() {
        let name = match host {
            Host::Tcp(name) => name.as_str(),
            #[cfg(unix)]
            Host::Unix(path) => path.to_str().unwrap_or_default(),
        };
        if config
            .grants()
            .is_some_and(|grants| !grants.allows_host(name))
        {
            let message = "documents may not reach this database's host";
            return Err(StoreError::new(Class::PolicyDenied, message)
                .of_property(CONNECTION_STRING)
                .with_hint("grant its host, or give the store itself"));
        }
    }
    Ok(found)
}

/// How the names begin that are about how a connection is made.
const OTHERS: &[&str] = &[
    "channel", "gss", "krb", "pass", "pool_", "require", "service", "ssl", "target",
];

/// Whether a name can be one of the session's settings. A slip in what is about safety is none.
fn is_session_setting(name: &str) -> bool {
    let is_known = |b: u8| b.is_ascii_alphabetic() || b == b'_' || b == b'.';
    // The server takes its settings in any case.
    let name = name.to_ascii_lowercase();
    let is_other = OTHERS.iter().any(|begin| name.starts_with(begin));
    name.bytes().all(is_known) && !is_other && !IDLE.contains(&name.as_str())
}

#[cfg(test)]
mod tests {
    use tokio_postgres::config::SslMode;

    use super::Settings;
    use crate::stores::StoreConfig;

    fn read(properties: &[(&str, &str)]) -> Result<Settings, String> {
        let config = StoreConfig::new("c", "configuration.postgresql").with_property("table", "t");
        let config = properties.iter().fold(config, |config, (name, value)| {
            config.with_property(name, *value)
        });
        Settings::read(&config).map_err(|error| error.message)
    }

    #[test]
    fn properties_win_over_the_connection_string() {
        let string = "host=a user=u password=p database=d port=1 search_path=x,y pool_max_conns=3";
        let settings = read(&[
            ("url", string),
            ("host", "b"),
            ("PORT", "2"),
            ("database", "e"),
        ]);
        let config = settings.unwrap().config;
        assert_eq!(
            config.get_hosts(),
            [tokio_postgres::config::Host::Tcp("b".to_owned())]
        );
        assert_eq!(config.get_ports(), [2]);
        assert_eq!(config.get_dbname(), Some("e"));
        assert_eq!(config.get_options(), Some(" -c search_path=x,y"));
        assert_eq!(config.get_password(), Some(&b"p"[..]));
    }

    #[test]
    fn tls_is_by_mode() {
        for (mode, expected) in [
            ("", SslMode::Prefer),
            ("sslmode=disable", SslMode::Disable),
            ("sslmode=allow", SslMode::Prefer),
            ("sslmode=require", SslMode::Require),
            ("sslmode=verify-full", SslMode::Require),
        ] {
            let settings = read(&[("connectionString", &format!("host=h {mode}"))]);
            assert_eq!(settings.unwrap().config.get_ssl_mode(), expected, "{mode}");
        }
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn wrong_settings_are_named_without_what_they_say() {
        const STRING: &str = "connectionString";
        for (name, value, message) in [
            ("table", "", "`table` is missing"),
            (
                "table",
                "Bad",
                "`table` is not a name of lower-case letters, digits, `.`, `/` and `_`",
            ),
            (
                "table",
                "a;b",
                "`table` is not a name of lower-case letters, digits, `.`, `/` and `_`",
            ),
            (
                "table",
                &"a".repeat(65),
                "`table` is not a name of lower-case letters, digits, `.`, `/` and `_`",
            ),
            (
                "notifyChannel",
                "a b",
                "`notifyChannel` is not a name of lower-case letters, digits, `.`, `/` and `_`",
            ),
            ("timeout", "0", "`timeout` is not a second or more"),
            ("timeout", "s3cr3t", "`timeout` is not a time such as `5s`"),
            (
                "queryExecMode",
                "s3cr3t",
                "`queryExecMode` is not a mode that Dapr knows",
            ),
            ("useAzureAD", "true", "`useAzureAD` is not supported"),
            ("useAWSIAM", "true", "`useAWSIAM` is not supported"),
            (
                STRING,
                "user=u password=s3cr3t",
                "`connectionString` names no host",
            ),
            (
                STRING,
                "host=h password='s3cr3t",
                "`connectionString` is not in its format",
            ),
            (
                STRING,
                "host=h port=s3cr3t",
                "`connectionString` has a `port` that is not in its format",
            ),
            (
                STRING,
                "host=h sslmod=s3cr3t",
                "`connectionString` has `sslmod`, which is not supported",
            ),
            (
                STRING,
                "host=h passfile=s3cr3t",
                "`connectionString` has `passfile`, which is not supported",
            ),
            (
                STRING,
                "host=h sslmode=s3cr3t",
                "`connectionString` has an `sslmode` that is not known",
            ),
            (
                STRING,
                "host=h sslcert=s3cr3t",
                "`connectionString` has only one of `sslcert` and `sslkey`",
            ),
            (
                STRING,
                "host=h sslrootcert=/s3cr3t",
                "`connectionString` has an `sslrootcert` that cannot be read: entity not found",
            ),
        ] {
            let read = read(&[(STRING, "host=h"), (name, value)]);
            assert_eq!(read.err().as_deref(), Some(message), "{name}={value}");
        }
    }
}
