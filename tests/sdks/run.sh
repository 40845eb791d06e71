#!/usr/bin/env bash
# Dapr's own SDKs, unmodified and pinned, against `keyref serve` on free ports of loopback.
#
#   run.sh
#
# Prints a table of SDK, call and outcome; fails where one is not what it should be.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

cache=${KEYREF_TEST_CACHE:-${XDG_CACHE_HOME:-${HOME:?set HOME or KEYREF_TEST_CACHE}/.cache}/keyref-tests}
digest=$(sha256sum tests/sdks/requirements.txt)
python=$cache/sdks-${digest:0:16}
if ! [ -x "$python/bin/python" ]; then
  partial=$(mktemp -d -- "$cache/.sdks-XXXXXX")
  python3 -m venv "$partial"
  "$partial/bin/pip" install --quiet --disable-pip-version-check -r tests/sdks/requirements.txt
  rm -rf -- "$python"
  mv -T -- "$partial" "$python"
fi

cargo build --quiet --locked -p keyref -p keyref-unify --bin keyref
keyref=$PWD/target/debug/keyref

work=$(mktemp -d)
server=
finish() {
  [ -z "$server" ] || kill "$server" 2>/dev/null || true
  rm -rf -- "$work"
}
trap finish EXIT
cd "$work"
mkdir resources
cat >resources/file.yaml <<'YAML'
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
export DAPR_API_TOKEN=sdk-token
"$keyref" serve --resources resources --config config.yaml --app-id myapp --log-as-json \
  --dapr-http-port 0 --dapr-grpc-port 0 2>log &
server=$!
for _ in $(seq 200); do
  grep -q 'dapr initialized' log && break
  kill -0 "$server" || { cat log; exit 1; }
  sleep 0.05
done
port() { sed -n "s|.*\"$1 server listening on TCP address: 127.0.0.1:\([0-9]*\)\".*|\1|p" log; }
http=$(port HTTP) grpc=$(port gRPC)
export DAPR_HTTP_ENDPOINT=http://127.0.0.1:$http DAPR_GRPC_ENDPOINT=127.0.0.1:$grpc
export DAPR_HTTP_PORT=$http DAPR_GRPC_PORT=$grpc DAPR_HEALTH_TIMEOUT=10
"$python/bin/python" "$OLDPWD/tests/sdks/python.py"
if grep -E 'one|two|three|sdk-token' log; then
  echo 'a value is in the log' >&2
  exit 1
fi
