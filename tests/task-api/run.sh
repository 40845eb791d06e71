#!/usr/bin/env bash
# The example examples/task-api on a server of its own: with its key, and without.
#
#   run.sh
#
# Installs what the example needs once, under $KEYREF_TEST_CACHE. Fails where an answer is not what it
# should be, or a value is in a log.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

cache=${KEYREF_TEST_CACHE:-${XDG_CACHE_HOME:-${HOME:?set HOME or KEYREF_TEST_CACHE}/.cache}/keyref-tests}
digest=$(sha256sum <examples/task-api/requirements.txt)
installed=$cache/task-api-${digest:0:16}
if ! [ -d "$installed" ]; then
  mkdir -p -- "$cache"
  partial=$(mktemp -d -- "$cache/.task-api-XXXXXX")
  python3 -m venv "$partial"
  "$partial/bin/pip" install --quiet --disable-pip-version-check -r examples/task-api/requirements.txt
  # The folder appears by a rename, so it is whole or not there.
  mv -T -- "$partial" "$installed"
fi

cargo build --quiet --locked -p keyref -p keyref-unify --bin keyref
keyref=$PWD/target/debug/keyref

work=$(mktemp -d)
server= app= redis= resources=resources
finish() {
  for process in $app $server $redis; do kill "$process" 2>/dev/null || true; done
  rm -rf -- "$work"
}
trap finish EXIT
cp -r examples/task-api examples/secrets.yaml "$work"
cd "$work/task-api"

fail() {
  printf 'task-api: %s\n' "$*" >&2
  cat keyref.log app.log >&2
  exit 1
}

# Waits until a line of a log matches; prints what is in the first group.
await() {
  local log=$1 pattern=$2 process=$3
  for _ in $(seq 400); do
    if grep -qE "$pattern" "$log"; then
      sed -nE "s|.*$pattern.*|\1|p" "$log" | head -n 1
      return
    fi
    kill -0 "$process" 2>/dev/null || fail "$log ended without $pattern"
    sleep 0.05
  done
  fail "$log has no $pattern"
}

start() {
  "$keyref" serve --store kubernetes-secrets=local.file:../secrets.yaml --resources "$resources" \
    --app-id task-api --dapr-http-port 0 --dapr-grpc-port 0 --metrics-port 0 2>keyref.log &
  server=$!
  await keyref.log '(dapr initialized)' "$server" >/dev/null
  local http grpc
  http=$(await keyref.log '"HTTP server listening on TCP address: ([0-9.:]*)"' "$server")
  grpc=$(await keyref.log '"gRPC server listening on TCP address: ([0-9.:]*)"' "$server")
  env DAPR_HTTP_ENDPOINT="http://$http" DAPR_GRPC_ENDPOINT="$grpc" PYTHONUNBUFFERED=1 \
    "$installed/bin/python" -m uvicorn task_api:app --port 0 >app.log 2>&1 &
  app=$!
  address=$(await app.log 'running on (http://[0-9.:]*)' "$app")
}

stop() {
  kill "$app" && wait "$app" || true
  kill "$server" && wait "$server"
  app= server=
  # The values of examples/secrets.yaml, and beginnings of them.
  ! grep -E 'my-secret|redis-secret|notif-key|secret-pass' keyref.log app.log || fail 'a value is in a log'
}

# Asks until the answer is as expected: changes take a moment.
expect() {
  local expected=$1 answer
  shift
  for _ in $(seq 100); do
    answer=$(curl -s -w ' %{http_code}' "$@")
    [ "$answer" != "$expected" ] || return 0
    sleep 0.05
  done
  fail "$* answers $answer in place of $expected"
}

start
expect '{"task":7,"notified":true} 200' -X POST "$address/tasks/7/notify"
expect '{"feature-x":"on","max-retries":"3"} 200' "$address/settings"
secrets='"api-credentials","database-credentials","kafka-credentials","notification-api","redis-password"'
expect "{\"api-credentials\":[\"api-key\",\"api-secret\"],\"secrets\":[$secrets]} 200" "$address/credentials"
echo 'feature-x: "off"' >settings.yaml
expect '{"feature-x":"off"} 200' "$address/settings"
stop

# The same settings from Redis, whose password is one of the secrets.
port=
for _ in $(seq 10); do
  port=$((20000 + RANDOM % 10000))
  redis-server --bind 127.0.0.1 --port "$port" --requirepass redis-secret-pass --save '' --dir "$work" >redis.log 2>&1 &
  redis=$!
  if (await redis.log '(Ready to accept connections)' "$redis") >/dev/null 2>&1; then break; fi
done
ask() { REDISCLI_AUTH=redis-secret-pass redis-cli -h 127.0.0.1 -p "$port" "$@" >/dev/null; }
ask SET feature-x 'on||1'
sed -i "s/localhost:6379/127.0.0.1:$port/" redis/configstore.yaml
resources=redis
start
expect '{"feature-x":"on"} 200' "$address/settings"
ask SET feature-x 'off||2'
expect '{"feature-x":"off"} 200' "$address/settings"
ask DEL feature-x
ask SET max-retries 5
expect '{"max-retries":"5"} 200' "$address/settings"
stop
resources=resources

# Without its secret the app starts, and says at each request what is missing.
sed -i 's/name: notification-api/name: other-api/' ../secrets.yaml
start
absent='failed getting secret with key notification-api from secret store kubernetes-secrets: secret notification-api not found'
expect "{\"detail\":\"notifications are not set up: $absent\"} 500" -X POST "$address/tasks/7/notify"
stop
echo '3 passed, 0 failed'
