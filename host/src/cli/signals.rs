//! The signals that mean something to a server.

use anyhow::{Context as _, Result};
use rustix::process::Signal as Number;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Those that are listened to.
pub(super) struct Signals {
    pub(super) end: EndSignals,
    pub(super) hang_up: Signal,
    pub(super) app: AppSignals,
}

/// Those that end the server.
pub(super) struct EndSignals {
    terminate: Signal,
    interrupt: Signal,
}

/// Those that are for the app alone, where there is one: quit, user 1 and user 2. Without an app
/// they end the process, as they do others.
pub(super) struct AppSignals(Option<[Signal; 3]>);

impl Signals {
    pub(super) fn listen(has_app: bool) -> Result<Self> {
        let listen = |kind| signal(kind).context("failed to listen for signals");
        let end = EndSignals {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        };
        let hang_up = listen(SignalKind::hangup())?;
        let app = AppSignals(if has_app {
            let quit = listen(SignalKind::quit())?;
            let one = listen(SignalKind::user_defined1())?;
            Some([quit, one, listen(SignalKind::user_defined2())?])
        } else {
            None
        });
        Ok(Self { end, hang_up, app })
    }
}

impl EndSignals {
    /// Waits for one; which it was.
    pub(super) async fn recv(&mut self) -> Number {
        tokio::select! {
            _ = self.terminate.recv() => Number::TERM,
            _ = self.interrupt.recv() => Number::INT,
        }
    }
}

impl AppSignals {
    /// Waits for one; which it was.
    pub(super) async fn recv(&mut self) -> Number {
        let Some([quit, one, two]) = &mut self.0 else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = quit.recv() => Number::QUIT,
            _ = one.recv() => Number::USR1,
            _ = two.recv() => Number::USR2,
        }
    }
}
