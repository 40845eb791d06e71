//! What happens where Dapr goes on silently.

/// What happens where Dapr goes on silently.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Mode {
    /// A reference that cannot be resolved is an error.
    #[default]
    Strict,
    /// Dapr's own outcome: it leaves the literal or an empty string, and says so in a warning.
    Dapr,
}
