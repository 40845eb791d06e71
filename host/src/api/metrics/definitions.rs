//! What each metric is called: Dapr's, in its own words, and keyref's.

use crate::api::metrics::family::Definition;

macro_rules! define {
    ($($name:ident = $view:literal [$($label:literal),*] $help:literal;)*) => {
        $(pub(crate) const $name: Definition = Definition {
            view: $view,
            help: $help,
            labels: &[$($label),*],
        };)*
    };
}

define! {
    HTTP_REQUEST_BYTES = "http/server/request_bytes" ["app_id"]
        "HTTP request body size if set as ContentLength (uncompressed) in server.";
    HTTP_RESPONSE_BYTES = "http/server/response_bytes" ["app_id"]
        "HTTP response body size (uncompressed) in server.";
    HTTP_LATENCY = "http/server/latency" ["app_id", "method", "path", "status"]
        "HTTP request end-to-end latency in server.";
    HTTP_REQUEST_COUNT = "http/server/request_count" ["app_id", "method", "path", "status"]
        "Count of HTTP requests processed by the server.";
    HTTP_RESPONSE_COUNT = "http/server/response_count" ["app_id", "method", "path", "status"]
        "The number of HTTP responses";

    PROBE_COUNT = "http/healthprobes/completed_count" ["app_id", "status"]
        "Count of completed health probes";
    PROBE_LATENCY = "http/healthprobes/roundtrip_latency" ["app_id", "status"]
        "Time between first byte of health probes headers sent to last byte of response received, or terminal error";

    GRPC_RECEIVED_BYTES = "grpc.io/server/received_bytes_per_rpc" ["app_id", "grpc_server_method"]
        "Total bytes received across all messages per RPC.";
    GRPC_SENT_BYTES = "grpc.io/server/sent_bytes_per_rpc" ["app_id", "grpc_server_method"]
        "Total bytes sent in across all response messages per RPC.";
    GRPC_LATENCY = "grpc.io/server/server_latency"
        ["app_id", "grpc_server_method", "grpc_server_status"]
        "Time between first byte of request received to last byte of response sent, or terminal error.";
    GRPC_COMPLETED = "grpc.io/server/completed_rpcs"
        ["app_id", "grpc_server_method", "grpc_server_status"]
        "Distribution of bytes sent per RPC, by method.";

    SECRET_COUNT = "component/secret/count"
        ["app_id", "component", "namespace", "operation", "success"]
        "The number of operations performed on the secret component.";
    SECRET_LATENCY = "component/secret/latencies"
        ["app_id", "component", "namespace", "operation", "success"]
        "The latency of the response from the secret component.";
    CONFIGURATION_COUNT = "component/configuration/count"
        ["app_id", "component", "namespace", "operation", "success"]
        "The number of operations performed on the configuration component.";
    CONFIGURATION_LATENCY = "component/configuration/latencies"
        ["app_id", "component", "namespace", "operation", "success"]
        "The latency of the response from the configuration component.";

    COMPONENT_LOADED = "runtime/component/loaded" ["app_id"]
        "The number of successfully loaded components.";
    COMPONENT_INIT = "runtime/component/init_total" ["app_id", "component"]
        "The number of initialized components.";
    COMPONENT_INIT_FAIL = "runtime/component/init_fail_total"
        ["app_id", "component", "componentName", "reason"]
        "The number of component initialization failures.";

    RESILIENCY_LOADED = "resiliency/loaded" ["app_id", "name", "namespace"]
        "Number of resiliency policies loaded.";
    RESILIENCY_COUNT = "resiliency/count"
        ["app_id", "flow_direction", "name", "namespace", "policy", "status", "target"]
        "Number of times a resiliency policyKey has been applied to a building block.";
    RESILIENCY_ACTIVATIONS = "resiliency/activations_total"
        ["app_id", "flow_direction", "name", "namespace", "policy", "status", "target"]
        "Number of times a resiliency policyKey has been activated in a building block after a failure or after a state change.";

    ERROR_CODE = "error_code/total" ["app_id", "category", "error_code"]
        "Total number of times an error with a specific error code was encountered.";

    DENIED = "keyref_denied_requests_total" ["app_id", "reason"]
        "The number of requests that were refused: for want of the API token (token), by the lists of APIs (api), or by the policy of a secret store (policy).";
    STORE_ERRORS = "keyref_store_errors_total" ["app_id", "class", "component"]
        "The number of operations on a store that failed, by keyref's class of the failure.";
    RELOADS = "keyref_reloads_total" ["app_id", "outcome"]
        "The number of times that documents were read again: taken over (ok), or kept out because of what is wrong with them (failed).";
}

/// How many subscriptions to configuration are open.
pub(crate) const SUBSCRIPTIONS: &str = "keyref_subscriptions";
/// What has become of the records of the audit trail.
pub(crate) const AUDIT: &str = "keyref_audit_records_total";
/// Which state the breakers of policies are in.
pub(crate) const RESILIENCY_STATE: &str = "dapr_resiliency_cb_state";
/// How the cache of secret stores has answered.
pub(crate) const CACHE_READS: &str = "keyref_cache_reads_total";
/// How much of it had to go.
pub(crate) const CACHE_EVICTIONS: &str = "keyref_cache_evictions_total";
/// How much is in it.
pub(crate) const CACHE_ENTRIES: &str = "keyref_cache_entries";
pub(crate) const CACHE_BYTES: &str = "keyref_cache_bytes";
/// Which version runs.
pub(crate) const BUILD: &str = "keyref_build_info";
