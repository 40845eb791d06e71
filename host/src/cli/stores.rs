//! `keyref stores`: the stores of documents and of `--store`, and the kinds that are known.

use std::fmt::Write as _;

use anyhow::Result;
use keyref::problem::terminal_safe as safe;
use keyref::stores::REGISTRY;
use serde::Serialize;

use super::arguments::{Format, Global, StoresArguments};
use super::given::Need;
use super::{Status, diagnostics, output, session};

#[derive(Serialize)]
struct Listed {
    stores: Vec<StoreShape>,
    kinds: Vec<KindShape>,
}

#[derive(Serialize)]
struct StoreShape {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    declared: String,
}

#[derive(Serialize)]
struct KindShape {
    #[serde(rename = "type")]
    kind: &'static str,
    summary: &'static str,
    argument: &'static str,
}

pub(super) async fn run(global: &Global, arguments: &StoresArguments) -> Result<Status> {
    let mut session = match session::open(global, &arguments.documents, Need::Names).await? {
        Ok(session) => session,
        Err(refused) => {
            print(Vec::new(), arguments.format)?;
            return Ok(refused.print(global));
        }
    };
    let given = session.resolver.stores();
    let documents = std::mem::take(&mut session.documents);
    let inspection = session.resolver.inspect(documents, &session.context).await;
    let mut stores: Vec<StoreShape> = inspection
        .components
        .iter()
        .map(|inspected| &inspected.component)
        .filter(|component| component.is_secret_store() && !given.contains(&component.name))
        .map(|component| StoreShape {
            name: component.name.clone(),
            kind: component.component_type.clone(),
            declared: component.position.to_string(),
        })
        .collect();
    stores.extend(given.into_iter().map(|name| {
        let flag = global.store.iter().find_map(|store| {
            store
                .split_once('=')
                .filter(|(known, _)| *known == name)?
                .1
                .split(':')
                .next()
        });
        let kind = flag
            .unwrap_or("kubernetes")
            .trim_start_matches("secretstores.");
        StoreShape {
            kind: format!("secretstores.{kind}"),
            name,
            declared: "the command line".to_owned(),
        }
    }));
    print(stores, arguments.format)?;
    session::print_stats(global, &inspection.stats);
    let mut problems = inspection.problems;
    problems.extend(std::mem::take(&mut session.problems));
    problems.extend(session.slips(&inspection.stores, &[]));
    diagnostics::print(&problems, &session.sources, global);
    Ok(session::status(&problems))
}

fn print(stores: Vec<StoreShape>, format: Format) -> Result<()> {
    let kinds = REGISTRY.iter().map(|known| KindShape {
        kind: known.kind,
        summary: known.summary,
        argument: known.argument,
    });
    let listed = Listed {
        stores,
        kinds: kinds.collect(),
    };
    match format {
        Format::Json => output::json(&listed),
        Format::Yaml => output::yaml(&listed),
        Format::Text => Ok(output::data(text(&listed).as_bytes())?),
    }
}

fn text(listed: &Listed) -> String {
    let mut out = String::from("stores\n");
    for store in &listed.stores {
        let (name, kind) = (safe(&store.name), safe(&store.kind));
        let _ = writeln!(out, "  {name}  {kind}  {}", store.declared);
    }
    out.push_str("known kinds\n");
    for kind in &listed.kinds {
        let _ = writeln!(out, "  {}  {}", kind.kind, kind.summary);
    }
    out
}
