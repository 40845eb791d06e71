//! The one place that prints.

use std::io::{self, IsTerminal as _, Write as _};

use keyref::env::{self, Environment};
use serde::Serialize;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::arguments::Color;

/// Writes data to standard output. A reader that has gone away has read all that it wanted: what is
/// wrong is told all the same, and decides how the command ends.
pub(super) fn data(text: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Writes a value as JSON, with a line break at its end.
pub(super) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    let mut text = zeroize::Zeroizing::new(serde_json::to_vec_pretty(value)?);
    text.push(b'\n');
    Ok(data(&text)?)
}

/// Writes a value as YAML.
pub(super) fn yaml(value: &impl Serialize) -> anyhow::Result<()> {
    // The library's own text of an error could quote a value.
    let text = super::yaml::text(value).map_err(|_| anyhow::anyhow!("failed to write YAML"))?;
    Ok(data(text.as_bytes())?)
}

/// Writes to standard error; where that is closed there is nobody to tell.
pub(super) fn message(text: &str) {
    drop(writeln!(io::stderr().lock(), "{text}"));
}

/// Prints an error of usage with its causes.
pub(super) fn usage_error(error: &anyhow::Error) {
    message(&format!("error: {error}"));
    for cause in error.chain().skip(1) {
        message(&format!("  caused by: {cause}"));
    }
}

/// Whether messages are colored.
pub(super) fn is_colored(color: Color) -> bool {
    match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => {
            let refused = Environment::process().text(env::NO_COLOR);
            refused.is_none_or(|value| value.is_empty()) && io::stderr().is_terminal()
        }
    }
}

/// Logs keyref's own events alone: what libraries log of a connection can hold a token or a body.
pub(super) fn start_log(verbose: u8, quiet: bool) {
    let level = match (quiet, verbose) {
        (true, _) => LevelFilter::OFF,
        (_, 0) => LevelFilter::ERROR,
        (_, 1) => LevelFilter::INFO,
        (_, 2) => LevelFilter::DEBUG,
        (..) => LevelFilter::TRACE,
    };
    let targets = Targets::new().with_target("keyref", level);
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(false);
    tracing_subscriber::registry()
        .with(layer)
        .with(targets)
        .init();
}
