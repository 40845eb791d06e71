//! What is given to be loaded.

use std::fmt;
use std::sync::Arc;

/// A text to load.
///
/// `Debug` shows its name and length alone: people paste passwords.
#[derive(Clone)]
#[non_exhaustive]
pub struct Document {
    /// The name to report in problems, a path for instance.
    pub name: Arc<str>,
    /// The text: YAML, any number of parts between lines of `---`.
    pub text: Vec<u8>,
}

impl Document {
    /// A text with a name.
    pub fn new(name: impl Into<Arc<str>>, text: impl Into<Vec<u8>>) -> Self {
        Self {
            name: name.into(),
            text: text.into(),
        }
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document")
            .field("name", &self.name)
            .field("bytes", &self.text.len())
            .finish_non_exhaustive()
    }
}
