#!/usr/bin/env bash
# Builds the receiver of OpenTelemetry's collector from the Go module in collector/ and prints its path.
#
#   build-collector.sh
#
# The file's name has the digest of what it is built from, so a second run finds it and does nothing.
# Exit status: 0 built or found, 1 the build failed, 3 this machine has no Go that can build it.
set -euo pipefail

fail() {
    local status=$1
    shift
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit "$status"
}

umask 022
cache=${KEYREF_TEST_CACHE:-${XDG_CACHE_HOME:-${HOME:?set HOME or KEYREF_TEST_CACHE}/.cache}/keyref-tests}
mkdir -p -- "$cache"
cache=$(cd -- "$cache" && pwd)

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/collector"
digest=$(cat go.mod go.sum main.go | sha256sum)
built=$cache/collector-${digest:0:16}

# The file appears by a rename, so it is whole or not there.
found() {
    [[ -x $built ]] || return 1
    printf '%s\n' "$built"
}
found && exit

command -v go >/dev/null || fail 3 'Go is not on PATH; it builds the collector'
# A go.work further up is somebody else's, and would hide this module.
export GOWORK=off
reason=$(go list -mod=readonly -m 2>&1 >/dev/null) || fail 3 "this Go cannot build the collector: ${reason%%$'\n'*}"

exec {lock}>"$cache/collector.lock"
flock "$lock"
found && exit # by another build that ended meanwhile

partial=$built.partial
trap 'rm -f -- "$partial"' EXIT
echo 'building the collector; the first time takes a minute' >&2
CGO_ENABLED=0 nice go build -mod=readonly -trimpath -buildvcs=false -ldflags '-s -w' -o "$partial" . >&2 ||
    fail 1 'the build failed'
mv -T -- "$partial" "$built"
found
