//! When what is served was loaded, and what came of reading it again.

use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use tokio::time::Instant;

use crate::problem::Problem;

/// How many problems of one reload are kept.
const MOST_PROBLEMS: usize = 200;

/// What came of reading again what is served.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Reload {
    /// All of it is served.
    Whole,
    /// What is broken is served as it was before.
    Partial,
    /// Everything is served as it was before.
    Failed,
}

impl Reload {
    /// `whole`, `partial` or `failed`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Partial => "partial",
            Self::Failed => "failed",
        }
    }
}

/// A reload.
#[derive(Clone, Debug)]
pub(crate) struct Reloaded {
    pub(crate) time: SystemTime,
    pub(crate) outcome: Reload,
    /// What is wrong with what was read, and so was not taken over.
    pub(crate) problems: Vec<Problem>,
    /// How many more there were.
    pub(crate) more_problems: usize,
}

/// When something was loaded last, and what came of reading it again.
pub(crate) type Last = (Option<SystemTime>, Option<Reloaded>);

/// When what is served was loaded.
#[derive(Debug)]
pub(crate) struct History {
    pub(crate) started: SystemTime,
    pub(crate) begin: Instant,
    last: Mutex<Last>,
}

impl Default for History {
    fn default() -> Self {
        Self {
            started: SystemTime::now(),
            begin: Instant::now(),
            last: Mutex::default(),
        }
    }
}

impl History {
    /// Something is loaded.
    pub(crate) fn load(&self) {
        self.lock().0 = Some(SystemTime::now());
    }

    /// Files were read again.
    pub(crate) fn reload(&self, outcome: Reload, problems: &[Problem]) {
        let more_problems = problems.len().saturating_sub(MOST_PROBLEMS);
        let problems = problems.iter().take(MOST_PROBLEMS).cloned();
        self.lock().1 = Some(Reloaded {
            time: SystemTime::now(),
            outcome,
            problems: problems.collect(),
            more_problems,
        });
    }

    /// When something was loaded last, and what came of reading it again.
    pub(crate) fn last(&self) -> Last {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
