//! Tokens: what callers must send, and what the app asks for.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use http::HeaderValue;
use subtle::{Choice, ConstantTimeEq as _};
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::api::looks::{LOOK_EVERY, Looks};
use crate::secret::SecretValue;

/// How many bytes a file of tokens may have.
const MOST_BYTES: u64 = 64 << 10;

/// A token, or those that a file holds at the time. Cheap to clone; clones stay the same.
#[derive(Clone, Debug)]
pub struct Token(Arc<Tokens>);

#[derive(Debug)]
struct Tokens {
    path: Option<PathBuf>,
    /// None where the file has become unfit: then no caller is admitted.
    values: watch::Sender<Vec<SecretValue>>,
}

/// Why there is no token in a file.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct TokenError(String);

impl From<SecretValue> for Token {
    fn from(value: SecretValue) -> Self {
        Self(Arc::new(Tokens {
            path: None,
            values: watch::Sender::new(vec![value]),
        }))
    }
}

impl From<&str> for Token {
    fn from(value: &str) -> Self {
        SecretValue::from(value).into()
    }
}

impl Token {
    /// Reads tokens from a file, one on each line, and reads it again whenever it changes. A caller
    /// may send any of them, so that a new one can be handed out before the old one ends; the app
    /// is sent the first. Where the file becomes empty, or goes away, no caller is admitted.
    ///
    /// # Errors
    /// Fails where the file cannot be read, holds no token, or one that cannot be sent in a header.
    ///
    /// # Panics
    /// Panics outside a tokio runtime.
    pub fn file(path: impl Into<PathBuf>) -> Result<Self, TokenError> {
        let path = path.into();
        let values = watch::Sender::new(read(&path)?);
        let tokens = Arc::new(Tokens {
            path: Some(path),
            values,
        });
        tokio::spawn(look(Arc::downgrade(&tokens)));
        Ok(Self(tokens))
    }

    /// Whether this is the token, or one of them. How long that takes tells nothing of how much of
    /// it is right.
    pub(crate) fn is(&self, sent: &[u8]) -> bool {
        is_any(&self.0.values.borrow(), sent)
    }

    /// Waits until this is not the token, or none of them.
    pub(crate) async fn is_no_longer(&self, sent: &[u8]) {
        let mut values = self.0.values.subscribe();
        // The sender is there for as long as this is.
        drop(values.wait_for(|values| !is_any(values, sent)).await);
    }

    /// The first token, for a caller that this process starts; nothing where there is none.
    pub fn first(&self) -> Option<SecretValue> {
        let values = self.0.values.borrow();
        values.first().cloned()
    }

    /// The first token as a header, that logs do not show; nothing where there is none.
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        let values = self.0.values.borrow();
        // Sent to the app, which asks for it.
        let mut header = HeaderValue::from_bytes(values.first()?.reveal()).ok()?;
        header.set_sensitive(true);
        Some(header)
    }
}

fn is_any(values: &[SecretValue], sent: &[u8]) -> bool {
    // Compared with what a caller sent, and shown to nobody.
    let same = values.iter().map(|value| value.reveal().ct_eq(sent));
    same.fold(Choice::from(0), |any, same| any | same).into()
}

/// Looks at a file of tokens until nobody has it any more.
async fn look(tokens: Weak<Tokens>) {
    let mut looks = Looks::default();
    let mut told = None;
    loop {
        let Some(tokens) = tokens.upgrade() else {
            return;
        };
        let Some(path) = tokens.path.clone() else {
            return;
        };
        // Reading can wait for a disk far away.
        let looking = tokio::task::spawn_blocking(move || {
            let look = looks.look([path.as_path()]);
            let read = look.is_changed().then(|| read(&path));
            (looks, look, read)
        });
        let Ok((looked, look, read)) = looking.await else {
            return;
        };
        looks = looked;
        let values = match read {
            Some(Ok(values)) => {
                told = None;
                Some(values)
            }
            // A file that is being written is empty for a moment.
            Some(Err(error)) if look.is_settled() => {
                if told.as_ref() != Some(&error) {
                    tracing::error!("nobody is admitted: {error}");
                    told = Some(error);
                }
                Some(Vec::new())
            }
            None | Some(Err(_)) => None,
        };
        if let Some(values) = values {
            tokens.values.send_replace(values);
        }
        drop(tokens);
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn read(path: &Path) -> Result<Vec<SecretValue>, TokenError> {
    let shown = path.display();
    let failed = |error: std::io::Error| {
        let reason = error.kind();
        TokenError(format!("failed to read the token in `{shown}`: {reason}"))
    };
    // Opening a pipe would wait for who writes it, and it could not be read again.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(TokenError(format!("`{shown}` is not a file")));
    }
    let mut text = Zeroizing::new(Vec::new());
    let file = File::open(path).map_err(failed)?;
    file.take(MOST_BYTES + 1)
        .read_to_end(&mut text)
        .map_err(failed)?;
    let most = usize::try_from(MOST_BYTES).unwrap_or(usize::MAX);
    if text.len() > most {
        let message = format!("`{shown}` has more than {MOST_BYTES} bytes");
        return Err(TokenError(message));
    }
    let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let mut values = Vec::new();
    for (number, line) in lines.enumerate().filter(|(_, line)| !line.is_empty()) {
        if HeaderValue::from_bytes(line).is_err() {
            let number = number + 1;
            let message = format!("line {number} of `{shown}` cannot be sent in a header");
            return Err(TokenError(message));
        }
        values.push(SecretValue::new(line));
    }
    if values.is_empty() {
        return Err(TokenError(format!("`{shown}` holds no token")));
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::{Token, read};

    const PATIENCE: Duration = Duration::from_secs(10);

    fn file() -> std::path::PathBuf {
        std::env::temp_dir().join(format!("keyref-{}.token", uuid::Uuid::new_v4()))
    }

    #[test]
    fn a_file_without_a_token_is_none() {
        let file = file();
        for (text, reason) in [
            (None, "entity not found"),
            (Some(&b""[..]), "holds no token"),
            (Some(b"\n \r\n"), "holds no token"),
            (Some(b"fine\nt0k\x00en"), "line 2 "),
        ] {
            if let Some(text) = text {
                fs::write(&file, text).unwrap();
            }
            let error = read(&file).unwrap_err().to_string();
            assert!(error.contains(reason) && !error.contains("t0k"), "{error}");
        }
        // A pipe is not waited for, and neither is anything else that is no file.
        let error = read(std::path::Path::new("/dev/null")).unwrap_err();
        assert_eq!(error.to_string(), "`/dev/null` is not a file");
        fs::remove_file(&file).unwrap();
    }

    #[tokio::test]
    async fn a_token_changes_with_its_file_and_without_one_nobody_is_admitted() {
        let file = file();
        fs::write(&file, "old\r\n").unwrap();
        let token = Token::file(&file).unwrap();
        assert!(token.is(b"old") && !token.is(b"old\r") && !token.is(b""));
        let until = async |is_met: &dyn Fn() -> bool| {
            let waiting = async {
                while !is_met() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::time::timeout(PATIENCE, waiting).await.unwrap();
        };
        fs::write(&file, "new\nold").unwrap();
        until(&|| token.is(b"new")).await;
        assert!(token.is(b"old"));
        assert_eq!(token.header().unwrap(), "new");
        fs::write(&file, "new").unwrap();
        until(&|| !token.is(b"old")).await;
        assert!(token.is(b"new"));
        fs::write(&file, "").unwrap();
        until(&|| !token.is(b"new")).await;
        assert!(!token.is(b"") && token.header().is_none());
        fs::write(&file, "newer").unwrap();
        until(&|| token.is(b"newer")).await;
        fs::remove_file(&file).unwrap();
        until(&|| !token.is(b"newer")).await;
    }
}
