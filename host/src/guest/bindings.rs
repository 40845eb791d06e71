//! The contract in Rust, generated from `wit/`.

wasmtime::component::bindgen!({
    path: "wit",
    world: "secrets-resolver",
    with: { "keyref:secrets/secret-store.secret": super::import::Handle },
    imports: { default: trappable },
});
