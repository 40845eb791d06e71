//! What is given to be loaded.

use std::sync::Arc;

/// A text to load.
#[derive(Clone, Debug)]
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
