#!/usr/bin/env bash
# Writes a kubeconfig that acts as a service account, with a token good for an hour.
#
#   service-account-kubeconfig.sh KUBECONFIG KUBECTL NAMESPACE ACCOUNT OUT
#
# KUBECONFIG is an administrator's; OUT names the same cluster and holds nothing else of it.
set -euo pipefail

if [[ $# -ne 5 ]]; then
    echo 'usage: service-account-kubeconfig.sh KUBECONFIG KUBECTL NAMESPACE ACCOUNT OUT' >&2
    exit 2
fi
kubeconfig=$1 kubectl=$2 namespace=$3 account=$4 out=$5
umask 077 # the token is a credential

# From the account's `token` sub-resource, as a pod gets its own.
token=$("$kubectl" --kubeconfig "$kubeconfig" create token "$account" --namespace "$namespace")

# The whole entry, printed as JSON (which is YAML), with its certificates inline: a cluster may need
# more than a server and an authority.
cluster=$("$kubectl" --kubeconfig "$kubeconfig" config view --minify --raw --flatten -o 'jsonpath={.clusters[0].cluster}')

# By a rename, so that nobody reads half of it.
partial=$(mktemp -- "$out.XXXXXX")
trap 'rm -f -- "$partial"' EXIT
cat >"$partial" <<YAML
apiVersion: v1
kind: Config
current-context: test
contexts:
- name: test
  context: {cluster: test, user: "$account", namespace: "$namespace"}
clusters:
- name: test
  cluster: $cluster
users:
- name: "$account"
  user: {token: "$token"}
YAML
mv -T -- "$partial" "$out"
