//! Whose server it is.

use std::path::PathBuf;

use crate::api::app::AppHealthCheck;

/// Whose server this is, and how it reaches the app.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Identity {
    /// The app id.
    pub app_id: String,
    /// The namespace, for stores that read by namespace.
    pub namespace: Option<String>,
    /// The app's port, if it has one.
    pub app_port: Option<u16>,
    /// What the app speaks there: `http`, `https`, `h2c`, `grpc` or `grpcs`.
    pub app_protocol: String,
    /// The host that the app listens on.
    pub app_host: String,
    /// The authorities, in PEM, of which one must have signed the app's certificate, where it speaks
    /// `https` or `grpcs`. Without them those of the operating system count, or on this machine any
    /// certificate is accepted.
    pub app_authorities: Option<PathBuf>,
    /// How the app is asked for its health; not at all.
    pub app_health: Option<AppHealthCheck>,
}

impl Identity {
    /// An app without a port.
    pub fn new(app_id: impl Into<String>) -> Self {
        Self {
            app_id: app_id.into(),
            namespace: None,
            app_port: None,
            app_protocol: "http".to_owned(),
            app_host: "127.0.0.1".to_owned(),
            app_authorities: None,
            app_health: None,
        }
    }
}
