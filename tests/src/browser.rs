//! A browser without a window: Debian's `chromium`.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a page may take, on a machine that is busy.
const PATIENCE: Duration = Duration::from_mins(2);

/// A browser. Each page is shown by a new one, with nothing left of those before.
#[derive(Debug)]
pub struct Browser {
    program: &'static str,
}

/// A page as the browser has it.
#[derive(Debug)]
pub struct Page {
    /// The document as it is once it was parsed, and whatever it runs was run.
    pub dom: String,
    /// What the browser has to say of it, such as that a policy forbids something.
    pub console: Vec<String>,
}

impl Browser {
    /// A browser; nothing where it cannot be had here.
    ///
    /// # Panics
    /// Panics where it cannot be had and `KEYREF_REQUIRE_SERVERS` is 1.
    #[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
    pub fn find() -> Option<Self> {
        let program = "chromium";
        let asked = Command::new(program).arg("--version").output();
        let is_there = asked.is_ok_and(|output| output.status.success());
        assert!(
            is_there || !crate::kubernetes::required(),
            "`chromium` cannot be run; on Debian: apt-get install chromium"
        );
        if !is_there {
            eprintln!(
                "skipped: `chromium` cannot be run here; on Debian: apt-get install chromium"
            );
        }
        is_there.then_some(Self { program })
    }

    /// Opens a page.
    pub fn open(&self, url: &str, arguments: &[&str]) -> Page {
        let mut all = vec!["--dump-dom", "--enable-logging=stderr"];
        all.extend(arguments);
        let output = self.run(url, &all);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let console = said.lines().filter(|line| line.contains("CONSOLE"));
        Page {
            dom: String::from_utf8_lossy(&output.stdout).into_owned(),
            console: console.map(str::to_owned).collect(),
        }
    }

    /// Takes a picture of a page, as PNG.
    pub fn picture(&self, url: &str, arguments: &[&str]) -> Vec<u8> {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let path = folder.path().join("page.png");
        let screenshot = format!("--screenshot={}", path.display());
        let mut all = vec![screenshot.as_str(), "--hide-scrollbars"];
        all.extend(arguments);
        let output = self.run(url, &all);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        fs::read(path).unwrap_or_else(|error| panic!("no picture ({error}): {said}"))
    }

    fn run(&self, url: &str, arguments: &[&str]) -> Output {
        // A browser takes all cores, so that two are no faster.
        static TURN: Mutex<()> = Mutex::new(());
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let home = tempfile::tempdir().expect("a folder can be made");
        let data = format!("--user-data-dir={}", home.path().display());
        let command = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--no-first-run",
            &data,
        ];
        let said = home.path().join("stderr");
        let mut child = Command::new(self.program)
            .args(command)
            .args(arguments)
            .arg(url)
            .env("HOME", home.path())
            .stdin(Stdio::null())
            .stdout(file(&home.path().join("stdout")))
            .stderr(file(&said))
            .spawn()
            .expect("it can be run");
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().expect("it can be waited for") {
                break status;
            }
            if begin.elapsed() > PATIENCE {
                drop(child.kill());
                drop(child.wait());
                panic!("the browser does not end");
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let read = |name| fs::read(home.path().join(name)).expect("it is there");
        Output {
            status,
            stdout: read("stdout"),
            stderr: read("stderr"),
        }
    }
}

fn file(path: &Path) -> fs::File {
    fs::File::create(path).expect("a file can be made")
}

/// The tags of HTML in their order, without their attributes: where those of a text and those of the
/// document that a browser makes of it are the same, the browser had nothing to mend.
pub fn tags(html: &str) -> Vec<String> {
    let tags = html.split('<').skip(1).filter_map(|part| {
        let end = part.find(|c: char| c.is_whitespace() || c == '>')?;
        part.get(..end)
    });
    let tags = tags.map(str::to_lowercase);
    tags.filter(|tag| !tag.starts_with('!')).collect()
}
