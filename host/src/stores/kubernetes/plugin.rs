//! Runs the program that an operator's kubeconfig names, which prints credentials.

use std::io::{self, IsTerminal as _};
use std::path::Path;
use std::process::Stdio;

use k8s_openapi::jiff::Timestamp;
use kube::config::{ExecConfig, ExecInteractiveMode};
use serde::Deserialize;
use serde_json::json;
use tokio::process::Command;
use zeroize::Zeroizing;

use super::credentials::{self, Credentials};
use crate::stores::StoreError;

/// What a plugin prints.
#[derive(Deserialize)]
struct ExecCredential {
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    token: Option<String>,
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
    expiration_timestamp: Option<Timestamp>,
}

/// Runs a plugin and adds the credentials that it prints.
///
/// What else it prints is shown to nobody, but where it may talk to its user it has the terminal.
pub(super) async fn run(
    plugin: &ExecConfig,
    credentials: &mut Credentials,
) -> Result<(), StoreError> {
    let printed = printed(plugin).await?;
    let none = || failed(plugin, "printed no credentials");
    let ExecCredential { status } = serde_json::from_slice(&printed).map_err(|_| none())?;
    let token = status.token.map(Zeroizing::new);
    let key = status.client_key_data.map(Zeroizing::new);
    let certificate = status.client_certificate_data.zip(key);
    if token.is_none() && certificate.is_none() {
        return Err(none());
    }
    if let Some((chain, key)) = certificate {
        credentials.identity = Some(credentials::identity(chain.as_bytes(), key.as_bytes())?);
    }
    if let Some(token) = token {
        credentials.set_token(&token)?;
    }
    credentials.valid_until = status.expiration_timestamp;
    Ok(())
}

async fn printed(plugin: &ExecConfig) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    let is_interactive =
        plugin.interactive_mode != Some(ExecInteractiveMode::Never) && io::stdin().is_terminal();
    if plugin.interactive_mode == Some(ExecInteractiveMode::Always) && !is_interactive {
        return Err(failed(plugin, "needs a terminal"));
    }
    let terminal = || {
        if is_interactive {
            Stdio::inherit()
        } else {
            Stdio::null()
        }
    };
    let request = json!({
        "apiVersion": plugin.api_version,
        "kind": "ExecCredential",
        "spec": { "interactive": is_interactive, "cluster": plugin.cluster },
    });
    let variables = plugin.env.iter().flatten();
    let child = Command::new(plugin.command.as_deref().unwrap_or_default())
        .args(plugin.args.iter().flatten())
        .envs(variables.filter_map(|named| Some((named.get("name")?, named.get("value")?))))
        .env("KUBERNETES_EXEC_INFO", request.to_string())
        .stdin(terminal())
        .stderr(terminal())
        .stdout(Stdio::piped())
        // When the caller no longer waits.
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(plugin, &format!("cannot be run: {}", error.kind())))?;
    let output = child
        .wait_with_output()
        .await
        .map_err(|_| failed(plugin, "was lost"))?;
    let printed = Zeroizing::new(output.stdout);
    if output.status.success() {
        Ok(printed)
    } else {
        Err(failed(plugin, &format!("failed with {}", output.status)))
    }
}

fn failed(plugin: &ExecConfig, what: &str) -> StoreError {
    // Its arguments can hold a password.
    let command = Path::new(plugin.command.as_deref().unwrap_or_default());
    let name = command.file_name().unwrap_or_default().to_string_lossy();
    StoreError::misconfigured(format!("the kubeconfig's plugin `{name}` {what}"))
        .with_hint("`kubectl auth whoami` runs it too, and shows what it says")
}
