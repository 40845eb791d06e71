//! Tests of the parts together.

mod access;
mod requests;

/// What must never be seen outside a value.
const CANARY: &str = "c4n4ry";
