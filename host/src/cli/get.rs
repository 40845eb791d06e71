//! `keyref get`: one secret, which is what was asked for.

use anyhow::{Result, bail};
use keyref::stores::SecretRequest;
use keyref::suggest;
use zeroize::Zeroizing;

use super::arguments::{Format, GetArguments, Global};
use super::{Status, diagnostics, json, output, session};

pub(super) async fn run(global: &Global, arguments: &GetArguments) -> Result<Status> {
    let Ok(mut session) = session::open(global, &arguments.resources)? else {
        return Ok(Status::Fault);
    };
    let documents = std::mem::take(&mut session.documents);
    let (resolver, problems) = session
        .resolver
        .with_stores_of(documents, &session.context)
        .await;
    let request = SecretRequest::new(&arguments.secret);
    let work = resolver.get(&arguments.name, request, &session.context);
    let secret = match session::wait(global, "reading", work).await {
        Ok(secret) => secret,
        Err(error) => {
            diagnostics::print(&problems, &session.sources, global);
            diagnostics::print_secret_error(&error, global);
            return Ok(session::status_of(error.class));
        }
    };
    if let Some(key) = &arguments.key {
        let Some(value) = secret.get(key) else {
            let hint = suggest::among("keys", key, secret.keys());
            bail!("secret `{}` has no key `{key}`; {hint}", arguments.secret);
        };
        // Revealed because it was asked for by name; bytes as they are, without a line break.
        output::data(value.reveal())?;
        return Ok(Status::Done);
    }
    let keys = json::secret(&secret).map_err(|key| {
        anyhow::anyhow!("the value of key `{key}` is not text: name the key to get its bytes")
    })?;
    match arguments.format {
        Format::Json => output::json(&keys)?,
        Format::Yaml => output::yaml(&keys)?,
        Format::Text => {
            let mut out = Zeroizing::new(String::new());
            for (key, value) in keys {
                out.push_str(&format!("{key}={value}\n"));
            }
            output::data(out.as_bytes())?;
        }
    }
    Ok(Status::Done)
}
