//! Compiles the committed guest ahead of time, for this target and this version of wasmtime.
//!
//! Fails where the guest imports anything but `keyref:secrets/secret-store`, and where it is not
//! what its sources give.

#![expect(
    clippy::disallowed_methods,
    reason = "cargo tells a build script through the environment"
)]

use std::env;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use wasmtime::Engine;
use wasmtime::component::Component;

#[path = "src/guest/config.rs"]
mod config;
#[path = "guest/digest.rs"]
mod digest;

const GUEST: &str = "guest/keyref_guest.wasm";
const IMPORT: &str = "keyref:secrets/secret-store@";

fn main() -> Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=guest");
    println!("cargo::rerun-if-changed=src/guest/config.rs");
    check_sources()?;
    let guest = fs::read(GUEST).with_context(|| format!("failed to read `{GUEST}`"))?;
    let mut config = config::config();
    // Naming the target also means its baseline CPU, whatever this machine has.
    config.target(&env::var("TARGET")?)?;
    let engine = Engine::new(&config)?;
    check_imports(&engine, &guest)?;
    let code = engine.precompile_component(&guest)?;
    fs::write(
        Path::new(&env::var("OUT_DIR")?).join("keyref_guest.cwasm"),
        code,
    )?;
    Ok(())
}

/// In the workspace, the sources stand beside the guest that was made from them.
fn check_sources() -> Result<()> {
    let root = Path::new("..");
    if !root.join("guest/src").is_dir() {
        return Ok(());
    }
    println!("cargo::rerun-if-changed=../guest/src");
    println!("cargo::rerun-if-changed=../guest/componentize/src");
    println!("cargo::rerun-if-changed=../guest/Cargo.toml");
    println!("cargo::rerun-if-changed=../wit");
    let recorded = fs::read_to_string("guest/keyref_guest.sources").unwrap_or_default();
    let current = digest::of_sources(root)?;
    let changed: Vec<_> = current
        .lines()
        .filter(|line| !recorded.contains(line))
        .collect();
    ensure!(
        recorded == current,
        "the guest was not made from its present sources ({} differ, such as `{}`): run \
         `cargo run -p keyref-guest-componentize`",
        changed.len(),
        changed
            .first()
            .and_then(|line| line.split("  ").nth(1))
            .unwrap_or("a removed one"),
    );
    Ok(())
}

fn check_imports(engine: &Engine, guest: &[u8]) -> Result<()> {
    let component = Component::new(engine, guest)?;
    let imports: Vec<_> = component
        .component_type()
        .imports(engine)
        .map(|(name, _)| name.to_owned())
        .collect();
    match imports.as_slice() {
        [import] if import.starts_with(IMPORT) => Ok(()),
        _ => bail!("the guest imports {imports:?}, and may import only `{IMPORT}…`"),
    }
}
