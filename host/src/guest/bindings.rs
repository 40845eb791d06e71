//! The contract in Rust, generated from `wit/`.
#![expect(clippy::pedantic, reason = "generated code")]

wasmtime::component::bindgen!({
    path: "wit",
    world: "secrets-resolver",
    with: { "keyref:secrets/secret-store.secret": super::import::Handle },
    imports: { default: trappable },
});
