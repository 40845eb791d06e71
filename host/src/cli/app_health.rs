//! Flags about the app's health, as `daprd` has them.

use std::time::Duration;

use clap::Args;
use keyref::api::AppHealthCheck;

/// Whether and how the app is asked for its health. As in Dapr, numbers below the least stand for the
/// default.
#[derive(Debug, Args)]
pub(super) struct AppHealthArguments {
    /// Ask the app for its health once it listens on its port
    ///
    /// While it is unhealthy it is told nothing, and the end of the server is not put off for it.
    #[arg(long)]
    enable_app_health_check: bool,
    /// The path that an app over HTTP answers with a status of 200 to 299 while it is healthy
    #[arg(long, value_name = "PATH", default_value = "/healthz")]
    app_health_check_path: String,
    /// How often the app is asked
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    app_health_probe_interval: i64,
    /// How long its answer may take
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 500)]
    app_health_probe_timeout: i64,
    /// How many answers in a row make it unhealthy
    #[arg(long, value_name = "NUMBER", default_value_t = 3)]
    app_health_threshold: i64,
}

impl AppHealthArguments {
    /// How the app is asked, if at all.
    ///
    /// # Errors
    /// Fails, in Dapr's words, where an answer may take longer than until the next question.
    pub(super) fn check(&self) -> Result<Option<AppHealthCheck>, &'static str> {
        let positive = |number: i64| u64::try_from(number).ok().filter(|number| *number > 0);
        let mut check = AppHealthCheck::default();
        check.path.clone_from(&self.app_health_check_path);
        if let Some(seconds) = positive(self.app_health_probe_interval) {
            check.interval = Duration::from_secs(seconds);
        }
        if let Some(milliseconds) = positive(self.app_health_probe_timeout) {
            check.timeout = Duration::from_millis(milliseconds);
        }
        let threshold = positive(self.app_health_threshold);
        if let Some(threshold) = threshold.and_then(|number| u32::try_from(number).ok()) {
            check.threshold = threshold;
        }
        if check.timeout > check.interval {
            return Err(
                "value for 'health-probe-timeout' must be smaller than 'health-probe-interval'",
            );
        }
        Ok(self.enable_app_health_check.then_some(check))
    }
}
