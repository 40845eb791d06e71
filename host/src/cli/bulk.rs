//! `keyref bulk`: every secret of a store that policy allows.

use std::collections::BTreeMap;

use anyhow::Result;
use keyref::problem::terminal_safe;
use keyref::stores::BulkRequest;
use zeroize::Zeroizing;

use super::arguments::{BulkArguments, Format, Global};
use super::{Status, json, output, reading};

pub(super) async fn run(global: &Global, arguments: &BulkArguments) -> Result<Status> {
    let reading = match reading::open(global, &arguments.resources).await? {
        Ok(reading) => reading,
        Err(status) => return Ok(status),
    };
    let request = BulkRequest::default();
    let work = reading
        .resolver
        .bulk(&arguments.name, request, &reading.context);
    let secrets = match reading.wait(global, work).await {
        Ok(secrets) => secrets,
        Err(status) => return Ok(status),
    };
    let mut shapes = BTreeMap::new();
    let mut status = Status::Done;
    for (name, secret) in &secrets {
        let (keys, others) = json::secret(secret);
        for key in others {
            // The others are printed all the same.
            let (key, name) = (terminal_safe(key), terminal_safe(name));
            let message = format!("the value of key `{key}` of `{name}` is not text");
            status = reading::not_text(message, global);
        }
        shapes.insert(name.as_str(), keys);
    }
    match arguments.format {
        Format::Json => output::json(&shapes)?,
        Format::Yaml => output::yaml(&shapes)?,
        Format::Text => {
            let mut out = Zeroizing::new(String::new());
            for (name, keys) in shapes {
                out.extend([name, "\n"]);
                for (key, value) in keys {
                    out.extend(["  ", key, "=", value, "\n"]);
                }
            }
            output::data(out.as_bytes())?;
        }
    }
    Ok(status)
}
