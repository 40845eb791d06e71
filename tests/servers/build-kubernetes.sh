#!/usr/bin/env bash
# Builds kube-apiserver and kubectl from the Go module in kubernetes/ and prints the folder they are in.
#
#   build-kubernetes.sh
#
# The folder's name has the digest of what is built, so a second run finds it and does nothing.
# Exit status: 0 built or found, 1 the build failed, 3 this machine has no Go that can build it.
set -euo pipefail

fail() {
    local status=$1
    shift
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit "$status"
}

umask 022 # the cache holds no secret, whatever the caller's mask is for

# Outside of any `target/`: `cargo clean` must not cost five minutes of Go.
cache=${KEYREF_TEST_CACHE:-${XDG_CACHE_HOME:-${HOME:?set HOME or KEYREF_TEST_CACHE}/.cache}/keyref-tests}
mkdir -p -- "$cache"
cache=$(cd -- "$cache" && pwd)

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/kubernetes"
digest=$(cat go.mod go.sum cmd/*/main.go | sha256sum)
built=$cache/kubernetes-${digest:0:16}

# The folder appears by a rename, so it is whole or not there. Asked for before Go is: a restored
# cache is enough to run the tests.
found() {
    [[ -d $built ]] || return 1
    printf '%s\n' "$built"
}
found && exit

command -v go >/dev/null || fail 3 'Go is not on PATH; it builds kube-apiserver and kubectl'
# go.mod names the oldest Go that will do; an older one says so here, before anything is downloaded.
# A go.work further up is somebody else's, and would hide this module.
export GOWORK=off
reason=$(go list -mod=readonly -m 2>&1 >/dev/null) || fail 3 "this Go cannot build kube-apiserver: ${reason%%$'\n'*}"

exec {lock}>"$cache/kubernetes.lock"
if ! flock --nonblock "$lock"; then
    echo 'waiting for another build of kube-apiserver' >&2
    flock "$lock"
fi
found && exit # by another build that ended meanwhile

# Whoever holds the lock is the only builder: what lies here was left by one that was killed.
rm -rf -- "$cache"/.kubernetes-*
partial=$(mktemp -d -- "$cache/.kubernetes-XXXXXX")
trap 'rm -rf -- "$partial"' EXIT
chmod 755 "$partial"

version=$(go list -mod=readonly -m -f '{{.Version}}' k8s.io/kubernetes)
[[ $version =~ ^v([0-9]+)\.([0-9]+)\. ]] || fail 1 "odd version of k8s.io/kubernetes in go.mod: $version"
echo "building kube-apiserver and kubectl $version; the first time takes some minutes" >&2

# Without these, discovery and clients are told v0.0.0-master. Upstream's release build sets them too.
stamp=k8s.io/component-base/version
ldflags="-s -w -X $stamp.gitVersion=$version -X $stamp.gitMajor=${BASH_REMATCH[1]} -X $stamp.gitMinor=${BASH_REMATCH[2]}"

# Without cgo, as upstream builds them: no C compiler is needed, and the result runs on any Linux.
# `nice`, because the build takes every core for minutes beside whatever else is running.
CGO_ENABLED=0 nice go build -mod=readonly -trimpath -buildvcs=false -ldflags "$ldflags" -o "$partial/" ./cmd/... >&2 ||
    fail 1 'the build failed'

mv -T -- "$partial" "$built"
found
