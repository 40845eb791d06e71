//! `keyref completions`: what a shell needs to complete commands.

use anyhow::Result;
use clap::CommandFactory as _;

use super::arguments::{Cli, CompletionsArguments};
use super::{Status, output};

pub(super) fn run(arguments: &CompletionsArguments) -> Result<Status> {
    let mut out = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "keyref", &mut out);
    output::data(&out)?;
    Ok(Status::Done)
}
