#!/usr/bin/env bash
# Starts etcd and kube-apiserver on loopback for as long as its stdin is open.
#
#   start-kubernetes.sh DIR [KUBE-APISERVER-FLAG...]
#
# Keeps keys, data, logs and the administrator's kubeconfig under DIR. When the server is ready,
# prints one line of JSON and stays in the foreground:
#
#   {"kubeconfig": "...", "kubectl": "...", "server": "https://127.0.0.1:PORT", "ca": "...", "pids": [ETCD, APISERVER]}
#
# A line `restart` on stdin kills kube-apiserver and starts it again on its port, with what is in etcd;
# when it is ready, the same line of JSON is printed again. A line `stop` kills it until there is a line
# `restart`; the line of JSON is printed once it is gone.
#
# Give it a pipe as stdin and hold the other end: a test process that ends, however it ends, closes
# the pipe, and that stops both servers. SIGTERM and SIGINT do too.
#
# With KEYREF_TEST_KUBECONFIG set, starts nothing and describes that cluster in the same line.
#
# Exit status: 0 stopped as asked, 1 a server did not start or died, 2 wrong use, 3 a tool is missing.
set -euo pipefail

fail() {
    local status=$1
    shift
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit "$status"
}

[[ $# -ge 1 && -n $1 && $1 != -* ]] || fail 2 'usage: start-kubernetes.sh DIR [KUBE-APISERVER-FLAG...]'
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
umask 077 # what lies in DIR opens the server
mkdir -p -- "$1"
dir=$(cd -- "$1" && pwd)
shift

# Two servers in one folder would destroy each other's data. The servers inherit the lock, so it is
# held for as long as one of them lives; those of a script that was just killed need a moment to go.
exec {lock}>"$dir/lock"
flock --timeout 5 "$lock" || fail 1 "another server runs in $dir"

etcd='' apiserver=''

# Nothing in the data is wanted afterwards, so there is no orderly shutdown to wait for. etcd's files
# go as well: it reserves 64 MB at once for its log, and test folders pile up.
stop() {
    local pid
    for pid in $apiserver $etcd; do
        kill -KILL "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    apiserver='' etcd=''
    rm -rf -- "$dir/etcd-data"
}
trap stop EXIT
trap 'exit 0' TERM INT HUP

# Waits so many seconds for stdin to end, and leaves when it does. A line is left in `REPLY`.
watch_stdin() {
    local status=0
    read -r -t "$1" || status=$?
    ((status != 1)) || exit 0 # more than 128 is the time that ran out
}

# Runs a server in the background, with its pid in `$!`. The kernel kills it when this script dies,
# even by SIGKILL, which no trap sees. The kernel does nothing when the script had died before it was
# told to; the shell in between looks once.
launch() {
    local log=$1
    shift
    # shellcheck disable=SC2016 # for the inner shell
    setpriv --pdeathsig KILL sh -c '[ "$PPID" = "$0" ] && exec "$@"' "$$" "$@" \
        </dev/null >"$log" 2>&1 &
}

alive() {
    kill -0 "$1" 2>/dev/null
}

# A port that nobody listens on, below those that the kernel gives to outgoing connections and to
# listeners on port 0. Another process may still take it first: see `start`.
free_port() {
    local port
    while true; do
        port=$((20000 + RANDOM % 10000))
        (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
    done
    printf '%s\n' "$port"
}

# JSON is YAML, so kubeconfigs are written with the same strings.
json() {
    local text=${1//\\/\\\\}
    printf '"%s"' "${text//\"/\\\"}"
}

write_kubeconfig() {
    cat >"$dir/kubeconfig" <<YAML
apiVersion: v1
kind: Config
current-context: test
contexts:
- name: test
  context: {cluster: test, user: admin}
clusters:
- name: test
  cluster:
    server: $(json "$server")
    certificate-authority: $(json "$ca")
users:
- name: admin
  user: {token: $(json "$token")}
YAML
}

# One try. Returns 1 when one of the servers ended, which a port that was taken meanwhile explains.
start() {
    client_port=$(free_port)
    server_port=$(free_port)
    server=https://127.0.0.1:$server_port
    write_kubeconfig
    rm -rf -- "$dir/etcd-data"

    # etcd has no peers, so nobody needs to know which port the kernel gives it for them.
    launch "$dir/etcd.log" etcd --logger zap --log-level warn --data-dir "$dir/etcd-data" \
        --listen-client-urls "http://127.0.0.1:$client_port" \
        --advertise-client-urls "http://127.0.0.1:$client_port" \
        --listen-peer-urls http://127.0.0.1:0 \
        --initial-advertise-peer-urls http://127.0.0.1:0 \
        --initial-cluster default=http://127.0.0.1:0
    etcd=$!
    start_apiserver "$@"
}

start_apiserver() {
    # The ServiceAccount admission plugin wants controllers that do not run here. The advertised
    # address, from a range kept for documentation, is for them too: without one the server looks for
    # a network interface, and a sandbox may have none.
    launch "$dir/kube-apiserver.log" "$binaries/kube-apiserver" \
        --etcd-servers "http://127.0.0.1:$client_port" \
        --bind-address 127.0.0.1 --secure-port "$server_port" --cert-dir "$dir/certs" \
        --advertise-address 192.0.2.1 --endpoint-reconciler-type none \
        --authorization-mode RBAC --token-auth-file "$dir/tokens.csv" \
        --service-account-issuer https://kubernetes.default.svc \
        --service-account-key-file "$dir/service-account.key" \
        --service-account-signing-key-file "$dir/service-account.key" \
        --service-cluster-ip-range 10.0.0.0/24 \
        --disable-admission-plugins ServiceAccount \
        "$@"
    apiserver=$!

    # The certificate is the server's own, so no other process on that port passes for it.
    while ((SECONDS < deadline)); do
        alive "$etcd" && alive "$apiserver" || return 1
        if [[ -s $ca ]] && timeout 5 "$kubectl" --kubeconfig "$dir/kubeconfig" get --raw /readyz >"$dir/readyz.log" 2>&1; then
            return 0
        fi
        watch_stdin 0.2
    done
    fail_with_logs "kube-apiserver was not ready after $timeout seconds"
}

fail_with_logs() {
    local log
    for log in "$dir"/*.log; do
        printf -- '--- the end of %s\n' "$log"
        tail -n 30 -- "$log"
        echo
    done >&2
    fail 1 "$1"
}

# Prints the line that callers wait for, after writing the same for shells.
describe() {
    printf 'export KUBECONFIG=%q KUBECTL=%q\n' "$1" "$2" >"$dir/env"
    printf '{"kubeconfig": %s, "kubectl": %s, "server": %s, "ca": %s, "pids": [%s]}\n' \
        "$(json "$1")" "$(json "$2")" "$(json "$3")" "$(json "$4")" "$5"
}

if [[ -n ${KEYREF_TEST_KUBECONFIG:-} ]]; then
    kubectl=$(command -v kubectl) || fail 3 'kubectl is not on PATH; KEYREF_TEST_KUBECONFIG needs it'
    cluster() {
        "$kubectl" --kubeconfig "$KEYREF_TEST_KUBECONFIG" config view --minify --raw --flatten \
            -o "jsonpath={.clusters[0].cluster.$1}"
    }
    server=$(cluster server)
    ca=''
    authority=$(cluster certificate-authority-data)
    if [[ -n $authority ]]; then
        ca=$dir/ca.crt
        base64 --decode <<<"$authority" >"$ca"
    fi
    describe "$(realpath -- "$KEYREF_TEST_KUBECONFIG")" "$kubectl" "$server" "$ca" ''
    while true; do
        REPLY=
        watch_stdin 3600
        # A cluster that is kept is neither restarted nor stopped for a test.
        [[ $REPLY != restart && $REPLY != stop ]] || describe "$(realpath -- "$KEYREF_TEST_KUBECONFIG")" "$kubectl" "$server" "$ca" ''
    done
fi

# Cheap questions first: the build may take minutes.
command -v etcd >/dev/null || fail 3 'etcd is not on PATH; on Debian: apt-get install etcd-server'
command -v openssl >/dev/null || fail 3 'openssl is not on PATH; on Debian: apt-get install openssl'
setpriv --pdeathsig KILL true 2>/dev/null || fail 3 'setpriv with --pdeathsig is not on PATH; on Debian: apt-get install util-linux'
binaries=$("$here/build-kubernetes.sh") || exit
kubectl=$binaries/kubectl

# etcd takes its flags from the environment too and refuses a flag that is given both ways.
for name in "${!ETCD_@}"; do
    [[ $name == ETCD_UNSUPPORTED_ARCH ]] || unset "$name" # arm64 needs this one
done
export KUBECTL_KUBERC=false # the developer's preferences are not the tests'

ca=$dir/certs/apiserver.crt # the server makes it, self-signed, in --cert-dir
openssl genrsa -out "$dir/service-account.key" 2048 2>/dev/null
token=$(openssl rand -hex 32)
printf '%s,admin,admin,system:masters\n' "$token" >"$dir/tokens.csv"

timeout=${KEYREF_TEST_START_TIMEOUT:-60}
deadline=$((SECONDS + timeout))
until start "$@"; do
    stop
    grep -qs 'address already in use' "$dir"/*.log || fail_with_logs 'a server ended before it was ready'
done
describe "$dir/kubeconfig" "$kubectl" "$server" "$ca" "$etcd, $apiserver"

while alive "$etcd" && alive "$apiserver"; do
    REPLY=
    watch_stdin 1
    [[ $REPLY == restart || $REPLY == stop ]] || continue
    kill -KILL "$apiserver"
    wait "$apiserver" 2>/dev/null || true
    if [[ $REPLY == stop ]]; then
        describe "$dir/kubeconfig" "$kubectl" "$server" "$ca" "$etcd"
        until [[ $REPLY == restart ]]; do
            REPLY=
            watch_stdin 3600
        done
    fi
    deadline=$((SECONDS + timeout))
    start_apiserver "$@" || break
    describe "$dir/kubeconfig" "$kubectl" "$server" "$ca" "$etcd, $apiserver"
done
fail_with_logs 'a server died'
