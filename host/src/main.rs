//! The command `keyref`: resolves, checks and inspects Dapr manifests, and reads their stores.

use std::process::ExitCode;

mod cli;

fn main() -> ExitCode {
    cli::run()
}
