//! The messages and calls that are committed are those of the protocol's file.

use std::fs;

use keyref_tests::workspace;

/// With `KEYREF_UPDATE=1`, writes them instead.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "whoever runs the test says what for"
)]
fn what_is_committed_is_what_the_protocol_gives() {
    let host = workspace().join("host");
    let protocol = protox::compile(["dapr/runtime.proto"], [host.join("proto")]).unwrap();
    let mut compiler = protox::Compiler::new([host.join("proto")]).unwrap();
    compiler
        .include_imports(true)
        .open_file("dapr/runtime.proto")
        .unwrap();
    // Reflection serves it.
    let described = compiler.encode_file_descriptor_set();
    let generated = tempfile::tempdir().unwrap();
    tonic_prost_build::configure()
        .build_client(false)
        .build_transport(false)
        .btree_map(".")
        .skip_debug(["."])
        .disable_comments(["."])
        .out_dir(generated.path())
        .compile_fds(protocol)
        .unwrap();
    let generated = generated.path().join("dapr.proto.runtime.v1.rs");
    let generated = fs::read_to_string(generated).unwrap();
    let is_update = std::env::var_os("KEYREF_UPDATE").is_some();
    for (name, contents) in [
        ("proto.rs", generated.into_bytes()),
        ("proto.bin", described),
    ] {
        let committed = host.join("src/api/grpc").join(name);
        if is_update {
            fs::write(&committed, &contents).unwrap();
        }
        assert!(
            fs::read(committed).unwrap() == contents,
            "run `KEYREF_UPDATE=1 cargo test --workspace --test protocol`"
        );
    }
}
