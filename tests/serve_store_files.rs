//! The files that secret stores are opened from: those of `--store`, and those that references name.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use keyref_tests::folder;
use keyref_tests::server::{Server, command};
use tempfile::TempDir;

/// What anything may take before a test has failed.
const PATIENCE: Duration = Duration::from_secs(20);
/// What a server may take to read a file that it is about to.
const A_MOMENT: Duration = Duration::from_millis(300);

/// A folder with the files of two stores, of which a document names one.
fn work() -> TempDir {
    folder(&[
        ("r/one.yaml", component("one", "value: one.json").as_bytes()),
        ("one.json", b"{\"key\": \"s3cr3t-1\"}"),
        ("given.json", b"{\"key\": \"s3cr3t-given\"}"),
        ("c.yaml", b"kind: Configuration\nspec: {}\n"),
    ])
}

fn component(name: &str, file: &str) -> String {
    format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{name: {name}}}\n\
         spec: {{type: secretstores.local.file, version: v1, metadata: [{{name: secretsFile, {file}}}]}}\n"
    )
}

const ARGUMENTS: [&str; 4] = ["--resources", "r", "--config", "c.yaml"];

fn server(work: &TempDir, arguments: &[&str]) -> Server {
    Server::start(work.path(), &[&ARGUMENTS, arguments].concat(), &[])
}

fn write(work: &TempDir, path: &str, text: &str) {
    fs::write(work.path().join(path), text).unwrap();
}

fn deny(work: &TempDir, store: &str) {
    let scope = format!("{{storeName: {store}, defaultAccess: deny}}");
    let scopes = format!("kind: Configuration\nspec: {{secrets: {{scopes: [{scope}]}}}}\n");
    write(work, "c.yaml", &scopes);
}

fn pipe(work: &TempDir, path: &str) {
    let made = Command::new("mkfifo").arg(work.path().join(path)).status();
    assert!(made.unwrap().success());
}

/// Waits until the one secret of a store is answered so.
fn until(server: &Server, store: &str, expected: &str) {
    let begin = Instant::now();
    loop {
        let answer = server.ask(&format!("GET /v1.0/secrets/{store}/key"));
        if answer.body.contains(expected) {
            return;
        }
        let is_late = begin.elapsed() > PATIENCE;
        assert!(!is_late, "{store}: {answer:?}\n{}", server.log());
        thread::sleep(Duration::from_millis(20));
    }
}

const DENIED: &str = "ERR_PERMISSION_DENIED";

#[test]
fn a_given_store_that_breaks_holds_up_nothing_else() {
    let work = work();
    let server = server(&work, &["--store", "given=local.file:given.json"]);
    write(&work, "given.json", "{broken s3cr3t");
    server.wait_for_log("store `given`");
    until(&server, "given", "s3cr3t-given");
    deny(&work, "given");
    until(&server, "given", DENIED);
    write(&work, "one.json", "{\"key\": \"s3cr3t-2\"}");
    until(&server, "one", "s3cr3t-2");
    write(&work, "c.yaml", "kind: Configuration\nspec: {}\n");
    until(&server, "given", "s3cr3t-given");
    write(&work, "given.json", "{\"key\": \"s3cr3t-mended\"}");
    until(&server, "given", "s3cr3t-mended");
    assert!(!server.log().contains("s3cr3t"), "{}", server.log());
}

#[test]
fn a_given_pipe_is_read_once() {
    let work = work();
    pipe(&work, "pipe");
    let path = work.path().join("pipe");
    let writing = thread::spawn(move || fs::write(path, "{\"key\": \"s3cr3t-piped\"}").unwrap());
    let server = server(&work, &["--store", "given=local.file:pipe"]);
    writing.join().unwrap();
    deny(&work, "one");
    until(&server, "one", DENIED);
    write(&work, "c.yaml", "kind: Configuration\nspec: {} \n");
    until(&server, "one", "s3cr3t-1");
    write(&work, "one.json", "{\"key\": \"s3cr3t-2\"}");
    server.signal("HUP");
    until(&server, "one", "s3cr3t-2");
    until(&server, "given", "s3cr3t-piped");
}

#[test]
fn a_given_file_that_changes_during_the_start_is_read_again() {
    let work = work();
    pipe(&work, "pipe");
    let stores = [
        "--store",
        "slow=local.file:pipe",
        "--store",
        "given=local.file:given.json",
    ];
    let starting = command(work.path(), &[&ARGUMENTS[..], &stores].concat(), &[]);
    let path = work.path().join("pipe");
    let folder = work.path().to_owned();
    let writing = thread::spawn(move || {
        // Opened once the server waits for it, beside the other.
        let mut slow = fs::File::options().write(true).open(path).unwrap();
        thread::sleep(A_MOMENT);
        fs::write(folder.join("given.json"), "{\"key\": \"s3cr3t-new\"}").unwrap();
        std::io::Write::write_all(&mut slow, b"{\"key\": \"s3cr3t-slow\"}").unwrap();
    });
    let server = Server::run(starting);
    writing.join().unwrap();
    until(&server, "slow", "s3cr3t-slow");
    until(&server, "given", "s3cr3t-new");
}

#[test]
fn files_that_references_and_variables_name_are_read_again() {
    let work = work();
    let reference = component("by-secret", "secretKeyRef: {name: file, key: file}");
    let reference = format!("{reference}auth: {{secretStore: names}}\n");
    let variable = component("by-variable", "envRef: SECRETS");
    let files = [component("names", "value: names.json"), reference, variable];
    write(&work, "r/more.yaml", &files.join("---\n"));
    write(&work, "names.json", "{\"file\": \"given.json\"}");
    let variables = [("SECRETS", "given.json")];
    let server = Server::start(work.path(), &ARGUMENTS, &variables);
    until(&server, "by-secret", "s3cr3t-given");
    until(&server, "by-variable", "s3cr3t-given");
    write(&work, "given.json", "{\"key\": \"s3cr3t-rotated\"}");
    until(&server, "by-secret", "s3cr3t-rotated");
    until(&server, "by-variable", "s3cr3t-rotated");
}
