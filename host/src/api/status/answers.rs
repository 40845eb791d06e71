//! How configuration stores have answered. Secret stores are asked in one place, which takes note
//! itself.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use crate::configuration::ConfigurationStore;
use crate::error::Class;
use crate::health::{Health, Recorder};

/// By the name of the store.
#[derive(Debug, Default)]
pub(crate) struct Answers(Mutex<HashMap<String, Arc<Recorder>>>);

impl Answers {
    /// Begins anew for what is another store now.
    pub(crate) fn load(
        &self,
        before: &BTreeMap<String, Arc<dyn ConfigurationStore>>,
        now: &BTreeMap<String, Arc<dyn ConfigurationStore>>,
    ) {
        let is_kept = |name: &str| {
            let both = before.get(name).zip(now.get(name));
            both.is_some_and(|(before, now)| Arc::ptr_eq(before, now))
        };
        let mut recorders = self.lock();
        recorders.retain(|name, _| is_kept(name));
        for name in now.keys().filter(|name| !is_kept(name)) {
            recorders.insert(name.clone(), Arc::default());
        }
    }

    /// A store was asked. One that is not loaded any more is nobody's concern.
    pub(crate) fn note(&self, store: &str, begin: Instant, failure: Option<Class>) {
        let recorder = self.lock().get(store).cloned();
        if let Some(recorder) = recorder {
            recorder.ask(begin).ends(begin.elapsed(), failure);
        }
    }

    /// How a store has answered.
    pub(crate) fn health(&self, store: &str) -> Option<Health> {
        let recorder = self.lock().get(store).cloned()?;
        Some(recorder.health())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Recorder>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
