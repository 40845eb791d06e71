//! The server's log, a line for each event, as `daprd` writes it: pipelines read these fields.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Mutex;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use keyref::problem::terminal_safe;
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::fmt::{FmtContext, layer};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::arguments::{Global, LogLevel, ServeArguments};

/// Logs keyref's own events alone: what libraries log of a connection can hold a token or a body.
/// Goes to `--log-file`; without it to standard error, or to standard output in the place of `daprd`,
/// which logs there.
///
/// # Errors
/// Fails where the file cannot be opened.
pub(super) fn start(global: &Global, arguments: &ServeArguments) -> Result<()> {
    let level = match (global.quiet, global.verbose, arguments.log_level) {
        (true, ..) => LogLevel::Error,
        (_, 1.., _) => LogLevel::Debug,
        (.., level) => level,
    };
    let lines = Lines {
        is_json: arguments.log_as_json,
        app_id: global.app_id.clone().unwrap_or_default(),
        instance: gethostname::gethostname().to_string_lossy().into_owned(),
    };
    let writer = match &arguments.log_file {
        Some(path) => BoxMakeWriter::new(Mutex::new(append_to(path)?)),
        None if arguments.drop_in.is_some() => BoxMakeWriter::new(io::stdout),
        None => BoxMakeWriter::new(io::stderr),
    };
    let layer = layer().with_writer(writer).event_format(lines);
    let wanted = filter_fn(move |event| {
        event.target().starts_with("keyref")
            && match level {
                LogLevel::Debug => *event.level() <= Level::DEBUG,
                LogLevel::Info => *event.level() <= Level::INFO,
                LogLevel::Warn => *event.level() <= Level::WARN,
                LogLevel::Error => *event.level() <= Level::ERROR,
                LogLevel::Fatal => event.fields().field("fatal").is_some(),
            }
    });
    tracing_subscriber::registry()
        .with(layer.with_filter(wanted))
        .init();
    Ok(())
}

fn append_to(path: &Path) -> Result<File> {
    let opened = File::options().append(true).create(true).open(path);
    let path = terminal_safe(&path.to_string_lossy());
    opened.with_context(|| format!("failed to open the log file `{path}`"))
}

/// Logs what keeps the server from its start, with its causes.
pub(super) fn usage_error(error: &anyhow::Error) {
    tracing::error!(fatal = true, "{error:#}");
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
            write!(line, "{separator}{name}={}", quoted(&value))
        };
    }
    line
}

/// A text in quotes, with the escapes of Go.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            // Not printable, by Rust's tables.
            _ if character.is_control() || character.escape_debug().len() > 2 => {
                let _ = match u32::from(character) {
                    code @ ..=0x7f => write!(quoted, "\\x{code:02x}"),
                    code @ 0x80..=0xffff => write!(quoted, "\\u{code:04x}"),
                    code => write!(quoted, "\\U{code:08x}"),
                };
            }
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

fn json(fields: impl Iterator<Item = (&'static str, Value)>) -> String {
    let fields = fields.map(|(name, value)| (name.to_owned(), value));
    Value::Object(fields.collect()).to_string()
}

#[cfg(test)]
mod tests {
    use super::{json, plain, quoted};

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

    #[test]
    fn quotes_have_the_escapes_of_go() {
        assert_eq!(
            quoted("a\\'\"\n\u{0}\u{1b}é\u{200b}\u{e0001}"),
            r#""a\\'\"\n\x00\x1bé\u200b\U000e0001""#
        );
    }
}
