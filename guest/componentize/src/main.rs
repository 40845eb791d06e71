//! Builds the guest, wraps it into a component, and writes it beside the host.
//!
//! `cargo run -p keyref-guest-componentize` writes `host/guest/keyref_guest.wasm` and the digest of
//! its sources; with `--check` it builds and compares instead. The result is the same to the byte
//! from any folder, so that what is committed can be checked.

#![expect(
    clippy::disallowed_methods,
    reason = "a tool of the build is told by cargo through the environment"
)]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use wasmparser::{Parser, Payload};
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

/// How the guest is compiled. It is embedded in every build and runs in every resolve: speed first,
/// size watched. These stand here and not in the workspace so that the digest covers them.
const PROFILE: &[&str] = &[
    "profile.guest.inherits='release'",
    "profile.guest.opt-level=2",
    "profile.guest.lto=true",
    "profile.guest.codegen-units=1",
    "profile.guest.panic='abort'",
    "profile.guest.strip=true",
    // In one unit the whole decoder of characters would be inlined into the check of whether it is
    // needed, which then takes a stack frame for each character.
    "profile.guest.package.unsafe-libyaml.codegen-units=64",
];

/// Builds the core module and says where it is.
fn build(root: &Path) -> Result<PathBuf> {
    let target = root.join("target/guest");
    let mut flags = vec![
        // Enough for code that never recurses, and a sixteenth of what is usual.
        "-Clink-arg=-zstack-size=65536".to_owned(),
        // What is inlined is the smallest: 30 KB less than with the usual threshold.
        "-Cllvm-args=--inline-threshold=25".to_owned(),
    ];
    let remapped =
        |(from, to): (PathBuf, String)| format!("--remap-path-prefix={}={to}", from.display());
    flags.extend(machine_paths(root)?.into_iter().map(remapped));
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
        .args(PROFILE.iter().flat_map(|setting| ["--config", setting]))
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

/// Paths of this machine, and what stands for them in the guest: they would be in its panic
/// messages, and each machine's build would differ.
fn machine_paths(root: &Path) -> Result<Vec<(PathBuf, String)>> {
    let home = match env::var_os("CARGO_HOME") {
        Some(home) => PathBuf::from(home),
        None => Path::new(&env::var_os("HOME").context("there is no `HOME`")?).join(".cargo"),
    };
    let mut paths = vec![(root.to_owned(), "keyref".to_owned())];
    // One folder for each registry, whose name holds a hash.
    for registry in fs::read_dir(home.join("registry/src"))
        .into_iter()
        .flatten()
    {
        paths.push((registry?.path(), "crates".to_owned()));
    }
    // Where the standard library's sources are installed, their paths are real ones.
    let sysroot = rustc(root, &["--print", "sysroot"])?;
    let version = rustc(root, &["-vV"])?;
    let commit = version
        .lines()
        .find_map(|line| line.strip_prefix("commit-hash: "));
    paths.push((
        Path::new(sysroot.trim()).join("lib/rustlib/src/rust"),
        format!(
            "/rustc/{}",
            commit.context("rustc does not tell its commit")?
        ),
    ));
    Ok(paths)
}

/// What the workspace's compiler says.
fn rustc(root: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new("rustc")
        .args(arguments)
        .current_dir(root)
        .output();
    Ok(String::from_utf8(
        output.context("failed to run rustc")?.stdout,
    )?)
}

/// Wraps the module without an adapter: any import that is not of its world is an error.
fn componentize(module: &Path) -> Result<Vec<u8>> {
    let module =
        fs::read(module).with_context(|| format!("failed to read {}", module.display()))?;
    let component = ComponentEncoder::default()
        .module(&module)
        .context("failed to read the guest's module")?
        .validate(true)
        .encode()
        .context(
            "failed to make a component of the guest: does it import more than its world has?",
        )?;
    without_names(&component)
}

/// Leaves out the component's own custom sections: names for debuggers, which nothing reads.
fn without_names(component: &[u8]) -> Result<Vec<u8>> {
    let mut kept = Vec::with_capacity(component.len());
    let (mut nested, mut end) = (0_u32, 0);
    for payload in Parser::new(0).parse_all(component) {
        let payload = payload?;
        match payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => nested += 1,
            Payload::End(_) => nested = nested.saturating_sub(1),
            _ => {}
        }
        if nested > 0 {
            continue;
        }
        let (begin, custom) = (end, matches!(payload, Payload::CustomSection(_)));
        end = match &payload {
            Payload::Version { range, .. } => range.end,
            Payload::End(offset) => *offset,
            other => other.as_section().map_or(end, |(_, range)| range.end),
        };
        if !custom {
            kept.extend_from_slice(component.get(begin..end).unwrap_or_default());
        }
    }
    Ok(kept)
}
