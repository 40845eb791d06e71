//! The command line: flags into settings, settings into a session, one file for each verb.
//!
//! Standard output is data alone; problems, logs and progress go to standard error. The exit
//! status is 0 where all is done, 1 where documents, policy or secrets are at fault, 2 for wrong
//! usage and defects.

use std::process::ExitCode;

use clap::{Parser as _, error::ErrorKind};

mod arguments;
mod bulk;
mod check;
mod completions;
mod configurations;
mod diagnostics;
mod documents;
mod get;
mod given;
mod inputs;
mod inspect;
mod json;
mod loading;
mod log;
mod mask;
mod output;
mod reading;
mod reloading;
mod resolve;
mod sarif;
mod serve;
mod session;
mod stores;
mod trail;
mod waiting;
mod yaml;

use self::arguments::{Cli, Verb};

/// How a command ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Status {
    /// All is done.
    Done,
    /// Documents, policy or secrets are at fault.
    Fault,
    /// A defect.
    Defect,
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(match status {
            Status::Done => 0,
            Status::Fault => 1,
            Status::Defect => 2,
        })
    }
}

/// Runs the command that the process was started with.
pub(crate) fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let asked = matches!(
                error.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
            );
            // Where nobody reads it there is nobody to tell.
            drop(error.print());
            return ExitCode::from(if asked { 0 } else { 2 });
        }
    };
    match &cli.verb {
        Verb::Serve(arguments) => log::start(arguments, cli.global.app_id.as_deref()),
        _ => output::start_log(cli.global.verbose, cli.global.quiet),
    }
    match dispatch(cli) {
        Ok(status) => status.into(),
        Err(error) => {
            output::usage_error(&error);
            ExitCode::from(2)
        }
    }
}

fn dispatch(cli: Cli) -> anyhow::Result<Status> {
    let Cli { global, verb } = cli;
    let mut runtime = match verb {
        // Answers many at a time.
        Verb::Serve(_) => tokio::runtime::Builder::new_multi_thread(),
        _ => tokio::runtime::Builder::new_current_thread(),
    };
    let runtime = runtime.enable_all().build()?;
    let status = runtime.block_on(async {
        match verb {
            Verb::Resolve(arguments) => resolve::run(&global, &arguments).await,
            Verb::Check(arguments) => check::run(&global, &arguments).await,
            Verb::Inspect(arguments) => inspect::run(&global, &arguments).await,
            Verb::Get(arguments) => get::run(&global, &arguments).await,
            Verb::Bulk(arguments) => bulk::run(&global, &arguments).await,
            Verb::Stores(arguments) => stores::run(&global, &arguments).await,
            Verb::Serve(arguments) => serve::run(&global, &arguments).await,
            Verb::Completions(arguments) => completions::run(&arguments),
        }
    });
    // What a store was given up for, such as looking up a name, is not waited for.
    runtime.shutdown_background();
    status
}
