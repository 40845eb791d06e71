//! The audit trail of a server: `--audit-log`.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use keyref::api::{Audit, AuditLog};
use tokio::signal::unix::{SignalKind, signal};

/// The trail, if there is one. What is waiting is written when it is dropped.
pub(super) struct Trail(Option<Arc<AuditLog>>);

impl Trail {
    /// Opens the file, and opens it again at each SIGHUP.
    pub(super) fn open(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else {
            return Ok(Self(None));
        };
        let opened = if path.as_os_str() == "-" {
            AuditLog::standard_error()
        } else {
            AuditLog::file(path)
        };
        let opened = opened.with_context(|| {
            let path = path.display();
            format!("failed to open the audit log `{path}`")
        })?;
        let log = Arc::new(opened);
        let mut hang_ups = signal(SignalKind::hangup()).context("failed to listen for signals")?;
        let reopened = Arc::clone(&log);
        tokio::spawn(async move {
            while hang_ups.recv().await.is_some() {
                reopened.reopen();
            }
        });
        Ok(Self(Some(log)))
    }

    /// For the server.
    pub(super) fn audit(&self) -> Option<Arc<dyn Audit>> {
        let log = self.0.clone()?;
        Some(log)
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        if let Some(log) = &self.0 {
            log.finish();
        }
    }
}
