#!/usr/bin/env bash
# Dapr's own SDKs, unmodified and pinned, against `keyref serve` on free ports of loopback.
#
#   run.sh
#
# Prints a table of SDK, call and outcome; fails where one is not what it should be.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

cache=${KEYREF_TEST_CACHE:-${XDG_CACHE_HOME:-${HOME:?set HOME or KEYREF_TEST_CACHE}/.cache}/keyref-tests}
digest=$(cat tests/sdks/requirements.txt tests/sdks/package.json | sha256sum)
installed=$cache/sdks-${digest:0:16}
if ! [ -d "$installed" ]; then
  mkdir -p -- "$cache"
  partial=$(mktemp -d -- "$cache/.sdks-XXXXXX")
  python3 -m venv "$partial/python"
  "$partial/python/bin/pip" install --quiet --disable-pip-version-check -r tests/sdks/requirements.txt
  cp tests/sdks/package.json "$partial"
  npm install --prefix "$partial" --ignore-scripts --no-package-lock --no-audit --no-fund --silent
  # The folder appears by a rename, so it is whole or not there.
  mv -T -- "$partial" "$installed"
fi
python=$installed/python/bin/python

cargo build --quiet --locked -p keyref -p keyref-unify --bin keyref
keyref=$PWD/target/debug/keyref
sdks=$PWD/tests/sdks

work=$(mktemp -d)
server=
finish() {
  [ -z "$server" ] || kill "$server" 2>/dev/null || true
  rm -rf -- "$work"
}
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
# Modules are looked for beside the program.
cp "$sdks/javascript.mjs" "$work"
ln -s "$installed/node_modules" "$work/node_modules"

# Runs a command against a server of its own.
with_server() {
  echo "orderId: '100'" >items.yaml
  "$keyref" serve --resources resources --config config.yaml --app-id myapp --log-as-json \
    --dapr-http-port 0 --dapr-grpc-port 0 2>log &
  server=$!
  for _ in $(seq 200); do
    grep -q 'dapr initialized' log && break
    kill -0 "$server" || { cat log; exit 1; }
    sleep 0.05
  done
  local http grpc
  http=$(port HTTP) grpc=$(port gRPC)
  env DAPR_HTTP_ENDPOINT="http://127.0.0.1:$http" DAPR_GRPC_ENDPOINT="127.0.0.1:$grpc" \
    DAPR_HTTP_PORT="$http" DAPR_GRPC_PORT="$grpc" DAPR_HEALTH_TIMEOUT=10 "$@"
  kill "$server"
  wait "$server"
  server=
  if grep -E '"(one|two|three|10[0-3])"|sdk-token' log; then
    echo 'a value is in the log' >&2
    exit 1
  fi
}
port() { sed -n "s|.*\"$1 server listening on TCP address: 127.0.0.1:\([0-9]*\)\".*|\1|p" log; }

printf '| SDK | call | outcome |\n|---|---|---|\n'
export DAPR_API_TOKEN=sdk-token
with_server "$python" "$sdks/python.py" token
with_server node "$work/javascript.mjs"
unset DAPR_API_TOKEN
with_server "$python" "$sdks/python.py"
with_server node "$work/javascript.mjs"
