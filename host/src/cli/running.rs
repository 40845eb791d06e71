//! A server that is ready, and the app that it has started, until both have ended.

use std::time::Duration;

use keyref::api::{Ending, Handle};
use rustix::process::Signal;
use tokio::task::{JoinError, JoinHandle};

use super::Status;
use super::app_process::AppProcess;
use super::arguments::ServeArguments;
use super::reloading::Reloading;
use super::signals::Signals;
use super::watch::Watch;

/// A server that is ready.
pub(super) struct Running {
    serving: JoinHandle<Ending>,
    handle: Handle,
    app: Option<AppProcess>,
    times: Times,
}

/// How long an end may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// How long to keep serving after a signal.
    block: Duration,
    /// How long what is under way may take, and the app.
    graceful: Duration,
}

/// What ends it all.
enum Cause {
    /// A caller has ended the server.
    Server(Result<Ending, JoinError>),
    /// The app has ended with this status.
    App(u8),
    Signal(Signal),
}

impl Times {
    pub(super) fn of(arguments: &ServeArguments) -> Self {
        Self {
            block: arguments.dapr_block_shutdown_duration,
            graceful: Duration::from_secs(arguments.dapr_graceful_shutdown_seconds),
        }
    }
}

impl Running {
    pub(super) fn new(
        serving: JoinHandle<Ending>,
        handle: Handle,
        app: Option<AppProcess>,
        times: Times,
    ) -> Self {
        Self {
            serving,
            handle,
            app,
            times,
        }
    }

    /// Serves, and takes over what changes, until a signal, a caller or the app's end ends it.
    pub(super) async fn until_end(
        self,
        mut signals: Signals,
        reloading: &mut Reloading<'_>,
        watch: &mut Watch,
    ) -> Status {
        let Self {
            mut serving,
            handle,
            mut app,
            times,
        } = self;
        let reloading = (reloading, watch);
        let cause = serve(&mut serving, &mut signals, &mut app, reloading).await;
        let is_signal = matches!(cause, Cause::Signal(_));
        let ending = end(cause, &mut serving, &handle, app, times);
        let second_signal = async {
            if !is_signal {
                signals.end.recv().await;
            }
            signals.end.recv().await;
        };
        tokio::select! {
            status = ending => return status,
            // The app, dropped, is killed.
            () = second_signal => {}
        }
        handle.end_now();
        if !serving.is_finished() {
            drop(serving.await);
        }
        Status::Fault
    }
}

async fn serve(
    serving: &mut JoinHandle<Ending>,
    signals: &mut Signals,
    app: &mut Option<AppProcess>,
    (reloading, watch): (&mut Reloading<'_>, &mut Watch),
) -> Cause {
    let mut reloading = std::pin::pin!(reloading.run(watch, &mut signals.hang_up));
    loop {
        let app_end = async {
            match app.as_mut() {
                Some(app) => app.wait().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ending = &mut *serving => return Cause::Server(ending),
            status = app_end => return Cause::App(status),
            signal = signals.end.recv() => return Cause::Signal(signal),
            signal = signals.app.recv() => if let Some(app) = app {
                app.signal(signal);
            },
            () = reloading.as_mut() => {}
        }
    }
}

async fn end(
    cause: Cause,
    serving: &mut JoinHandle<Ending>,
    handle: &Handle,
    app: Option<AppProcess>,
    times: Times,
) -> Status {
    let app = match (cause, app) {
        (Cause::Server(ending @ Ok(Ending::Finished | Ending::Late)), Some(mut app)) => {
            app.signal(Signal::TERM);
            return status(ending, Some(app.wait_or_kill(times.graceful).await));
        }
        // The app, dropped, is killed.
        (Cause::Server(ending), _) => return status(ending, None),
        (Cause::App(status), _) => Some(status),
        // It is served while it ends.
        (Cause::Signal(signal), Some(mut app)) => {
            app.pass_on(signal);
            tokio::select! {
                status = app.wait() => Some(status),
                () = put_off(handle, times.block) => Some(app.wait_or_kill(times.graceful).await),
            }
        }
        (Cause::Signal(_), None) => tokio::select! {
            ending = &mut *serving => return status(ending, None),
            () = put_off(handle, times.block) => None,
        },
    };
    tracing::info!("shutting down");
    handle.shut_down();
    status(serving.await, app)
}

/// Puts the end off for this time, or until there is no healthy app to serve.
async fn put_off(handle: &Handle, time: Duration) {
    if time.is_zero() {
        return;
    }
    tracing::info!("serving for {time:?} before the end, or until the app is unhealthy");
    tokio::select! {
        () = tokio::time::sleep(time) => {}
        () = handle.app_is_lost() => tracing::info!("the app is unhealthy: no longer put off"),
    }
}

/// How the command ends: as the app did, where there was one.
fn status(ending: Result<Ending, JoinError>, app: Option<u8>) -> Status {
    if let Ok(Ending::Late) = ending {
        tracing::warn!("requests were still under way at the end");
    }
    match (ending, app) {
        (Ok(Ending::Finished | Ending::Late), Some(status)) => Status::App(status),
        (Ok(Ending::Finished | Ending::Late), None) => Status::Done,
        (Ok(_), _) => Status::Fault,
        (Err(_), _) => Status::Defect,
    }
}
