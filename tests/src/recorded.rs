//! What Dapr answered and how it ended, as it was recorded (`tests/cases/recorded/*.txt`), and what
//! it was given: a folder for each section.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::server::{self, Server};
use crate::workspace;

/// One start of Dapr's server.
#[derive(Debug)]
pub struct Section {
    /// Its name, which is its folder's.
    pub name: String,
    /// What was asked while it ran.
    pub asks: Vec<Exchange>,
    /// Its status in the end.
    pub status: i32,
    /// What it said last, where it ended by itself.
    pub fatal: Option<String>,
}

/// A request and Dapr's answer.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The line of the recording.
    pub line: usize,
    /// Such as `GET /v1.0/healthz`.
    pub ask: String,
    /// Its headers.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub send: String,
    /// The status of the answer.
    pub status: u16,
    /// Its type, where that was recorded.
    pub content_type: Option<String>,
    /// The answer's body.
    pub answer: String,
    /// Whether the recording has no more than the beginning of it.
    pub is_cut: bool,
}

/// Where recordings and the folders of their sections are.
pub fn root() -> PathBuf {
    workspace().join("tests/cases/recorded")
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(root().join(path)).expect("it is there")
}

/// The requests to one server, each on a line with its answer.
pub fn requests() -> Section {
    let marks: Vec<Value> = lines_of("http/lines.jsonl");
    let mark = |line: usize| {
        let mut marks = marks.iter();
        marks.find(|mark| mark["line"] == line)
    };
    let text = read("http.txt");
    let asks = text.lines().enumerate().filter_map(|(number, line)| {
        let parts: Vec<_> = line.splitn(4, '|').map(str::trim).collect();
        let [ask, status, headers, body] = parts[..] else {
            panic!("{line}");
        };
        let mark = mark(number + 1).unwrap_or(&Value::Null);
        // A test of its own has what needs more than a request.
        if mark["elsewhere"].is_string() {
            return None;
        }
        let mut headers = headers.split("; ").filter_map(|part| part.split_once(": "));
        let kind = headers.find(|(name, _)| *name == "Content-Type");
        // `text/plain; charset=utf-8` is divided as well.
        let kind = kind.map_or("", |(_, kind)| kind);
        let is_plain = kind == "text/plain";
        let kind = if is_plain {
            "text/plain; charset=utf-8"
        } else {
            kind
        };
        Some(Exchange {
            line: number + 1,
            ask: ask.to_owned(),
            headers: Vec::new(),
            send: mark["send"].as_str().unwrap_or_default().to_owned(),
            status: status[..3].parse().expect("it is a status"),
            content_type: Some(kind.to_owned()),
            answer: unquoted(body),
            is_cut: false,
        })
    });
    Section {
        name: "http".to_owned(),
        asks: asks.collect(),
        status: 0,
        fatal: None,
    }
}

/// The starts of a recording.
pub fn starts(recording: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    let mut said: Option<String> = None;
    for (number, line) in read(recording).lines().enumerate() {
        if let Some(head) = line.strip_prefix("## ") {
            said = None;
            sections.push(Section {
                name: head.split(' ').next().expect("it has a name").to_owned(),
                asks: Vec::new(),
                status: 0,
                fatal: None,
            });
            continue;
        }
        let section = sections.last_mut().expect("a section has begun");
        let line = line.trim_start();
        if let Some(status) = line.strip_prefix("rc ") {
            section.status = status.parse().expect("it is a number");
            section.fatal = said.take().filter(|_| section.status == 1);
        } else if let Some(log) = line.strip_prefix("LOG ") {
            let ends = [
                "fatal: ",
                // The last line of some recordings, which ended before the one that says the same.
                "warning: Error processing component, daprd will exit gracefully: ",
            ];
            let end = ends.iter().find_map(|end| log.strip_prefix(end));
            if let Some(end) = end {
                let begin = "Fatal error from runtime: ";
                let end = end.strip_prefix(begin).unwrap_or(end);
                said = Some(format!("{begin}{end}"));
            }
        } else if let Some((request, answer)) = answered(line) {
            section.asks.push(ask(number + 1, request, answer));
        } else {
            assert!(line.contains(" EXC "), "{line}");
        }
    }
    sections
}

/// The request of a line and what came of it, where that is an answer.
fn answered(line: &str) -> Option<(&str, &str)> {
    let mut parts = line.match_indices(" (");
    let is_answer = |rest: &str| rest.get(3..5) == Some(", ") && rest.starts_with(['2', '4', '5']);
    let (place, _) = parts.find(|(place, _)| is_answer(&line[place + 2..]))?;
    Some((&line[..place], &line[place + 2..]))
}

/// `/path (200, 'body')` or `('/path', 13600, {'name': 'value'}) (200, 'body')`.
fn ask(line: usize, request: &str, answer: &str) -> Exchange {
    let quoted: Vec<_> = request.split('\'').skip(1).step_by(2).collect();
    let (path, headers) = match quoted[..] {
        [] => (request, Vec::new()),
        [path, name, value] => (path, vec![(name.to_owned(), value.to_owned())]),
        _ => panic!("{request}"),
    };
    let (status, body) = answer.split_once(", ").expect("it has a body");
    let whole = body.strip_suffix(')');
    let cut = format!("{body}'");
    Exchange {
        line,
        ask: format!("GET {path}"),
        headers,
        send: String::new(),
        status: status.parse().expect("it is a status"),
        content_type: None,
        answer: unquoted(whole.unwrap_or(&cut)),
        is_cut: whole.is_none(),
    }
}

/// A text as Python writes it.
fn unquoted(text: &str) -> String {
    let inner = text.get(1..text.len() - 1).expect("it stands in quotes");
    let mut plain = String::new();
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        plain.push(match character {
            '\\' => match characters.next() {
                Some('n') => '\n',
                Some(escaped @ ('\\' | '\'' | '"')) => escaped,
                other => panic!("{other:?} in {text}"),
            },
            character => character,
        });
    }
    plain
}

fn lines_of(path: &str) -> Vec<Value> {
    let text = read(path);
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("it is JSON"))
        .collect()
}

/// What differs in a section, and the row of `docs/differences.md` that says so.
pub fn differences(section: &str) -> Option<Value> {
    let text = fs::read_to_string(root().join(section).join("differs.json")).ok()?;
    Some(serde_json::from_str(&text).expect("it is JSON"))
}

/// A server's arguments and variables in the folder of a section.
fn given(folder: &Path) -> (Vec<String>, BTreeMap<String, String>) {
    let lines = |name: &str| -> Option<Vec<String>> {
        let text = fs::read_to_string(folder.join(name)).ok()?;
        Some(text.lines().map(str::to_owned).collect())
    };
    let arguments = lines("arguments").unwrap_or_else(|| {
        let mut arguments = vec!["--app-id=myapp", "--resources=resources"];
        if folder.join("config.yaml").exists() {
            arguments.push("--config=config.yaml");
        }
        arguments.into_iter().map(str::to_owned).collect()
    });
    let variables = lines("variables").unwrap_or_default().into_iter();
    let variables = variables.filter_map(|line| {
        let (name, value) = line.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    });
    let mut variables: BTreeMap<_, _> = variables.collect();
    if let Some(token) = lines("token").and_then(|lines| lines.into_iter().next()) {
        variables.insert("DAPR_API_TOKEN".to_owned(), token);
    }
    (arguments, variables)
}

/// Calls this with the folder of a section, and the arguments and variables in it, in Dapr mode.
fn with<R>(section: &str, run: impl Fn(&Path, &[&str], &[(&str, &str)]) -> R) -> R {
    let folder = root().join(section);
    let (arguments, variables) = given(&folder);
    let mut all = vec!["--mode", "dapr"];
    all.extend(arguments.iter().map(String::as_str));
    let variables = variables.iter();
    let variables: Vec<_> = variables
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    run(&folder, &all, &variables)
}

/// A server in the folder of a section, in Dapr mode.
pub fn serve(section: &str) -> Server {
    with(section, Server::start)
}

/// Runs what does not come up to its end; its status, and what it said last.
pub fn refused(section: &str) -> (Option<i32>, String) {
    let (status, log) = with(section, server::refused);
    let last = log.lines().rev().find_map(|line| {
        let line: Value = serde_json::from_str(line).ok()?;
        let text = line["msg"].as_str().unwrap_or_default();
        (line["level"] == "fatal").then(|| text.to_owned())
    });
    (status.code(), last.unwrap_or(log))
}
