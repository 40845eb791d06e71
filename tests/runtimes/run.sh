#!/usr/bin/env bash
# Runs the programs of examples/runtimes/ with the committed guest and compares what they do.
#
#   run.sh [node|python]...
#
# Without arguments: both. A folder in cases/ is a document, or the `arguments` to give, and the
# standard output, standard error and exit status that every program must have; what is not there is
# empty, or 0. contract.mjs and contract.py check the rest of the contract on their runtime.
#
# What the programs need is installed once, into "runtimes" in KEYREF_TEST_CACHE, by default
# ~/.cache/keyref-tests. A runtime that is not on this machine is skipped; with
# KEYREF_REQUIRE_SERVERS=1 that is a failure.
#
# Exit status: 0 nothing failed, 1 something failed, 2 wrong use.
set -euo pipefail

main() {
    local runtime
    [[ $# -gt 0 ]] || set -- node python
    for runtime in "$@"; do
        [[ $runtime == node || $runtime == python ]] || fail 2 'usage: run.sh [node|python]...'
    done

    cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.."
    cache=${XDG_CACHE_HOME:-${HOME:+$HOME/.cache}}
    cache=${KEYREF_TEST_CACHE:-${cache:?set HOME or KEYREF_TEST_CACHE}/keyref-tests}/runtimes
    mkdir -p -- "$cache"
    cache=$(cd -- "$cache" && pwd)
    guest=$PWD/host/guest/keyref_guest.wasm
    scratch=$(mktemp -d "$cache/run.XXXXXX")
    trap 'rm -rf -- "$scratch"' EXIT
    trap 'exit 1' INT TERM HUP

    passed=0 failed=0 skipped=0
    for runtime in "$@"; do
        run "$runtime"
    done
    printf '%d passed, %d failed' "$passed" "$failed"
    ((skipped == 0)) || printf ', %d skipped' "$skipped"
    printf '\n'
    ((failed == 0))
}

# Checks one runtime, and says how that ended.
run() {
    local runtime=$1 before=$failed reason
    if ! reason=$("${runtime}_lacks"); then
        if [[ ${KEYREF_REQUIRE_SERVERS:-} != 1 ]]; then
            skipped=$((skipped + 1))
            printf '%s: skipped: %s\n' "$runtime" "$reason"
            return
        fi
        failed=$((failed + 1))
        printf '%s: %s\n' "$runtime" "$reason"
    elif "${runtime}_install" >"$scratch/$runtime.log" 2>&1; then
        "${runtime}_checks"
    else
        failed=$((failed + 1))
        printf '%s: it could not be installed:\n' "$runtime"
        tail -n 30 -- "$scratch/$runtime.log"
    fi
    if ((failed == before)); then
        printf '%s: ok\n' "$runtime"
    else
        printf '%s: failed\n' "$runtime"
    fi
}

node_lacks() {
    command -v npm >/dev/null || { echo 'npm is not on PATH'; return 1; }
    node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null ||
        { echo 'Node 20 or newer is not on PATH'; return 1; }
}

# The programs import what stands beside them, so they run as copies beside a transpiled guest: the
# repository gets no file.
node_install() {
    local source=examples/runtimes/node built
    built=$cache/node-$(digest "$source/package.json" "$source/package-lock.json") &&
        mkdir -- "$scratch/node" "$scratch/jco" &&
        cp -- "$source"/{package.json,package-lock.json,.npmrc} "$scratch/jco" || return
    if [[ ! -d $built ]]; then
        (cd -- "$scratch/jco" && npm ci --ignore-scripts --no-audit --no-fund) &&
            publish "$scratch/jco" "$built" || return
    fi
    cp -- "$source"/{package.json,*.mjs} tests/runtimes/contract.mjs "$scratch/node" &&
        ln -s -- "$built/node_modules" "$scratch/node/node_modules" &&
        (cd -- "$scratch/node" && npm run transpile -- "$guest")
}

node_checks() {
    local program
    for program in resolve resolve-async; do
        check_cases "node $program" node "$scratch/node/$program.mjs"
    done
    check_contract node node "$scratch/node/contract.mjs"
}

python_lacks() {
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null ||
        { echo 'Python 3.9 or newer is not on PATH'; return 1; }
    python3 -c 'import ensurepip, venv' 2>/dev/null ||
        { echo 'Python has no venv; on Debian: apt-get install python3-venv'; return 1; }
}

python_install() {
    local requirements=examples/runtimes/python/requirements.txt version
    version=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])') &&
        environment=$cache/python-$version-$(digest "$requirements") || return
    if [[ ! -d $environment ]]; then
        python3 -m venv -- "$scratch/venv" &&
            "$scratch/venv/bin/python" -m pip install --requirement "$requirements" &&
            publish "$scratch/venv" "$environment"
    fi
}

python_checks() {
    export PYTHONDONTWRITEBYTECODE=1 PYTHONUTF8=1 PYTHONPATH=examples/runtimes/python
    check_cases 'python resolve' "$environment/bin/python" examples/runtimes/python/resolve.py
    check_contract python "$environment/bin/python" tests/runtimes/contract.py
}

# Runs a program on each case.
check_cases() {
    local name=$1 case arguments
    shift
    for case in tests/runtimes/cases/*/; do
        case=${case%/}
        arguments=(--reveal "$case/document.yaml")
        [[ ! -f $case/arguments ]] || read -r -a arguments <"$case/arguments"
        check "$name: ${case##*/}" "$case" "$@" "${arguments[@]}"
    done
}

check_contract() {
    local name=$1
    shift
    check "$name: contract" /nowhere "$@" tests/runtimes
}

# Runs a command and compares what it prints, and its exit status, with the files of a folder.
check() {
    local name=$1 expected=$2 file wanted status=0 ok=true
    shift 2
    "$@" >"$scratch/stdout.txt" 2>"$scratch/stderr.txt" </dev/null || status=$?
    for file in stdout.txt stderr.txt; do
        wanted=$expected/$file
        [[ -f $wanted ]] || wanted=/dev/null
        diff -u --label "expected $file" --label "$name" -- "$wanted" "$scratch/$file" || ok=false
    done
    wanted=0
    [[ ! -f $expected/status ]] || read -r wanted <"$expected/status"
    if ((status != wanted)); then
        printf '%s: exit status %d, expected %d\n' "$name" "$status" "$wanted"
        ok=false
    fi
    if $ok; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
    fi
}

# A name for what is built from these files.
digest() {
    cat -- "$@" | sha256sum | cut -c 1-16
}

# Puts an installation where runs find it, whole or not at all. Another run may have been faster.
publish() {
    mv -T -- "$1" "$2" 2>/dev/null || [[ -d $2 ]]
}

fail() {
    local status=$1
    shift
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit "$status"
}

main "$@"
