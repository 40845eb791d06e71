//! WebAssembly components that only tests need, built from `tests/components/`.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use wit_component::ComponentEncoder;

use crate::workspace;

/// A guest that misbehaves as its documents say; built once for each test binary.
pub fn hostile_guest() -> &'static [u8] {
    static COMPONENT: OnceLock<Vec<u8>> = OnceLock::new();
    COMPONENT.get_or_init(|| build("hostile-guest"))
}

/// A store that is a component, with a fixed map of secrets; built once for each test binary.
pub fn static_store() -> &'static [u8] {
    static COMPONENT: OnceLock<Vec<u8>> = OnceLock::new();
    COMPONENT.get_or_init(|| build("static-store"))
}

/// keyref's own guest, as it is committed.
pub fn keyref_guest() -> Vec<u8> {
    let path = workspace().join("host/guest/keyref_guest.wasm");
    std::fs::read(path).expect("the guest is committed")
}

/// Builds a core module, and wraps it into a component without an adapter.
fn build(name: &str) -> Vec<u8> {
    let target = workspace().join("target/components");
    let manifest = workspace().join("tests/components").join(name);
    let status = Command::new(env!("CARGO"))
        .args(["build", "--target", "wasm32-unknown-unknown", "--quiet"])
        .args(["--profile", "guest", "--locked", "--manifest-path"])
        .arg(manifest.join("Cargo.toml"))
        .env("CARGO_TARGET_DIR", &target)
        // Flags for the tests, such as those for coverage, are not for their components.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .status()
        .expect("cargo can be run");
    assert!(
        status.success(),
        "{name} cannot be built (is the target there? `rustup target add wasm32-unknown-unknown`)"
    );
    let module = format!("{}.wasm", name.replace('-', "_"));
    componentize(&target.join("wasm32-unknown-unknown/guest").join(module))
}

fn componentize(module: &Path) -> Vec<u8> {
    let module = std::fs::read(module).expect("the module was built");
    ComponentEncoder::default()
        .module(&module)
        .expect("the module tells its world")
        .validate(true)
        .encode()
        .expect("the module imports no more than its world has")
}
