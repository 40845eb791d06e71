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
package=$scratch/keyref-$version
(cd "$package" && cargo metadata --format-version 1 --offline --locked >"$scratch/metadata.json")
# A workspace of its own with this one's profile, so that what both depend on is built once.
cp -r tests/unify "$scratch/unify"
sed "s|^members = .*|members = [\"keyref-$version\", \"unify\"]|; s|^default-members = .*||" Cargo.toml >"$scratch/Cargo.toml"
cp Cargo.lock "$scratch/Cargo.lock"
export CARGO_TARGET_DIR=$PWD/target
cd "$scratch"
cargo build --offline -p keyref -p keyref-unify
