//! The status page with more than it shows, and while it changes: what is left out is told, the page
//! stays one that a browser can show, and all of it is of one time.

use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use keyref_tests::folder;
use keyref_tests::server::{Server, ask_at};
use serde_json::Value;
use tempfile::TempDir;

/// What anything may take before a test has failed.
const PATIENCE: Duration = Duration::from_mins(1);
/// How many rows a table has, requests are kept, and problems of a reload.
const ROWS: usize = 1_000;
const REQUESTS: usize = 100;
const PROBLEMS: usize = 200;
/// How many references of a component are shown.
const REFERENCES: usize = 100;
/// How many characters of a text are shown.
const TEXT: usize = 1_000;

const STORES: usize = ROWS + 101;
/// Components of no category that is known, each of which is told.
const ODD: usize = ROWS + 11;

/// A component without metadata.
fn component(name: &str, kind: &str) -> String {
    format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{name: {name}}}\nspec: {{type: \
         {kind}, version: v1, metadata: []}}\n---\n"
    )
}

/// A server of more than a page shows.
fn server() -> (TempDir, Server) {
    let mut stores = component(&"x".repeat(TEXT + 500), "secretstores.local.env");
    for number in 1..STORES {
        stores += &component(&format!("store-{number}"), "secretstores.local.env");
    }
    let mut odd = String::new();
    for number in 0..ODD {
        odd += &component(&format!("odd-{number}"), "foo.bar");
    }
    // Listed first, by the order of files.
    let work = folder(&[
        ("r/a.yaml", stores.as_bytes()),
        ("r/b.yaml", odd.as_bytes()),
    ]);
    let arguments = ["--resources", "r", "--admin-port", "0"];
    let server = Server::start(work.path(), &arguments, &[("KEY", "value")]);
    (work, server)
}

fn page(server: &Server) -> String {
    let answer = ask_at(server.status.unwrap(), "GET /", &[], "");
    assert_eq!(answer.status, 200);
    answer.body
}

fn facts(server: &Server) -> Value {
    let answer = ask_at(server.status.unwrap(), "GET /status.json", &[], "");
    assert_eq!(answer.status, 200);
    serde_json::from_str(&answer.body).unwrap()
}

fn count(list: &Value) -> usize {
    list.as_array().unwrap().len()
}

/// How many rows a section has, and how many more it tells of.
fn rows(page: &str, section: &str) -> (usize, usize) {
    let begin = format!("<section aria-labelledby=\"{section}\">");
    let (_, rest) = page.split_once(&begin).expect("the section is there");
    let (section, _) = rest.split_once("</section>").expect("it ends");
    let more = section.split_once(" more are in <a href=\"/status.json\">status.json</a>.");
    let more = more.map_or(0, |(before, _)| {
        let (_, number) = before.rsplit_once('>').expect("a number in a paragraph");
        number.parse().expect("it is a number")
    });
    (
        section
            .matches("<tr role=\"row\"><th role=\"rowheader\"")
            .count(),
        more,
    )
}

#[test]
fn long_tables_are_cut_and_tell_how_much_is_left() {
    let (_work, server) = server();
    let (page, facts) = (page(&server), facts(&server));
    for (section, list, whole) in [
        ("stores", &facts["stores"], STORES),
        ("components", &facts["components"], STORES + ODD),
        ("problems", &facts["problems"], ODD),
    ] {
        assert_eq!(count(list), whole, "{section}");
        assert_eq!(rows(&page, section), (ROWS, whole - ROWS), "{section}");
    }
    // A name is cut as well.
    let name = |length| format!("<code dir=\"auto\">{}", "x".repeat(length));
    assert!(page.contains(&format!("{}…</code>", name(TEXT))));
    assert!(!page.contains(&name(TEXT + 1)));
    let whole = "x".repeat(TEXT + 500);
    let mut components = facts["components"].as_array().unwrap().iter();
    assert!(components.any(|component| component["name"] == *whole));
}

#[test]
fn the_last_requests_are_shown_the_newest_first() {
    const ASKED: usize = REQUESTS + 31;
    let (_work, server) = server();
    for number in 0..ASKED {
        let answer = server.ask(&format!("GET /v1.0/secrets/store-1/ABSENT-{number}"));
        assert_eq!(answer.status, 500, "{answer:?}");
    }
    let (page, facts) = (page(&server), facts(&server));
    let audit = facts["audit"].as_array().unwrap();
    let names: Vec<_> = audit
        .iter()
        .map(|record| record["secret"].as_str().unwrap())
        .collect();
    let newest = (ASKED - REQUESTS..ASKED).rev();
    let expected: Vec<_> = newest.map(|number| format!("ABSENT-{number}")).collect();
    assert_eq!(names, expected);
    assert_eq!(rows(&page, "audit"), (REQUESTS, 0));
    let shown = |number: usize| page.contains(&format!(">ABSENT-{number}</code>"));
    assert!(shown(ASKED - 1) && shown(ASKED - REQUESTS) && !shown(ASKED - REQUESTS - 1));
}

#[test]
fn the_first_problems_of_a_reload_are_kept() {
    let (work, server) = server();
    // One file, so that one reload tells of all.
    let mut broken = String::new();
    for number in 0..PROBLEMS + 57 {
        let _ = write!(broken, "{}", component(&format!("broken-{number}"), "[]"));
    }
    fs::write(work.path().join("new"), broken).unwrap();
    fs::rename(work.path().join("new"), work.path().join("r/c.yaml")).unwrap();
    let begin = Instant::now();
    let facts = loop {
        let facts = facts(&server);
        if facts["reload"]["outcome"] == "partial" {
            break facts;
        }
        assert!(begin.elapsed() < PATIENCE, "{}", facts["reload"]);
        std::thread::sleep(Duration::from_millis(50));
    };
    let problems = &facts["reload"]["problems"];
    assert_eq!(count(problems), PROBLEMS);
    assert_eq!(facts["reload"]["more_problems"], 57);
    assert_eq!(problems[0]["document"], "r/c.yaml");
    // With those of what is served.
    assert_eq!(count(&facts["problems"]), ODD);
    let whole = PROBLEMS + ODD;
    let page = page(&server);
    assert_eq!(rows(&page, "problems"), (ROWS, whole - ROWS));
    assert!(page.contains("<p>57 more of the last reload are in the log.</p>"));
}

#[test]
fn a_component_with_many_references_is_cut_as_well() {
    const COUNT: usize = REFERENCES + 23;
    let references: Vec<_> = (0..COUNT)
        .map(|number| format!("{{name: p-{number}-, secretKeyRef: {{name: s, key: s}}}}"))
        .collect();
    let many =
        component("many", "state.redis").replace("[]", &format!("[{}]", references.join(", ")));
    let many = many.replace("---", "auth: {secretStore: env}");
    let work = folder(&[("r/many.yaml", many.as_bytes())]);
    let arguments = [
        "--resources",
        "r",
        "--admin-port",
        "0",
        "--store",
        "env=local.env",
    ];
    let server = Server::start(work.path(), &arguments, &[]);
    let page = page(&server);
    let shown = |number: usize| page.contains(&format!(">p-{number}-</code>"));
    assert!(
        shown(0) && shown(REFERENCES - 1) && !shown(REFERENCES),
        "{page}"
    );
    assert!(page.contains("<li>23 more are in <a href=\"/status.json\">status.json</a></li>"));
    let facts = facts(&server);
    assert_eq!(count(&facts["components"][0]["references"]), COUNT);
}

#[test]
fn what_is_told_to_be_taken_over_is_on_the_same_page() {
    let (work, server) = server();
    let mut last = Value::Null;
    for round in 0..10 {
        let name = format!("round-{round}");
        fs::write(work.path().join("new"), component(&name, "foo.bar")).unwrap();
        fs::rename(work.path().join("new"), work.path().join("r/c.yaml")).unwrap();
        let begin = Instant::now();
        let facts = loop {
            let facts = facts(&server);
            if facts["reload"]["time"] != last {
                break facts;
            }
            assert!(begin.elapsed() < PATIENCE, "{}", server.log());
        };
        last = facts["reload"]["time"].clone();
        let mut components = facts["components"].as_array().unwrap().iter();
        assert!(
            components.any(|component| component["name"] == name),
            "{name}"
        );
    }
}
