//! The command line: flags into settings, settings into a session, one file for each verb.
//!
//! Standard output is data alone; problems, logs and progress go to standard error. The exit
//! status is 0 where all is done, 1 where documents, policy or secrets are at fault, 2 for wrong
//! usage and defects.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser as _, error::ErrorKind};

mod app_health;
mod app_process;
mod arguments;
mod bulk;
mod caching;
mod check;
mod completions;
mod configurations;
mod counts;
mod daprd;
mod diagnostics;
mod documents;
mod findings;
mod get;
mod given;
mod inputs;
mod inspect;
mod json;
mod listen_host;
mod loading;
mod log;
mod mask;
mod output;
mod own_variables;
mod quantity;
mod reading;
mod refusal;
mod reloading;
mod resolve;
mod running;
mod sarif;
mod serve;
mod session;
mod signals;
mod stores;
mod trail;
mod wait;
mod waiting;
mod watch;
mod yaml;

use self::arguments::{Cli, DropIn, ServeArguments, Serving, Verb};
use self::daprd::{Invocation, Question};

/// How a command ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Status {
    /// All is done.
    Done,
    /// Documents, policy or secrets are at fault.
    Fault,
    /// A defect.
    Defect,
    /// As the app did that was started, or as shells have it where one cannot be.
    App(u8),
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(match status {
            Status::Done => 0,
            Status::Fault => 1,
            Status::Defect => 2,
            Status::App(status) => status,
        })
    }
}

/// Runs the command that the process was started with.
pub(crate) fn run() -> ExitCode {
    let Invocation {
        arguments,
        without_meaning,
        question,
    } = match Invocation::of(std::env::args_os().collect()) {
        Ok(invocation) => invocation,
        Err(error) => return misused(&error),
    };
    let mut cli = match Cli::try_parse_from(arguments) {
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
    if let Verb::Serve(arguments) = &mut cli.verb {
        cli.global.counts = cli.global.stats.then(Arc::default);
        arguments.drop_in = without_meaning.map(|without_meaning| DropIn { without_meaning });
        if let Some(question) = question {
            return answer(question, arguments, cli.global.timeout);
        }
        cli.global.serving = Serving {
            variables: own_variables::of(&cli.global, arguments),
            ignores_http_pipeline: arguments.left_out.ignore_http_pipeline,
        };
    }
    let tell = if let Verb::Serve(arguments) = &cli.verb {
        if let Err(error) = log::start(&cli.global, arguments) {
            return misused(&error);
        }
        log::usage_error
    } else {
        output::start_log(cli.global.verbose, cli.global.quiet);
        output::usage_error
    };
    match dispatch(cli) {
        Ok(status) => status.into(),
        Err(error) => {
            tell(&error);
            ExitCode::from(2)
        }
    }
}

fn misused(error: &anyhow::Error) -> ExitCode {
    output::usage_error(error);
    ExitCode::from(2)
}

/// What `daprd` answers without serving.
fn answer(question: Question, arguments: &ServeArguments, timeout: Option<u64>) -> ExitCode {
    let (dapr, keyref) = (keyref::api::DAPR_VERSION, env!("CARGO_PKG_VERSION"));
    let text = match question {
        Question::Version => format!("{dapr}\n"),
        Question::BuildInfo => {
            format!("Version: {dapr}\nGit Commit: none\nGit Version: keyref {keyref}\n")
        }
        Question::Wait => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            return match runtime {
                Ok(runtime) => {
                    let patience = timeout.map_or(wait::PATIENCE, Duration::from_secs);
                    let waiting = wait::run(arguments.dapr_http_port, patience);
                    runtime.block_on(waiting).into()
                }
                Err(error) => misused(&error.into()),
            };
        }
    };
    match output::data(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => misused(&error.into()),
    }
}

/// How many threads answer requests. More than there are processors left hold each other up: what one
/// of them has begun waits until it has its turn again.
fn worker_threads(given: Option<u16>, processors: usize) -> usize {
    given.map_or(processors / 2, usize::from).max(1)
}

fn dispatch(cli: Cli) -> anyhow::Result<Status> {
    let Cli { global, verb } = cli;
    let mut runtime = match &verb {
        // Answers many at a time.
        Verb::Serve(arguments) => {
            let mut runtime = tokio::runtime::Builder::new_multi_thread();
            let processors = std::thread::available_parallelism().map_or(1, usize::from);
            runtime.worker_threads(worker_threads(arguments.worker_threads, processors));
            runtime
        }
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

#[cfg(test)]
mod tests {
    use super::worker_threads;

    #[test]
    fn half_of_the_processors_answer_unless_it_is_said_otherwise() {
        let defaults = [1, 2, 3, 4, 64].map(|processors| worker_threads(None, processors));
        assert_eq!(defaults, [1, 1, 1, 2, 32]);
        assert_eq!(worker_threads(Some(3), 1), 3);
    }
}
