//! The audit trail as a file of JSON lines.

use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, SystemTime};

use crate::api::audit::{Audit, AuditCounts, AuditRecord};

/// How many records may wait to be written.
const MOST_WAITING: usize = 8192;
/// How many bytes they may have together.
const MOST_BYTES: usize = 16 << 20;
/// How many bytes are written at a time.
const MOST_WRITTEN: usize = 64 << 10;
/// How long after a loss it is tried again to tell it, where no record comes.
const TELL_AFTER: Duration = Duration::from_secs(1);
/// How long the writer rests once nothing is left to write: a record is that much later at the most.
const REST: Duration = Duration::from_millis(5);
/// How long the last records may take to be written at the end.
const LAST: Duration = Duration::from_secs(5);

/// Writes records as lines of JSON, in ASCII, to a file or to standard error.
///
/// A request never waits for it: records wait in a queue of at most 8,192 records and 16 MiB. What
/// does not fit, or cannot be written, is counted, and told in the trail by a record of its own,
/// `{"time": …, "lost": 3, "failed": 0}`, as soon as it can be written.
pub struct AuditLog {
    queue: RwLock<Option<SyncSender<String>>>,
    shared: Arc<Shared>,
    ended: Mutex<Receiver<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting_bytes: AtomicUsize,
    reopens: AtomicBool,
    written: AtomicU64,
    lost: AtomicU64,
    failed: AtomicU64,
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
        let (queue, records) = sync_channel(MOST_WAITING);
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
            writer.run(&records);
            // Nobody may wait for it.
            let _ = end.send(());
        })?;
        Ok(Self {
            queue: RwLock::new(Some(queue)),
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
        let queue = self
            .queue
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if queue.is_some() {
            drop(queue);
            let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
            if ended.recv_timeout(LAST).is_err() {
                tracing::error!("the last records of the audit trail could not be written in time");
            }
        }
    }
}

impl Audit for AuditLog {
    fn record(&self, record: &AuditRecord<'_>) {
        let Ok(line) = serde_json::to_string(record) else {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let line = ascii(line);
        let size = line.len();
        let waiting = &self.shared.waiting_bytes;
        let fits = waiting.fetch_add(size, Ordering::Relaxed) + size <= MOST_BYTES;
        let queue = self.queue.read().unwrap_or_else(PoisonError::into_inner);
        let is_taken = fits
            && queue
                .as_ref()
                .is_some_and(|queue| queue.try_send(line).is_ok());
        drop(queue);
        if !is_taken {
            waiting.fetch_sub(size, Ordering::Relaxed);
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
    fn run(&mut self, records: &Receiver<String>) {
        loop {
            let first = if self.losses() == self.told {
                records.recv().map_err(RecvTimeoutError::from)
            } else {
                records.recv_timeout(TELL_AFTER)
            };
            let first = match first {
                Ok(first) => first,
                Err(RecvTimeoutError::Timeout) => {
                    self.tell_losses();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let (mut text, mut number) = (String::new(), 0);
            let mut next = Some(first);
            while let Some(line) = next {
                self.shared
                    .waiting_bytes
                    .fetch_sub(line.len(), Ordering::Relaxed);
                text.push_str(&line);
                text.push('\n');
                number += 1;
                next = if text.len() < MOST_WRITTEN {
                    records.try_recv().ok()
                } else {
                    None
                };
            }
            if self.shared.reopens.swap(false, Ordering::AcqRel) {
                self.reopen();
            }
            self.tell_losses();
            let written = self.write(text.as_bytes());
            self.shared.written.fetch_add(written, Ordering::Relaxed);
            let failed = number - written.min(number);
            self.shared.failed.fetch_add(failed, Ordering::Relaxed);
            // Who is not waiting need not be woken, which costs each request more than its record.
            if text.len() < MOST_WRITTEN {
                thread::sleep(REST);
            }
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
        let lines = written.iter().filter(|byte| **byte == b'\n').count();
        (u64::try_from(lines).unwrap_or(u64::MAX), failure)
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// JSON in ASCII: what a terminal would act on, such as marks of direction, is shown as it is named.
pub(crate) fn ascii(json: String) -> String {
    let is_plain = |byte: u8| byte.is_ascii() && byte != b'\x7f';
    if json.bytes().all(is_plain) {
        return json;
    }
    let mut text = String::with_capacity(json.len() + 1);
    for character in json.chars() {
        if character.is_ascii() && character != '\x7f' {
            text.push(character);
        } else {
            // Outside of strings JSON has none.
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(text, "\\u{unit:04x}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::ascii;

    #[test]
    fn lines_are_ascii() {
        let json = serde_json::to_string("a\u{202e}\u{7f}é😀\n").unwrap();
        let line = ascii(json);
        assert_eq!(line, r#""a\u202e\u007f\u00e9\ud83d\ude00\n""#);
        let back: String = serde_json::from_str(&line).unwrap();
        assert_eq!(back, "a\u{202e}\u{7f}é😀\n");
    }
}
