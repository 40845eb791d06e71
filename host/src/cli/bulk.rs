//! `keyref bulk`: every secret of a store that policy allows.

use std::collections::BTreeMap;

use anyhow::Result;
use keyref::stores::BulkRequest;
use zeroize::Zeroizing;

use super::arguments::{BulkArguments, Format, Global};
use super::{Status, diagnostics, json, output, session};

pub(super) async fn run(global: &Global, arguments: &BulkArguments) -> Result<Status> {
    let Ok(mut session) = session::open(global, &arguments.resources)? else {
        return Ok(Status::Fault);
    };
    let documents = std::mem::take(&mut session.documents);
    let (resolver, problems) = session
        .resolver
        .with_stores_of(documents, &session.context)
        .await;
    let work = resolver.bulk(&arguments.name, BulkRequest::default(), &session.context);
    let secrets = match session::wait(global, "reading", work).await {
        Ok(secrets) => secrets,
        Err(error) => {
            diagnostics::print(&problems, &session.sources, global);
            diagnostics::print_secret_error(&error, global);
            return Ok(session::status_of(error.class));
        }
    };
    let mut shapes = BTreeMap::new();
    for (name, secret) in &secrets {
        let keys = json::secret(secret).map_err(|key| {
            anyhow::anyhow!(
                "the value of key `{key}` of `{name}` is not text: get it alone, which prints bytes"
            )
        })?;
        shapes.insert(name.as_str(), keys);
    }
    match arguments.format {
        Format::Json => output::json(&shapes)?,
        Format::Yaml => output::yaml(&shapes)?,
        Format::Text => {
            let mut out = Zeroizing::new(String::new());
            for (name, keys) in shapes {
                out.push_str(&format!("{name}\n"));
                for (key, value) in keys {
                    out.push_str(&format!("  {key}={value}\n"));
                }
            }
            output::data(out.as_bytes())?;
        }
    }
    Ok(Status::Done)
}
