//! What the files of a server are: pipes, files that are cut, folders that go.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use keyref_tests::files::{DENIED, SILENCE, UNKNOWN, denial, read, store, until, write};
use keyref_tests::folder;
use keyref_tests::server::Server;
use tempfile::TempDir;

/// A folder with the files of two stores.
fn work() -> TempDir {
    folder(&[
        ("r/one.yaml", store("one", "one.json").as_bytes()),
        ("one.json", b"{\"key\": \"s3cr3t-1\"}"),
        ("two.json", b"{\"key\": \"s3cr3t-2\"}"),
        ("c.yaml", b"kind: Configuration\nspec: {}\n"),
    ])
}

/// A pipe that gives this to its first reader.
fn pipe(work: &TempDir, name: &str, text: String) -> PathBuf {
    let path = work.path().join(name);
    assert!(
        Command::new("mkfifo")
            .arg(&path)
            .status()
            .unwrap()
            .success()
    );
    let to = path.clone();
    thread::spawn(move || File::create(to).unwrap().write_all(text.as_bytes()));
    path
}

#[test]
fn a_pipe_counts_as_it_was_read_and_keeps_nothing_back() {
    for mode in ["strict", "dapr"] {
        let work = work();
        pipe(&work, "c.pipe", denial("one"));
        pipe(&work, "two.pipe", store("two", "two.json"));
        let arguments = [
            &["--resources", "r", "--resources", "two.pipe"][..],
            &["--config", "c.pipe", "--mode", mode],
        ];
        let server = Server::start(work.path(), &arguments.concat(), &[]);
        let is_as_read = || {
            thread::sleep(SILENCE);
            assert_eq!(read(&server, "one"), DENIED, "{mode}");
            assert_eq!(read(&server, "two"), "s3cr3t-2", "{mode}");
        };
        is_as_read();
        write(&work, "r/three.yaml", &store("three", "one.json"));
        until(&server, "three", "s3cr3t-1");
        server.signal("HUP");
        is_as_read();
        fs::remove_file(work.path().join("r/three.yaml")).unwrap();
        until(&server, "three", UNKNOWN);
        is_as_read();
    }
}

#[test]
fn a_configuration_that_loses_its_spec_counts_as_before() {
    for mode in ["strict", "dapr"] {
        let work = work();
        write(&work, "c.yaml", &denial("one"));
        let arguments = ["--resources", "r", "--config", "c.yaml", "--mode", mode];
        let server = Server::start(work.path(), &arguments, &[]);
        // As an editor that writes in place leaves it, or a disk that is full.
        for cut in ["", "# nothing\n", "kind: Configuration\nspec:\n"] {
            write(&work, "c.yaml", cut);
            thread::sleep(SILENCE);
            assert_eq!(read(&server, "one"), DENIED, "{mode}: {cut:?}");
        }
        server.wait_for_log("`c.yaml` is served as it was before");
        server.signal("HUP");
        thread::sleep(SILENCE);
        assert_eq!(read(&server, "one"), DENIED, "{mode}");
        // What says so opens all.
        write(&work, "c.yaml", "kind: Configuration\nspec: {}\n");
        until(&server, "one", "s3cr3t-1");
    }
}

#[test]
fn the_last_configuration_that_is_given_counts() {
    let work = work();
    write(&work, "z.yaml", &denial("two"));
    write(&work, "a.yaml", &denial("one"));
    let arguments = [
        &["--resources", "r", "--config", "z.yaml"][..],
        &["--config", "a.yaml"],
    ];
    let server = Server::start(work.path(), &arguments.concat(), &[]);
    assert_eq!(read(&server, "one"), DENIED);
}

#[test]
fn a_pattern_that_matches_nothing_any_more_is_empty_and_keeps_nothing_back() {
    let work = work();
    fs::create_dir(work.path().join("p")).unwrap();
    write(&work, "p/two.yaml", &store("two", "two.json"));
    let arguments = [
        &["--resources", "r", "--resources", "p/*.yaml"][..],
        &["--config", "c.yaml"],
    ];
    let server = Server::start(work.path(), &arguments.concat(), &[]);
    assert_eq!(read(&server, "two"), "s3cr3t-2");
    fs::remove_file(work.path().join("p/two.yaml")).unwrap();
    until(&server, "two", UNKNOWN);
    write(&work, "c.yaml", &denial("one"));
    until(&server, "one", DENIED);
    write(&work, "p/two.yaml", &store("two", "two.json"));
    until(&server, "two", "s3cr3t-2");
}

#[test]
fn a_folder_that_is_missing_is_served_as_it_was_and_keeps_nothing_back() {
    for (argument, is_hot) in [("p", true), ("p", false), ("p/*.yaml", true)] {
        let work = work();
        fs::create_dir(work.path().join("p")).unwrap();
        write(&work, "p/two.yaml", &store("two", "two.json"));
        let arguments = [
            &["--resources", "r", "--resources", argument][..],
            &["--config", "c.yaml"],
        ];
        if !is_hot {
            let off =
                "kind: Configuration\nspec: {features: [{name: HotReload, enabled: false}]}\n";
            write(&work, "c.yaml", off);
        }
        let server = Server::start(work.path(), &arguments.concat(), &[]);
        fs::rename(work.path().join("p"), work.path().join("q")).unwrap();
        write(&work, "c.yaml", &denial("one"));
        write(&work, "r/three.yaml", &store("three", "one.json"));
        if !is_hot {
            server.signal("HUP");
        }
        until(&server, "one", DENIED);
        until(&server, "three", "s3cr3t-1");
        server.wait_for_log("what was there is served as it was before");
        thread::sleep(SILENCE);
        assert_eq!(read(&server, "two"), "s3cr3t-2", "{argument}");
        // Once it is back, what is not in it has gone.
        fs::create_dir(work.path().join("p")).unwrap();
        write(&work, "p/four.yaml", &store("four", "two.json"));
        until(&server, "four", "s3cr3t-2");
        until(&server, "two", UNKNOWN);
    }
}

#[test]
fn files_whose_names_are_no_text_are_told_apart() {
    let work = work();
    let path = |name: &[u8]| work.path().join("r").join(OsStr::from_bytes(name));
    let (one, two) = (path(b"a\xff.yaml"), path(b"a\xfe.yaml"));
    fs::write(&one, store("first", "one.json")).unwrap();
    fs::write(&two, store("second", "two.json")).unwrap();
    let server = Server::start(work.path(), &["--resources", "r"], &[]);
    for (broken, name, file) in [(&one, "first", "one.json"), (&two, "second", "two.json")] {
        fs::write(broken, "a: [").unwrap();
        thread::sleep(SILENCE);
        assert_eq!(read(&server, "first"), "s3cr3t-1");
        assert_eq!(read(&server, "second"), "s3cr3t-2");
        fs::write(broken, store(name, file)).unwrap();
        thread::sleep(SILENCE);
    }
    server.wait_for_log(r"a\\xff.yaml` is served as it was before");
}
