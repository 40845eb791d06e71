//! The server's log, a line for each event, as `daprd` writes it: pipelines read these fields.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::io;

use jiff::Timestamp;
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, layer};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::arguments::{LogLevel, ServeArguments};

/// Logs keyref's own events alone to standard error: what libraries log of a connection can hold a
/// token or a body.
pub(super) fn start(arguments: &ServeArguments, app_id: Option<&str>) {
    let level = match arguments.log_level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    };
    let lines = Lines {
        is_json: arguments.log_as_json,
        app_id: app_id.unwrap_or_default().to_owned(),
        instance: gethostname::gethostname().to_string_lossy().into_owned(),
    };
    let layer = layer().with_writer(io::stderr).event_format(lines);
    tracing_subscriber::registry()
        .with(layer)
        .with(Targets::new().with_target("keyref", level))
        .init();
}

/// Writes events as lines.
struct Lines {
    is_json: bool,
    app_id: String,
    instance: String,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut fields = fields.0;
        let message = fields.remove("message").unwrap_or_default();
        let is_fatal = fields.remove("fatal").is_some();
        let target = event.metadata().target().replace("::", ".");
        fields.entry("scope").or_insert(target.into());
        fields.insert("app_id", self.app_id.as_str().into());
        fields.insert("instance", self.instance.as_str().into());
        fields.insert("type", "log".into());
        fields.insert("ver", env!("CARGO_PKG_VERSION").into());
        let level = level(*event.metadata().level(), is_fatal);
        let head = [
            ("time", Timestamp::now().to_string().into()),
            ("level", level.into()),
            ("msg", message),
        ];
        let line = head.into_iter().chain(fields);
        let text = if self.is_json {
            json(line)
        } else {
            plain(line)
        };
        writeln!(writer, "{text}")
    }
}

/// An event's fields as text.
#[derive(Default)]
struct Fields(BTreeMap<&'static str, Value>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name(), value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}").into());
    }
}

/// Dapr's name of a level.
fn level(level: Level, is_fatal: bool) -> &'static str {
    match level {
        Level::ERROR if is_fatal => "fatal",
        Level::ERROR => "error",
        Level::WARN => "warning",
        Level::INFO => "info",
        _ => "debug",
    }
}

/// `name=value`, in quotes where the value needs them.
fn plain(fields: impl Iterator<Item = (&'static str, Value)>) -> String {
    let mut line = String::new();
    for (name, value) in fields {
        let value = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        let separator = if line.is_empty() { "" } else { " " };
        let is_bare =
            |character: char| character.is_ascii_alphanumeric() || "-._/@^+".contains(character);
        let _ = if value.chars().all(is_bare) {
            write!(line, "{separator}{name}={value}")
        } else {
            write!(line, "{separator}{name}={value:?}")
        };
    }
    line
}

fn json(fields: impl Iterator<Item = (&'static str, Value)>) -> String {
    let fields = fields.map(|(name, value)| (name.to_owned(), value));
    Value::Object(fields.collect()).to_string()
}

#[cfg(test)]
mod tests {
    use super::{json, plain};

    #[test]
    fn lines_are_written_as_daprd_does() {
        let fields = || {
            let texts = [("level", "info"), ("msg", "a \"b\"\n"), ("app_id", "")];
            let texts = texts.map(|(name, text)| (name, text.into()));
            texts.into_iter().chain([("code", 200.into())])
        };
        assert_eq!(
            plain(fields()),
            r#"level=info msg="a \"b\"\n" app_id= code=200"#
        );
        assert_eq!(
            json(fields()),
            r#"{"app_id":"","code":200,"level":"info","msg":"a \"b\"\n"}"#
        );
    }
}
