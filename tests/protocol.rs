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
    let committed = host.join("src/api/grpc/proto.rs");
    if std::env::var_os("KEYREF_UPDATE").is_some() {
        fs::write(&committed, &generated).unwrap();
    }
    let committed = fs::read_to_string(committed).unwrap();
    assert!(
        committed == generated,
        "run `KEYREF_UPDATE=1 cargo test --workspace --test protocol`"
    );
}
