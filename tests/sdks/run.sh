#!/usr/bin/env bash
# Dapr's own SDKs, unmodified and pinned, against `keyref serve` on free ports of loopback.
#
#   run.sh [python|javascript|rust|go|java]...
#
# Without arguments: all of them. Go and Java are left out, with a line that says so, where their
# toolchain is not on the machine. What an SDK needs is installed once, under $KEYREF_TEST_CACHE.
#
# Prints a table of SDK, call and outcome; fails where one is not what it should be.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
sdks=$PWD/tests/sdks
keyref=$PWD/target/debug/keyref
cache=${KEYREF_TEST_CACHE:-${XDG_CACHE_HOME:-${HOME:?set HOME or KEYREF_TEST_CACHE}/.cache}/keyref-tests}

main() {
  [ $# -gt 0 ] || set -- python javascript rust go java
  local sdk lacking begin wanted=()
  for sdk; do
    declare -F "run_$sdk" >/dev/null || { echo "run.sh: no SDK is called $sdk" >&2; exit 2; }
    if lacking=$("lacking_$sdk"); then
      wanted+=("$sdk")
      installed "$sdk"
    else
      echo "$sdk is left out: $lacking is not on this machine"
    fi
  done
  cargo build --quiet --locked -p keyref -p keyref-unify --bin keyref
  prepare

  failed=
  local times=()
  printf '| SDK | call | outcome |\n|---|---|---|\n'
  for sdk in "${wanted[@]}"; do
    begin=$SECONDS
    "run_$sdk" "$cache/$(folder "$sdk")"
    times+=("$sdk $((SECONDS - begin)) s")
  done
  (IFS=,; echo "times: ${times[*]}" | sed 's/,/, /g')
  [ -z "$failed" ]
}

# Installs what an SDK needs, where it is not there yet.
installed() {
  local sdk=$1 begin=$SECONDS target partial
  target=$cache/$(folder "$sdk")
  ! [ -d "$target" ] || return 0
  mkdir -p -- "$cache"
  partial=$(mktemp -d -- "$cache/.sdks-XXXXXX")
  "install_$sdk" "$partial"
  # The folder appears by a rename, so it is whole or not there.
  mv -T -- "$partial" "$target"
  echo "$sdk is installed in $((SECONDS - begin)) s"
}

# Where an SDK is installed: under the digest of what decides its content.
folder() {
  local digest
  digest=$(cd "$sdks" && files_"$1" | xargs cat | sha256sum)
  echo "sdks-$1-${digest:0:16}"
}

files_python() { echo requirements.txt; }
lacking_python() { :; }
install_python() {
  python3 -m venv "$1"
  "$1/bin/pip" install --quiet --disable-pip-version-check -r "$sdks/requirements.txt"
}
run_python() {
  DAPR_API_TOKEN=sdk-token with_server "$1/bin/python" "$sdks/python.py" token
  with_server "$1/bin/python" "$sdks/python.py"
}

files_javascript() { echo package.json; }
lacking_javascript() { :; }
install_javascript() {
  cp "$sdks/package.json" "$1"
  npm install --prefix "$1" --ignore-scripts --no-package-lock --no-audit --no-fund --silent
}
run_javascript() {
  # Modules are looked for beside the program.
  cp "$sdks/javascript.mjs" "$work"
  ln -s "$1/node_modules" "$work/node_modules"
  DAPR_API_TOKEN=sdk-token with_server node "$work/javascript.mjs"
}

files_rust() { ls rust/Cargo.toml rust/Cargo.lock rust/src/*; }
lacking_rust() { :; }
install_rust() {
  cargo build --quiet --locked --manifest-path "$sdks/rust/Cargo.toml" --target-dir target/sdks
  cp target/sdks/debug/keyref-sdks "$1"
}
run_rust() { DAPR_API_TOKEN=sdk-token with_server "$1/keyref-sdks"; }

files_go() { ls go/*; }
lacking_go() { has go; }
# As the oracle of Dapr's rules is built, so that what both need is compiled once.
install_go() { (cd "$sdks/go" && go build -trimpath -o "$1/keyref-sdks" .); }
run_go() { DAPR_API_TOKEN=sdk-token with_server "$1/keyref-sdks"; }

files_java() { ls java/*; }
lacking_java() { has javac && has mvn; }
install_java() {
  mvn --quiet --batch-mode --file "$sdks/java/pom.xml" dependency:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$1/jars"
  javac -nowarn -d "$1" -cp "$1/jars/*" "$sdks/java/Sdk.java"
}
run_java() { DAPR_API_TOKEN=sdk-token with_server java -cp "$1:$1/jars/*" Sdk; }

# Names a program that is not there, and fails.
has() { command -v "$1" >/dev/null || { echo "$1"; return 1; }; }

prepare() {
  work=$(mktemp -d)
  server=
  trap finish EXIT
  cd "$work"
  mkdir resources
  cat >resources/a.yaml <<'YAML'
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: file}
spec:
  type: secretstores.local.file
  version: v1
  metadata:
  - {name: secretsFile, value: secrets.json}
YAML
  echo '{"redis": "one", "a/b": "two", "denied": "three"}' >secrets.json
  cat >config.yaml <<'YAML'
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata: {name: config}
spec:
  secrets:
    scopes:
    - {storeName: file, deniedSecrets: [denied]}
YAML
  cat >resources/b.yaml <<'YAML'
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: cfg}
spec:
  type: configuration.local.file
  version: v1
  metadata:
  - {name: configFile, value: items.yaml}
YAML
  export ITEMS=$work/items.yaml
}

finish() {
  [ -z "$server" ] || kill "$server" 2>/dev/null || true
  rm -rf -- "$work"
}

# Runs a command against a server of its own.
with_server() {
  echo "orderId: '100'" >items.yaml
  "$keyref" serve --resources resources --config config.yaml --app-id myapp --log-as-json \
    --dapr-http-port 0 --dapr-grpc-port 0 --metrics-port 0 2>log &
  server=$!
  for _ in $(seq 200); do
    grep -q 'dapr initialized' log && break
    kill -0 "$server" || { cat log; exit 1; }
    sleep 0.05
  done
  DAPR_HTTP_PORT=$(port HTTP) DAPR_GRPC_PORT=$(port gRPC) DAPR_HEALTH_TIMEOUT=10 \
    timeout 60 "$@" || { echo "$1 ended with status $?" >&2; failed=1; }
  kill "$server"
  wait "$server"
  server=
  if grep -E '"(one|two|three|10[0-3])"|sdk-token' log; then
    echo 'a value is in the log' >&2
    exit 1
  fi
}
port() { sed -n "s|.*\"$1 server listening on TCP address: 127.0.0.1:\([0-9]*\)\".*|\1|p" log; }

main "$@"
