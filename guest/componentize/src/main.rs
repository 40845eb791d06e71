//! Builds the guest, wraps it into a component, and writes it beside the host.
//!
//! `cargo run -p keyref-guest-componentize` writes `host/guest/keyref_guest.wasm` and the digest of
//! its sources; with `--check` it builds and compares instead. The result is the same to the byte
//! from any folder, so that what is committed can be checked.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use wit_component::ComponentEncoder;

#[path = "../../../host/guest/digest.rs"]
mod digest;

fn main() -> Result<()> {
    let check = match env::args().nth(1).as_deref() {
        None => false,
        Some("--check") => true,
        Some(other) => bail!("unknown argument `{other}`: only `--check` is known"),
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()?;
    let component = componentize(&build(&root)?)?;
    let digest = digest::of_sources(&root)?;
    let (component_path, digest_path) = (
        root.join("host/guest/keyref_guest.wasm"),
        root.join("host/guest/keyref_guest.sources"),
    );
    if check {
        ensure!(
            fs::read(&component_path).ok().as_deref() == Some(component.as_slice())
                && fs::read_to_string(&digest_path).ok().as_deref() == Some(digest.as_str()),
            "the committed guest is not what its sources give: run `cargo run -p keyref-guest-componentize`"
        );
        return Ok(());
    }
    fs::create_dir_all(root.join("host/guest"))?;
    fs::write(&component_path, component)?;
    fs::write(&digest_path, digest)?;
    Ok(())
}

/// Builds the core module and says where it is.
fn build(root: &Path) -> Result<PathBuf> {
    let target = root.join("target/guest");
    let home = env::var("CARGO_HOME").or_else(|_| env::var("HOME").map(|home| home + "/.cargo"))?;
    let sysroot = Command::new("rustc")
        .args(["--print", "sysroot"])
        .output()?
        .stdout;
    let sysroot = String::from_utf8(sysroot)?;
    // Paths of this machine would stand in panic messages and make each machine's build differ.
    let flags = [
        format!("--remap-path-prefix={}=keyref", root.display()),
        format!("--remap-path-prefix={home}=cargo"),
        format!("--remap-path-prefix={}=rust", sysroot.trim()),
        // Enough for code that never recurses, and an eighth of what has to be kept per instance.
        "-Clink-arg=-zstack-size=65536".to_owned(),
    ];
    let status = Command::new(env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()))
        .args([
            "build",
            "--package",
            "keyref-guest",
            "--profile",
            "guest",
            "--locked",
        ])
        .args(["--target", "wasm32-unknown-unknown", "--target-dir"])
        .arg(&target)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        .env_remove("RUSTFLAGS")
        .current_dir(root)
        .status()
        .context("failed to run cargo")?;
    ensure!(
        status.success(),
        "failed to build the guest (is the target there? `rustup target add wasm32-unknown-unknown`)"
    );
    Ok(target.join("wasm32-unknown-unknown/guest/keyref_guest.wasm"))
}

/// Wraps the module without an adapter: any import that is not of its world is an error.
fn componentize(module: &Path) -> Result<Vec<u8>> {
    let module =
        fs::read(module).with_context(|| format!("failed to read {}", module.display()))?;
    ComponentEncoder::default()
        .module(&module)
        .context("failed to read the guest's module")?
        .validate(true)
        .encode()
        .context("failed to make a component of the guest: does it import more than its world has?")
}
