#!/usr/bin/env bash
# Builds what `cargo package` makes of the host, unpacked outside the workspace and offline: the
# contract and the guest travel inside it.
set -euo pipefail
cd "$(dirname "$0")/.."

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
cargo package --quiet --locked --no-verify --allow-dirty -p keyref
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
tar -xzf "target/package/keyref-$version.crate" -C "$scratch"
# With the workspace's profile and folder, so that what both depend on is built once.
export CARGO_TARGET_DIR=$PWD/target
profile=()
while read -r setting; do
  profile+=(--config "$setting")
done <<'SETTINGS'
profile.dev.debug="line-tables-only"
profile.dev.build-override.opt-level=1
profile.dev.build-override.debug=false
profile.dev.build-override.codegen-units=256
profile.dev.package."*".opt-level=1
profile.dev.package."*".debug=false
profile.dev.package."*".codegen-units=256
SETTINGS
cd "$scratch/keyref-$version"
cargo build --offline --locked "${profile[@]}"
