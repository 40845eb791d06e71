//! `keyref get`: one secret, which is what was asked for.

use std::collections::BTreeMap;

use anyhow::Result;
use keyref::problem::terminal_safe;
use keyref::stores::SecretRequest;
use zeroize::Zeroizing;

use super::arguments::{Format, GetArguments, Global};
use super::{Status, json, output, reading};

pub(super) async fn run(global: &Global, arguments: &GetArguments) -> Result<Status> {
    let reading = match reading::open(global, &arguments.resources).await? {
        Ok(reading) => reading,
        Err(status) => return Ok(status),
    };
    let (resolver, context) = (&reading.resolver, &reading.context);
    let request = SecretRequest::new(&arguments.secret);
    if let Some(key) = &arguments.key {
        let work = resolver.value(&arguments.name, request, key, context);
        let value = match reading.wait(global, work).await {
            Ok(value) => value,
            Err(status) => return Ok(status),
        };
        if arguments.format == Format::Text {
            // Revealed because it was asked for by name; bytes as they are, without a line break.
            output::data(value.reveal())?;
            return Ok(Status::Done);
        }
        let Ok(text) = value.reveal_text() else {
            return Ok(reading::not_text(
                "the value is not text".to_owned(),
                global,
            ));
        };
        let shape = BTreeMap::from([(key, text)]);
        match arguments.format {
            Format::Yaml => output::yaml(&shape)?,
            _ => output::json(&shape)?,
        }
        return Ok(Status::Done);
    }
    let work = resolver.get(&arguments.name, request, context);
    let secret = match reading.wait(global, work).await {
        Ok(secret) => secret,
        Err(status) => return Ok(status),
    };
    let (keys, others) = json::secret(&secret);
    let mut status = Status::Done;
    for key in others {
        // The others are printed all the same.
        let message = format!("the value of key `{}` is not text", terminal_safe(key));
        status = reading::not_text(message, global);
    }
    match arguments.format {
        Format::Json => output::json(&keys)?,
        Format::Yaml => output::yaml(&keys)?,
        Format::Text => {
            let mut out = Zeroizing::new(String::new());
            for (key, value) in keys {
                out.extend([key, "=", value, "\n"]);
            }
            output::data(out.as_bytes())?;
        }
    }
    Ok(status)
}
