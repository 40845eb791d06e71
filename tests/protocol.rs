//! The messages and calls that are committed are those of the protocol's file.

use std::fs;

use keyref_tests::workspace;

/// Each protocol's file, its package, and the folder in `host/src/api` with what is generated from it.
const PROTOCOLS: [[&str; 3]; 2] = [
    ["dapr/runtime.proto", "dapr.proto.runtime.v1", "grpc"],
    [
        "keyref/components/v1/components.proto",
        "keyref.components.v1",
        "components",
    ],
];

/// With `KEYREF_UPDATE=1`, writes them instead.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "whoever runs the test says what for"
)]
fn what_is_committed_is_what_the_protocols_give() {
    let host = workspace().join("host");
    let is_update = std::env::var_os("KEYREF_UPDATE").is_some();
    for [protocol, package, committed] in PROTOCOLS {
        let compiled = protox::compile([protocol], [host.join("proto")]).unwrap();
        let mut compiler = protox::Compiler::new([host.join("proto")]).unwrap();
        compiler.include_imports(true).open_file(protocol).unwrap();
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
            .compile_fds(compiled)
            .unwrap();
        let generated = generated.path().join(format!("{package}.rs"));
        let generated = fs::read_to_string(generated).unwrap();
        let of_dapr = package
            .starts_with("dapr.")
            .then_some(("proto.bin", described));
        for (name, contents) in [("proto.rs", generated.into_bytes())]
            .into_iter()
            .chain(of_dapr)
        {
            let committed = host.join("src/api").join(committed).join(name);
            if is_update {
                fs::write(&committed, &contents).unwrap();
            }
            assert!(
                fs::read(committed).unwrap() == contents,
                "run `KEYREF_UPDATE=1 cargo test --workspace --test protocol`"
            );
        }
    }
}
