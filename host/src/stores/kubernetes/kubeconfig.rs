//! Kubeconfigs: which ones are read, and what a context in them leads to.

use std::env;
use std::path::{Path, PathBuf};

use kube::config::{AuthInfo, Cluster, Kubeconfig};

use super::access::CONTEXT;
use super::files;
use crate::env::Environment;
use crate::stores::StoreError;
use crate::suggest;

/// The paths of `KUBECONFIG`, or that in the home folder.
pub(super) fn paths(environment: &Environment) -> Vec<PathBuf> {
    let text = |name| environment.text(name).filter(|text| !text.is_empty());
    match (text("KUBECONFIG"), text("HOME")) {
        (Some(paths), _) => env::split_paths(&paths).collect(),
        (None, Some(home)) => vec![Path::new(&home).join(".kube").join("config")],
        (None, None) => Vec::new(),
    }
}

/// The kubeconfigs of `KUBECONFIG`, merged, or that of the home folder.
pub(super) fn of_environment(environment: &Environment) -> Result<Kubeconfig, StoreError> {
    let paths = paths(environment);
    // As with kubectl, files that do not exist are left out.
    let mut kubeconfigs = paths.iter().filter(|path| path.is_file()).map(|path| {
        let name = format!("the kubeconfig `{}`", path.display());
        read(path, &name)
    });
    let first = kubeconfigs.next().ok_or_else(|| {
        StoreError::misconfigured(
            "no way to an API server is known: there is neither a pod's service account nor a kubeconfig",
        )
            .with_hint("set `kubeconfigPath` or KUBECONFIG to a file that exists")
    })??;
    kubeconfigs.try_fold(first, |merged, kubeconfig| {
        merged.merge(kubeconfig?).map_err(|_| {
            StoreError::misconfigured("the kubeconfigs of KUBECONFIG are of different kinds")
        })
    })
}

/// Reads one kubeconfig. Paths in it are relative to its folder.
pub(super) fn read(path: &Path, name: &str) -> Result<Kubeconfig, StoreError> {
    let bytes = files::read(path, name)?;
    let text = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&bytes);
    let mut kubeconfig = std::str::from_utf8(text)
        .ok()
        .and_then(|text| Kubeconfig::from_yaml(text).ok())
        .ok_or_else(|| StoreError::misconfigured(format!("{name} is not in its format")))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    for cluster in kubeconfig
        .clusters
        .iter_mut()
        .filter_map(|named| named.cluster.as_mut())
    {
        anchor(&mut cluster.certificate_authority, folder);
    }
    for user in kubeconfig
        .auth_infos
        .iter_mut()
        .filter_map(|named| named.auth_info.as_mut())
    {
        anchor(&mut user.client_certificate, folder);
        anchor(&mut user.client_key, folder);
        anchor(&mut user.token_file, folder);
        // A program's name without a slash is looked up in PATH.
        if let Some(plugin) = &mut user.exec
            && plugin
                .command
                .as_ref()
                .is_some_and(|command| command.contains('/'))
        {
            anchor(&mut plugin.command, folder);
        }
    }
    Ok(kubeconfig)
}

fn anchor(path: &mut Option<String>, folder: &Path) {
    if let Some(path) = path.as_mut().filter(|path| !path.is_empty())
        && let Some(anchored) = folder.join(&*path).to_str()
    {
        anchored.clone_into(path);
    }
}

/// What a context leads to: the one that is named, or the kubeconfig's current one.
pub(super) fn choose(
    kubeconfig: Kubeconfig,
    context: Option<&str>,
    is_from_document: bool,
) -> Result<(Cluster, AuthInfo), StoreError> {
    let name = context
        .or(files::given(kubeconfig.current_context.as_ref()))
        .ok_or_else(|| {
            StoreError::misconfigured("the kubeconfig has no current context").with_hint(format!(
                "set `{CONTEXT}`, or `current-context` in the kubeconfig"
            ))
        })?;
    let known = || kubeconfig.contexts.iter().map(|named| named.name.as_str());
    let chosen = kubeconfig.contexts.iter().find(|named| named.name == name);
    let chosen = chosen
        .and_then(|named| named.context.clone())
        .ok_or_else(|| {
            // Neither what a property says nor what else the operator has is a document's to see.
            let mut hint = String::new();
            if !is_from_document {
                hint = suggest::among("known contexts", name, known());
            }
            StoreError::misconfigured("the kubeconfig has no such context").with_hint(hint)
        })?;
    let cluster = kubeconfig
        .clusters
        .into_iter()
        .find(|named| named.name == chosen.cluster)
        .and_then(|named| named.cluster)
        .ok_or_else(|| StoreError::misconfigured("the kubeconfig's context has no cluster"))?;
    let user = match files::given(chosen.user.as_ref()) {
        None => AuthInfo::default(),
        Some(user) => kubeconfig
            .auth_infos
            .into_iter()
            .find(|named| named.name == user)
            .and_then(|named| named.auth_info)
            .ok_or_else(|| StoreError::misconfigured("the kubeconfig's context has no user"))?,
    };
    Ok((cluster, user))
}
