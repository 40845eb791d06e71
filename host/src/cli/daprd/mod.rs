//! keyref in the place of `daprd`: its flags, in its spellings, put into those of `keyref serve`.
//!
//! This is so where the program is called `daprd`, or where flags come first and no verb follows.
//! Flags are read as Dapr reads them: with one dash or two, the value after `=` or as the next
//! argument, booleans bare or after `=`. What `keyref serve` has under the same name has its meaning;
//! its own flags may stand among them.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use anyhow::{Result, bail};
use clap::{ArgAction, Command, CommandFactory as _};
use keyref::env::Environment;
use keyref::problem::terminal_safe;
use keyref::suggest;

use self::flags::{FLAGS, Kind};
use super::arguments::Cli;
use super::quantity;

mod flags;

/// What a command line asks for, in the spellings of keyref.
pub(super) struct Invocation {
    /// For the parser, the program's name first.
    pub(super) arguments: Vec<OsString>,
    /// Whether this stands in for `daprd`, and what was given that has no meaning here.
    pub(super) without_meaning: Option<Vec<String>>,
    /// What to do once it has been parsed, in place of serving.
    pub(super) question: Option<Question>,
}

/// What `daprd` is asked rather than run for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Question {
    /// `--version`
    Version,
    /// `--build-info`
    BuildInfo,
    /// `--wait`
    Wait,
}

impl Invocation {
    /// Reads a command line, the program's name first.
    ///
    /// # Errors
    /// Fails where it stands in for `daprd` and has a flag that is not known or cannot be read.
    pub(super) fn of(arguments: Vec<OsString>) -> Result<Self> {
        let as_it_is = |arguments| Self {
            arguments,
            without_meaning: None,
            question: None,
        };
        let Some((program, rest)) = arguments.split_first() else {
            return Ok(as_it_is(arguments));
        };
        let is_named = Path::new(program).file_name() == Some(OsStr::new("daprd"));
        if !is_named && !begins_with_flag(rest) {
            return Ok(as_it_is(arguments));
        }
        let mut command = Cli::command();
        command.build();
        let known = Known(command);
        if !is_named && known.names_verb(rest) {
            return Ok(as_it_is(arguments));
        }
        let given = Given::read(rest, &known)?;
        if given.wants_help {
            let help = ["keyref", "serve", "--help"];
            return Ok(as_it_is(help.map(OsString::from).into()));
        }
        let (arguments, without_meaning) = given.translate(&known);
        Ok(Self {
            arguments,
            without_meaning: Some(without_meaning),
            question: given.question(),
        })
    }
}

/// Whether the first argument is a flag, but none that is keyref's own to answer.
fn begins_with_flag(arguments: &[OsString]) -> bool {
    let first = arguments.first().and_then(|first| first.to_str());
    let is_own = matches!(first, Some("-h" | "--help" | "-V" | "--version" | "--"));
    first.is_some_and(|first| first.len() > 1 && first.starts_with('-')) && !is_own
}

/// What a flag takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Takes {
    /// Nothing.
    Nothing,
    /// A value after `=`, or nothing.
    Perhaps,
    /// A value.
    Value,
}

/// What keyref itself knows.
struct Known(Command);

impl Known {
    /// What a flag of `keyref serve` takes, where there is one of this name: a letter, or a word.
    fn serve(&self, name: &str) -> Option<Takes> {
        let mut arguments = self.0.find_subcommand("serve")?.get_arguments();
        let is_it = |argument: &&clap::Arg| {
            let mut letter = [0; 4];
            let short = argument.get_short();
            let aliases = argument.get_all_aliases().unwrap_or_default();
            argument.get_long() == Some(name)
                || aliases.contains(&name)
                || short.is_some_and(|short| short.encode_utf8(&mut letter) == name)
        };
        let argument = arguments.find(is_it)?;
        let least = argument.get_num_args().map(|range| range.min_values());
        Some(match argument.get_action() {
            ArgAction::Set | ArgAction::Append if least == Some(0) => Takes::Perhaps,
            ArgAction::Set | ArgAction::Append => Takes::Value,
            _ => Takes::Nothing,
        })
    }

    /// Whether the first argument that is no flag and no flag's value is a verb.
    fn names_verb(&self, arguments: &[OsString]) -> bool {
        let mut arguments = arguments.iter().map(|argument| argument.to_str());
        while let Some(argument) = arguments.next() {
            let Some(text) = argument.filter(|text| *text != "--") else {
                return false;
            };
            match Spelling::of(text) {
                Some(Spelling { name, value: None }) if self.needs_value(name) => {
                    arguments.next();
                }
                Some(_) => {}
                None => return self.0.find_subcommand(text).is_some() || text == "help",
            }
        }
        false
    }

    fn needs_value(&self, name: &str) -> bool {
        match flags::find(name) {
            Some(flag) => flag.kind != Kind::Switch,
            None => self.serve(name) == Some(Takes::Value),
        }
    }

    /// What was probably meant.
    fn nearest(&self, name: &str) -> Option<String> {
        let serve = self.0.find_subcommand("serve")?.get_arguments();
        let own = serve.filter_map(clap::Arg::get_long);
        let names = FLAGS.iter().map(|flag| flag.name).chain(own);
        suggest::nearest(name, names).map(str::to_owned)
    }
}

/// A flag as it is written.
struct Spelling<'s> {
    name: &'s str,
    value: Option<&'s str>,
}

impl<'s> Spelling<'s> {
    /// Nothing where this is no flag.
    fn of(text: &'s str) -> Option<Self> {
        let name = text.strip_prefix('-').filter(|name| !name.is_empty())?;
        let name = name.strip_prefix('-').unwrap_or(name);
        Some(match name.split_once('=') {
            Some((name, value)) => Self {
                name,
                value: Some(value),
            },
            None => Self { name, value: None },
        })
    }
}

/// What was given, in order.
#[derive(Default)]
struct Given {
    /// Flags of `daprd`, their values as text that can be read.
    flags: Vec<(&'static flags::Flag, String)>,
    /// Flags of `keyref serve` alone, as they are passed on.
    own: Vec<OsString>,
    /// Whether arguments belong to no flag, which Dapr does not look at.
    has_strays: bool,
    /// What stands behind `--`.
    command: Vec<OsString>,
    wants_help: bool,
}

impl Given {
    fn read(arguments: &[OsString], known: &Known) -> Result<Self> {
        let mut given = Self::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            if argument == "--" {
                given.command = rest.cloned().collect();
                break;
            }
            let Some(text) = argument.to_str() else {
                bail!(
                    "an argument is not UTF-8: `{}`",
                    terminal_safe(&argument.to_string_lossy())
                );
            };
            let Some(Spelling { name, value }) = Spelling::of(text) else {
                given.has_strays = true;
                continue;
            };
            let mut next = || match value.or_else(|| rest.next()?.to_str()) {
                Some(value) => Ok(value.to_owned()),
                None => bail!("the flag `--{}` needs a value", terminal_safe(name)),
            };
            if let Some(flag) = flags::find(name) {
                let value = match flag.kind {
                    Kind::Switch => value.unwrap_or("true").to_owned(),
                    _ => next()?,
                };
                let Some(value) = flag.kind.read(&value) else {
                    let (name, kind) = (flag.name, flag.kind.noun());
                    bail!("`--{name}` takes {kind}, not `{}`", terminal_safe(&value));
                };
                given.flags.push((flag, value));
                continue;
            }
            let dashes = if name.len() > 1 { "--" } else { "-" };
            match (name, known.serve(name)) {
                ("help" | "h", _) => given.wants_help = true,
                (_, Some(Takes::Value)) => {
                    let value = next()?;
                    given.own.push(format!("{dashes}{name}={value}").into());
                }
                (_, Some(_)) => {
                    let value = value.map(|value| format!("={value}")).unwrap_or_default();
                    given.own.push(format!("{dashes}{name}{value}").into());
                }
                (_, None) => {
                    let nearest = known.nearest(name);
                    let hint = nearest.map(|name| format!("; did you mean `--{name}`?"));
                    let hint = hint.unwrap_or_default();
                    bail!("unknown flag: --{}{hint}", terminal_safe(name));
                }
            }
        }
        Ok(given)
    }

    /// The value of a flag: the last one that was given.
    fn value(&self, name: &str) -> Option<&str> {
        self.values(name).last()
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        let of_name = self.flags.iter().filter(move |(flag, _)| flag.name == name);
        of_name.map(|(_, value)| value.as_str())
    }

    fn is_on(&self, name: &str) -> bool {
        self.value(name) == Some("true")
    }

    /// As in Dapr, a version is told before anything is waited for.
    fn question(&self) -> Option<Question> {
        let asked = [
            ("version", Question::Version),
            ("build-info", Question::BuildInfo),
            ("wait", Question::Wait),
        ];
        let mut asked = asked.into_iter().filter(|(name, _)| self.is_on(name));
        asked.next().map(|(_, question)| question)
    }

    /// The same as arguments of `keyref serve`, and the names of what has no meaning there.
    fn translate(&self, known: &Known) -> (Vec<OsString>, Vec<String>) {
        let mut arguments = vec!["keyref".to_owned(), "serve".to_owned()];
        let mut without_meaning = Vec::new();
        for flag in FLAGS {
            let name = flag.name;
            let Some(last) = self.value(name) else {
                continue;
            };
            if flags::REWRITTEN.contains(&name) {
                self.rewrite(name, last, &mut arguments);
                continue;
            }
            // Dapr's text for nothing.
            let is_absent = last.is_empty();
            match (known.serve(name), flag.kind) {
                (None, _) if flag.is_default(last) => {}
                (None, _) => without_meaning.push(format!("--{name}")),
                (Some(Takes::Nothing), _) if last == "true" => arguments.push(format!("--{name}")),
                (Some(Takes::Nothing), _) => {}
                (Some(_), Kind::List) => {
                    let values = self.values(name).flat_map(|list| list.split(','));
                    let values = values.filter(|value| !value.is_empty());
                    arguments.extend(values.map(|value| format!("--{name}={value}")));
                }
                (Some(_), _) if is_absent => {}
                (Some(_), _) => arguments.push(format!("--{name}={last}")),
            }
        }
        let environment = Environment::process();
        let is_set = |name: &&&str| environment.is_set(name);
        let variables = flags::VARIABLES.iter().filter(is_set);
        without_meaning.extend(variables.map(|name| (*name).to_owned()));
        if self.has_strays {
            without_meaning.push("what is no flag".to_owned());
        }
        let mut arguments: Vec<OsString> = arguments.into_iter().map(OsString::from).collect();
        arguments.extend(self.own.iter().cloned());
        if !self.command.is_empty() {
            arguments.push("--".into());
            arguments.extend(self.command.iter().cloned());
        }
        (arguments, without_meaning)
    }

    /// What has another name or form here.
    fn rewrite(&self, name: &str, last: &str, arguments: &mut Vec<String>) {
        match name {
            "mode" => {
                // Where it runs is Dapr's; how strict it is, ours.
                let is_place = |mode: &&str| matches!(*mode, "standalone" | "kubernetes");
                let is_there = self.values(name).filter(is_place).last() == Some("kubernetes");
                if is_there && !self.is_on("disable-builtin-k8s-secret-store") {
                    arguments.push("--kubernetes".to_owned());
                }
                let strictness = self.values(name).filter(|mode| !is_place(mode)).last();
                arguments.extend(strictness.map(|mode| format!("--mode={mode}")));
            }
            "components-path" if self.value("resources-path").is_none() && !last.is_empty() => {
                arguments.push(format!("--resources={last}"));
            }
            "app-protocol" | "app-ssl" => {
                let protocol = self.value("app-protocol").unwrap_or_default();
                let protocol = protocol.to_lowercase();
                let protocol = match (protocol.as_str(), self.is_on("app-ssl")) {
                    ("" | "http", true) => "https",
                    ("grpc", true) => "grpcs",
                    ("", false) => "http",
                    (other, _) => other,
                };
                arguments.push(format!("--app-protocol={protocol}"));
            }
            // Below zero is Dapr's word for its default.
            "dapr-graceful-shutdown-seconds" | "max-body-size" | "read-buffer-size"
                if !last.starts_with('-') =>
            {
                arguments.push(format!("--{name}={last}"));
            }
            "dapr-http-max-request-size" if self.value("max-body-size").is_none() => {
                arguments.extend(size("max-body-size", last, "Mi"));
            }
            "dapr-http-read-buffer-size" if self.value("read-buffer-size").is_none() => {
                arguments.extend(size("read-buffer-size", last, "Ki"));
            }
            _ => {}
        }
    }
}

fn size(name: &str, number: &str, unit: &str) -> Option<String> {
    (!number.starts_with('-')).then(|| format!("--{name}={number}{unit}"))
}

impl flags::Flag {
    fn is_default(&self, value: &str) -> bool {
        match self.kind {
            Kind::Time => quantity::duration(value) == quantity::duration(self.default),
            _ => value == self.default,
        }
    }
}

impl Kind {
    /// The value as `keyref serve` and its default have it, where it is one of this kind.
    fn read(self, value: &str) -> Option<String> {
        match self {
            Self::Text | Self::List => Some(value.to_owned()),
            Self::Switch => boolean(value).map(|value| value.to_string()),
            Self::Number => integer(value).map(|value| value.to_string()),
            Self::Count => integer(value)
                .filter(|value| *value >= 0)
                .map(|value| value.to_string()),
            Self::Time => quantity::duration(value).ok().map(|_| value.to_owned()),
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Text | Self::List => "text",
            Self::Switch => "true or false",
            Self::Number => "a number",
            Self::Count => "a number that is not below zero",
            Self::Time => "a duration such as `1m30s`",
        }
    }
}

/// As Go's `strconv.ParseBool`.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// As Go's `strconv.ParseInt`, the base by its prefix.
fn integer(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (digits, base) = match lower.get(..2) {
        Some("0x") => (lower.get(2..)?, 16),
        Some("0o") => (lower.get(2..)?, 8),
        Some("0b") => (lower.get(2..)?, 2),
        Some(other) if other.starts_with('0') => (lower.get(1..)?, 8),
        _ => (lower.as_str(), 10),
    };
    let is_digit = |character: char| character.is_digit(base);
    if digits.is_empty() || !digits.chars().all(is_digit) {
        return None;
    }
    i64::from_str_radix(&format!("{sign}{digits}"), base).ok()
}

#[cfg(test)]
mod tests;
