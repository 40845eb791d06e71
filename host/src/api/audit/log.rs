//! The audit trail as a file of JSON lines.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use crate::api::ascii_json::ascii_json;
use crate::api::audit::{Audit, AuditCounts, AuditRecord};

/// How many records may wait to be written.
const MOST_WAITING: u64 = 8192;
/// How many bytes they may have together.
const MOST_BYTES: usize = 16 << 20;
/// How many bytes are written at a time, with standard error kept from others meanwhile.
const MOST_WRITTEN: usize = 64 << 10;
/// How many bytes of memory are kept for later records.
const MOST_KEPT: usize = 128 << 10;
/// What a record mostly needs of them.
const RECORD: usize = 512;
/// How long after a loss it is tried again to tell it, where no record comes.
const TELL_AFTER: Duration = Duration::from_secs(1);
/// How long the writer rests after each write: a record is that much later at the most.
const REST: Duration = Duration::from_millis(5);
/// How long the last records may take to be written at the end.
const LAST: Duration = Duration::from_secs(5);

/// Writes records as lines of JSON, in ASCII, to a file or to standard error.
///
/// A request never waits for it: records wait until they are written, at most 8,192 of them and 16 MiB. What
/// does not fit, or cannot be written, is counted, and told in the trail by a record of its own,
/// `{"time": …, "lost": 3, "failed": 0}`, as soon as it can be written.
pub struct AuditLog {
    shared: Arc<Shared>,
    ended: Mutex<Receiver<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// Records have come, or no more will.
    news: Condvar,
    reopens: AtomicBool,
    written: AtomicU64,
    lost: AtomicU64,
    failed: AtomicU64,
}

/// The records that wait to be written: one text, so that handing them over takes no memory of its
/// own, which another thread would give back.
#[derive(Debug, Default)]
struct Waiting {
    /// Whole lines that the writer has not taken.
    text: String,
    /// How many lines are not written yet, and how many bytes they have: those that it has taken count.
    number: u64,
    bytes: usize,
    /// The writer waits for them.
    is_awaited: bool,
    has_ended: bool,
}

impl AuditLog {
    /// Appends to a file, which is made with the mode 0600 where it does not exist.
    ///
    /// # Errors
    /// Fails where the file cannot be opened.
    pub fn file(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        let file = open(&path)?;
        Self::start(Target::File { path, file })
    }

    /// Writes to standard error.
    ///
    /// # Errors
    /// Fails where there can be no further thread.
    pub fn standard_error() -> io::Result<Self> {
        Self::start(Target::StandardError)
    }

    fn start(target: Target) -> io::Result<Self> {
        let (end, ended) = sync_channel(1);
        let shared = Arc::new(Shared::default());
        let mut writer = Writer {
            target,
            shared: Arc::clone(&shared),
            told: (0, 0),
            is_failing: false,
            is_torn: false,
        };
        let name = "keyref-audit".to_owned();
        thread::Builder::new().name(name).spawn(move || {
            writer.run();
            // Nobody may wait for it.
            let _ = end.send(());
        })?;
        Ok(Self {
            shared,
            ended: Mutex::new(ended),
        })
    }

    /// Opens the file again before the next record is written: it may have been moved away.
    pub fn reopen(&self) {
        self.shared.reopens.store(true, Ordering::Release);
    }

    /// Writes what is waiting, for at most 5 s. Later records are lost.
    pub fn finish(&self) {
        if std::mem::replace(&mut self.shared.waiting().has_ended, true) {
            return;
        }
        self.shared.news.notify_one();
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if ended.recv_timeout(LAST).is_err() {
            tracing::error!("the last records of the audit trail could not be written in time");
        }
    }
}

impl Audit for AuditLog {
    fn record(&self, record: &AuditRecord<'_>) {
        let line = ascii_json(record, RECORD);
        if !line.is_ok_and(|line| self.shared.add(&line)) {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn counts(&self) -> AuditCounts {
        AuditCounts {
            written: self.shared.written.load(Ordering::Relaxed),
            lost: self.shared.lost.load(Ordering::Relaxed),
            failed: self.shared.failed.load(Ordering::Relaxed),
        }
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is room for a line.
    fn add(&self, line: &str) -> bool {
        let mut waiting = self.waiting();
        let bytes = waiting.bytes + line.len() + 1;
        if waiting.has_ended || waiting.number >= MOST_WAITING || bytes > MOST_BYTES {
            return false;
        }
        waiting.bytes = bytes;
        waiting.text.push_str(line);
        waiting.text.push('\n');
        waiting.number += 1;
        let is_awaited = std::mem::take(&mut waiting.is_awaited);
        drop(waiting);
        if is_awaited {
            self.news.notify_one();
        }
        true
    }

    /// Waits for records, for a time where there is one, and takes them in exchange for an empty text;
    /// whether more may come.
    fn take(&self, text: &mut String, time: Option<Duration>) -> bool {
        let mut waiting = self.waiting();
        waiting.is_awaited = waiting.text.is_empty() && !waiting.has_ended;
        let is_idle = |waiting: &mut Waiting| waiting.is_awaited && !waiting.has_ended;
        waiting = if let Some(time) = time {
            let waited = self.news.wait_timeout_while(waiting, time, is_idle);
            waited.unwrap_or_else(PoisonError::into_inner).0
        } else {
            let waited = self.news.wait_while(waiting, is_idle);
            waited.unwrap_or_else(PoisonError::into_inner)
        };
        waiting.is_awaited = false;
        std::mem::swap(&mut waiting.text, text);
        !waiting.has_ended
    }

    /// Takes note of what has become of lines: so many of them are written.
    fn count(&self, lines: &str, written: u64) {
        let number = lines_of(lines.as_bytes());
        self.written.fetch_add(written, Ordering::Relaxed);
        let failed = number.saturating_sub(written);
        self.failed.fetch_add(failed, Ordering::Relaxed);
        let mut waiting = self.waiting();
        waiting.number -= number;
        waiting.bytes -= lines.len();
    }
}

impl fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditLog")
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

impl Drop for AuditLog {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Where lines go.
enum Target {
    File { path: PathBuf, file: File },
    StandardError,
}

/// Writes what comes, on a thread of its own.
struct Writer {
    target: Target,
    shared: Arc<Shared>,
    /// The losses that the trail tells already.
    told: (u64, u64),
    /// Whether writing failed last, which has been told.
    is_failing: bool,
    /// Whether the last line has no end.
    is_torn: bool,
}

impl Writer {
    fn run(&mut self) {
        let mut text = String::new();
        loop {
            let time = (self.losses() != self.told).then_some(TELL_AFTER);
            let may_come = self.shared.take(&mut text, time);
            if self.shared.reopens.swap(false, Ordering::AcqRel) {
                self.reopen();
            }
            self.tell_losses();
            let mut rest = text.as_str();
            while !rest.is_empty() {
                let (lines, others) = rest.split_at(whole_lines(rest));
                let written = self.write(lines.as_bytes());
                self.shared.count(lines, written);
                rest = others;
            }
            if !may_come {
                break;
            }
            text.clear();
            text.shrink_to(MOST_KEPT);
            // Who is not waiting need not be woken, which costs each request more than its record.
            thread::sleep(REST);
        }
        self.tell_losses();
    }

    fn reopen(&mut self) {
        if let Target::File { path, file } = &mut self.target {
            match open(path) {
                Ok(opened) => {
                    *file = opened;
                    self.is_torn = false;
                }
                Err(error) => {
                    tracing::error!("the audit trail cannot be opened again: {error}");
                }
            }
        }
    }

    /// How many records were lost and could not be written so far.
    fn losses(&self) -> (u64, u64) {
        let lost = self.shared.lost.load(Ordering::Relaxed);
        (lost, self.shared.failed.load(Ordering::Relaxed))
    }

    /// Writes how many records are missing, where that is news.
    fn tell_losses(&mut self) {
        let (lost, failed) = self.losses();
        let (lost_before, failed_before) = self.told;
        if (lost, failed) == self.told {
            return;
        }
        let time = jiff::Timestamp::try_from(SystemTime::now()).unwrap_or_default();
        let (lost_now, failed_now) = (lost - lost_before, failed - failed_before);
        let line =
            format!("{{\"time\":\"{time:.6}\",\"lost\":{lost_now},\"failed\":{failed_now}}}\n");
        if self.write(line.as_bytes()) > 0 {
            self.told = (lost, failed);
            tracing::error!(
                "records of the audit trail are missing: {} of them",
                lost_now + failed_now
            );
        }
    }

    /// Writes lines; how many of them are written. A failure is told when it begins.
    fn write(&mut self, lines: &[u8]) -> u64 {
        let (written, failure) = if self.is_torn {
            match self.put(b"\n") {
                (_, None) => self.put(lines),
                failed => failed,
            }
        } else {
            self.put(lines)
        };
        match failure {
            None => self.is_failing = false,
            Some(error) => {
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::error!("the audit trail cannot be written: {error}");
                }
            }
        }
        written
    }

    /// Writes bytes; how many lines ended in what is written, and why not all is.
    fn put(&mut self, bytes: &[u8]) -> (u64, Option<io::Error>) {
        let mut stderr;
        let target: &mut dyn Write = match &mut self.target {
            Target::File { file, .. } => file,
            Target::StandardError => {
                stderr = io::stderr().lock();
                &mut stderr
            }
        };
        let mut rest = bytes;
        let failure = loop {
            if rest.is_empty() {
                break None;
            }
            match target.write(rest) {
                Ok(0) => break Some(io::ErrorKind::WriteZero.into()),
                Ok(number) => rest = rest.get(number..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Some(error),
            }
        };
        let written = bytes.strip_suffix(rest).unwrap_or_default();
        if let Some(last) = written.last() {
            self.is_torn = *last != b'\n';
        }
        (lines_of(written), failure)
    }
}

/// How many lines end in some bytes.
fn lines_of(bytes: &[u8]) -> u64 {
    let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
    u64::try_from(lines).unwrap_or(u64::MAX)
}

/// How many bytes of some lines are written at a time: whole lines, and one at least.
fn whole_lines(lines: &str) -> usize {
    let (bytes, end) = (lines.as_bytes(), |byte: &u8| *byte == b'\n');
    let last = bytes.iter().take(MOST_WRITTEN).rposition(end);
    let last = last.or_else(|| bytes.iter().position(end));
    last.map_or(bytes.len(), |last| last + 1)
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
