//! A server that is ready, and the app that it has started, until both have ended.

use std::time::Duration;

use keyref::api::{Ending, Handle};
use rustix::process::Signal;
use tokio::task::{JoinError, JoinHandle};

use super::Status;
use super::app_process::AppProcess;
use super::arguments::ServeArguments;
use super::reloading::Reloading;
use super::signals::{AppSignals, EndSignals, Signals};
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

    /// Serves, and takes over what changes, until a signal, a caller or the app's end ends it, and
    /// all has ended: what is served until then counts as it is said to.
    pub(super) async fn until_end(
        self,
        signals: Signals,
        reloading: &mut Reloading<'_>,
        watch: &mut Watch,
    ) -> Status {
        let Self {
            mut serving,
            handle,
            mut app,
            times,
        } = self;
        let (mut end_signals, mut app_signals) = (signals.end, signals.app);
        let mut hang_up = signals.hang_up;
        let mut reloading = std::pin::pin!(reloading.run(watch, &mut hang_up));
        let cause = tokio::select! {
            cause = serve(&mut serving, &mut end_signals, &mut app_signals, &mut app) => cause,
            never = reloading.as_mut() => match never {},
        };
        let is_signal = matches!(cause, Cause::Signal(_));
        let ending = end(cause, &mut serving, &handle, app, times);
        let second_signal = async {
            if !is_signal {
                end_signals.recv().await;
            }
            end_signals.recv().await;
        };
        tokio::select! {
            status = ending => return status,
            // The app, dropped, is killed.
            () = second_signal => {}
            never = reloading => match never {},
        }
        handle.end_now();
        if !serving.is_finished() {
            drop(serving.await);
        }
        Status::Fault
    }
}

/// Serves until something ends it.
async fn serve(
    serving: &mut JoinHandle<Ending>,
    end_signals: &mut EndSignals,
    app_signals: &mut AppSignals,
    app: &mut Option<AppProcess>,
) -> Cause {
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
            signal = end_signals.recv() => return Cause::Signal(signal),
            signal = app_signals.recv() => if let Some(app) = app {
                app.signal(signal);
            },
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
