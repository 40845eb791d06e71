//! What the program takes as a process: from its start to the output of the tutorial, and how the
//! memory of the library grows with documents.
//!
//! `cargo bench --bench process` prints it. Linux only.
#![expect(
    clippy::cast_precision_loss,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::zombie_processes,
    unsafe_code,
    reason = "a benchmark prints, ends where anything is wrong, and asks the system about a child that it waits for"
)]

use std::mem::MaybeUninit;
use std::path::Path;
use std::process::{Command, Stdio};

use keyref::stores::Memory;
use keyref::{Context, Document, Resolver};

const MANIFEST: &str = include_str!("../../examples/tutorial/kafka-pubsub.yaml");

fn main() {
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench");
    if let Some(count) = arguments.next() {
        {
            println!("{}", growth(count.parse().unwrap()));
        }
    } else {
        start();
        memory();
    }
}

/// The command of the README.
fn start() {
    const RUNS: usize = 40;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut runs: Vec<(f64, u64)> = (0..RUNS)
        .map(|_| {
            let child = Command::new(env!("CARGO_BIN_EXE_keyref"))
                .args(["resolve", "examples/tutorial", "--store"])
                .arg("kubernetes-secrets=local.file:examples/secrets.yaml")
                .current_dir(&root)
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            wait(child.id())
        })
        .collect();
    runs.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (cpu, _) = runs.get(RUNS / 2).copied().unwrap();
    let resident = runs.iter().map(|(_, resident)| resident).max().unwrap();
    println!("keyref resolve examples/tutorial, {RUNS} runs");
    println!(
        "  {:>7.2} ms of CPU time, the median    at most 15",
        cpu * 1e3
    );
    println!(
        "  {:>7.2} MiB resident, the most        at most 25",
        mebibytes(*resident)
    );
}

/// Waits for a child: its CPU time in seconds, and the most memory that it had, in KiB.
fn wait(child: u32) -> (f64, u64) {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    let mut status = 0;
    // SAFETY: both places are there to be written to, and nobody else waits for this child.
    let usage = unsafe {
        let waited = libc::wait4(child.cast_signed(), &raw mut status, 0, usage.as_mut_ptr());
        assert_eq!(waited, child.cast_signed());
        usage.assume_init()
    };
    assert_eq!(status, 0, "the command failed");
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    let cpu = seconds(usage.ru_utime) + seconds(usage.ru_stime);
    (cpu, u64::try_from(usage.ru_maxrss).unwrap())
}

/// By how much a process grows at its peak for each thousand documents of one call, without the
/// documents themselves.
fn memory() {
    println!("memory per thousand documents of one call");
    let per_thousand = |thousands: u64| {
        let child = Command::new(std::env::current_exe().unwrap())
            .arg((thousands * 1000).to_string())
            .output()
            .unwrap();
        let grown: u64 = String::from_utf8(child.stdout)
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        mebibytes(grown) / thousands as f64
    };
    let figures = [2, 4, 8, 16].map(|thousands| (thousands, per_thousand(thousands)));
    for (thousands, figure) in figures {
        println!("  {figure:>7.2} MiB  at {thousands} thousand documents");
    }
}

/// Resolves documents; by how many KiB the process grew at its peak.
fn growth(count: usize) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let credentials = [("username", "user"), ("password", "s3cr3t")];
    let store = Memory::new().with("kafka-credentials", credentials);
    let resolver = Resolver::builder()
        .store("kubernetes-secrets", store)
        .build()
        .unwrap();
    let document = |index: usize| {
        let name = format!("name: kafka-pubsub-{index}");
        Document::new(
            format!("{index}.yaml"),
            MANIFEST.replace("name: kafka-pubsub", &name),
        )
    };
    let resolve = |documents: Vec<Document>| {
        let count = documents.len();
        let resolution = runtime.block_on(resolver.resolve(documents, &Context::new()));
        assert_eq!(
            resolution.components.len(),
            count,
            "{:?}",
            resolution.problems.first()
        );
        resolution
    };
    // So that what is done once for each process is not counted.
    drop(resolve(vec![document(0)]));
    let documents = (0..count).map(document).collect();
    let before = status("VmRSS:");
    let resolution = resolve(documents);
    let grown = status("VmHWM:").saturating_sub(before);
    drop(resolution);
    grown
}

/// A line of what Linux says of this process, in KiB.
fn status(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn mebibytes(kibibytes: u64) -> f64 {
    kibibytes as f64 / 1024.0
}
