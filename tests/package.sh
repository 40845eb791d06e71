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
cd "$scratch/keyref-$version"
for file in guest/keyref_guest.wasm wit/secrets.wit README.md; do
  test -f "$file" || { echo "the package lacks $file" >&2; exit 1; }
done
cargo build --offline --locked
