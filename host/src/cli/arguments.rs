//! What can be typed.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use keyref::CacheRule;
use keyref::secret::SecretValue;

use super::app_health::AppHealthArguments;
use super::caching;
use super::counts::Counts;
use super::listen_host::ListenHost;
use super::quantity;

/// Resolve the secret references in Dapr manifests, in a sandbox that never sees a secret
#[derive(Debug, Parser)]
#[command(
    name = "keyref",
    version,
    max_term_width = 100,
    arg_required_else_help = true
)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) verb: Verb,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(super) struct Global {
    /// Use a store instead of the one of that name in the documents (can be repeated)
    ///
    /// KIND is a known kind, with or without `secretstores.`; the argument is its most needed
    /// setting: a path for `local.file`, a prefix for `local.env`, a namespace for `kubernetes`.
    /// A file that is named here is not read as a document.
    #[arg(long, global = true, value_name = "NAME=KIND:ARGUMENT")]
    pub(super) store: Vec<String>,

    /// Apply the policy of a Dapr Configuration (can be repeated; the last one with scopes counts)
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Vec<PathBuf>,

    /// Load components for this app id
    ///
    /// Without it, the `scopes` of components exclude nobody.
    #[arg(long, global = true, value_name = "ID")]
    pub(super) app_id: Option<String>,

    /// Load components for this namespace
    ///
    /// The default is the environment variable `NAMESPACE`; without either, none is excluded.
    #[arg(long, global = true, value_name = "NAME")]
    pub(super) namespace: Option<String>,

    /// Say what happens where Dapr goes on silently
    #[arg(long, global = true, value_name = "MODE", default_value = "strict")]
    pub(super) mode: ModeArgument,

    /// Use the store `kubernetes` for references that name none, as Dapr does in a cluster
    #[arg(long, global = true)]
    pub(super) kubernetes: bool,

    /// Run another implementation of the guest, compiled now and granted nothing
    #[cfg(feature = "guest")]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) guest: Option<PathBuf>,

    /// Give up after this many seconds; a server gives up a request, or reading its documents
    #[arg(long, global = true, value_name = "SECONDS")]
    pub(super) timeout: Option<u64>,

    /// Print backend calls, cache hits and the time of each stage to standard error; a server logs
    /// its backend calls and denials at its end
    #[arg(long, global = true)]
    pub(super) stats: bool,

    /// Color the output
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(super) color: Color,

    /// Print no warnings
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(super) quiet: bool,

    /// Log more (can be repeated)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(super) verbose: u8,

    /// What a server counts for `--stats`.
    #[arg(skip)]
    pub(super) counts: Option<Arc<Counts>>,

    /// What a server reads its files with.
    #[arg(skip)]
    pub(super) serving: Serving,
}

/// What a server reads its files with.
#[derive(Clone, Debug, Default)]
pub(super) struct Serving {
    /// What it adds to its environment.
    pub(super) variables: Vec<(String, SecretValue)>,
    /// Whether it runs without the handlers of `spec.httpPipeline`.
    pub(super) ignores_http_pipeline: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Print components with their references resolved, secrets masked unless `--reveal`
    Resolve(ResolveArguments),
    /// Say whether documents resolve; print no value ever
    Check(CheckArguments),
    /// List components and what they refer to; fetch nothing
    Inspect(InspectArguments),
    /// Print one secret, or one key of it
    Get(GetArguments),
    /// Print every secret of a store that policy allows
    Bulk(BulkArguments),
    /// List the stores of documents, and the kinds that are known
    Stores(StoresArguments),
    /// Serve Dapr's APIs to Dapr SDKs: secrets, configuration, health, metadata and shutdown
    ///
    /// Called as `daprd`, or with flags and no verb, keyref serves as well, takes every flag of `daprd`
    /// in each of its spellings (`--name=value`, `-name value`) beside its own, and logs to standard
    /// output. Flags without a meaning here are named in the log. `--mode` then takes Dapr's
    /// `standalone` and `kubernetes`, too: serving is strict unless it is also told `--mode dapr`.
    Serve(Box<ServeArguments>),
    /// Print completions for a shell
    Completions(CompletionsArguments),
}

#[derive(Debug, Args)]
pub(super) struct ResolveArguments {
    /// Files, folders or patterns; `-` is standard input
    #[arg(required = true, value_name = "DOCUMENT")]
    pub(super) documents: Vec<String>,
    /// Show the values of secrets
    #[arg(long)]
    pub(super) reveal: bool,
    /// The form of the output
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(super) format: ResolveFormat,
}

#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    /// Files, folders or patterns; `-` is standard input
    #[arg(required = true, value_name = "DOCUMENT")]
    pub(super) documents: Vec<String>,
    /// Ask no store: check documents, references and policy alone
    #[arg(long)]
    pub(super) offline: bool,
    /// The form of the output
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(super) format: CheckFormat,
}

#[derive(Debug, Args)]
pub(super) struct InspectArguments {
    /// Files, folders or patterns; `-` is standard input
    #[arg(required = true, value_name = "DOCUMENT")]
    pub(super) documents: Vec<String>,
    /// The form of the output
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(super) format: Format,
}

#[derive(Debug, Args)]
pub(super) struct GetArguments {
    /// The name of the store
    #[arg(value_name = "STORE")]
    pub(super) name: String,
    /// The name of the secret
    pub(super) secret: String,
    /// The key; without it, all keys are printed
    pub(super) key: Option<String>,
    /// Documents that declare the store (can be repeated)
    #[arg(long, short, value_name = "DOCUMENT")]
    pub(super) resources: Vec<String>,
    /// The form of the output
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(super) format: Format,
}

#[derive(Debug, Args)]
pub(super) struct BulkArguments {
    /// The name of the store
    #[arg(value_name = "STORE")]
    pub(super) name: String,
    /// Documents that declare the store (can be repeated)
    #[arg(long, short, value_name = "DOCUMENT")]
    pub(super) resources: Vec<String>,
    /// The form of the output
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(super) format: Format,
}

#[derive(Debug, Args)]
pub(super) struct StoresArguments {
    /// Files, folders or patterns that declare stores; `-` is standard input
    #[arg(value_name = "DOCUMENT")]
    pub(super) documents: Vec<String>,
    /// The form of the output
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(super) format: Format,
}

#[derive(Debug, Args)]
#[command(args_override_self = true)]
pub(super) struct ServeArguments {
    /// Files, folders or patterns that declare components (can be repeated)
    #[arg(
        long,
        short,
        value_name = "DOCUMENT",
        visible_alias = "resources-path",
        alias = "components-path",
        action = clap::ArgAction::Append,
        value_delimiter = ','
    )]
    pub(super) resources: Vec<String>,
    /// Keep what a secret store says; `*` is every store not named (can be repeated)
    ///
    /// Values are kept for TTL, give or take a tenth; `negative` is how long it is known that a
    /// secret does not exist, `stale` how long after its time a value is given out while the store
    /// cannot be reached. Times are such as `30s`, `5m` or `1h30m`; `0s` for none. Policy is asked
    /// each time. By default each read asks the store, as in Dapr.
    #[arg(
        long,
        value_name = "STORE=TTL[,negative=TIME][,stale=TIME]",
        action = clap::ArgAction::Append,
        value_parser = caching::rule
    )]
    pub(super) cache: Vec<(String, CacheRule)>,
    /// The port of HTTP; 0 is a free one
    #[arg(long, value_name = "PORT", default_value_t = 3500)]
    pub(super) dapr_http_port: u16,
    /// The port of gRPC; 0 is a free one
    #[arg(long, value_name = "PORT", default_value_t = 50001)]
    pub(super) dapr_grpc_port: u16,
    /// The port of health and metadata alone, on all addresses and without a token
    #[arg(long, value_name = "PORT")]
    pub(super) dapr_public_port: Option<u16>,
    /// The address of the public port
    #[arg(long, value_name = "HOST", default_value = "0.0.0.0")]
    pub(super) dapr_public_listen_address: ListenHost,
    /// The port of resolved components over HTTP and gRPC, with every secret that they refer to
    ///
    /// It is off without this. Whoever can reach it has these secrets, so it asks for the token of
    /// `KEYREF_COMPONENTS_TOKEN`, as `authorization: Bearer TOKEN`, where that is set. 0 is a free
    /// port.
    #[arg(long, value_name = "PORT")]
    pub(super) components_port: Option<u16>,
    /// The address of resolved components
    #[arg(long, value_name = "HOST", default_value = "127.0.0.1")]
    pub(super) components_listen_address: ListenHost,
    /// A file with the tokens for resolved components, one on each line (watched)
    ///
    /// It stands in for the environment variable `KEYREF_COMPONENTS_TOKEN`.
    #[arg(long, value_name = "FILE")]
    pub(super) components_token_file: Option<PathBuf>,
    /// How often components are resolved again, beside at each change of a file
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 60,
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    pub(super) components_refresh: u64,
    /// The port of a status page: stores, components, the last requests, and never a value
    ///
    /// It is off without this. The page asks for the token of `KEYREF_ADMIN_TOKEN`, as the password of
    /// any name, where that is set. 0 is a free port.
    #[arg(long, value_name = "PORT")]
    pub(super) admin_port: Option<u16>,
    /// The address of the status page
    #[arg(long, value_name = "HOST", default_value = "127.0.0.1")]
    pub(super) admin_listen_address: ListenHost,
    /// A file with the tokens for the status page, one on each line (watched)
    ///
    /// It stands in for the environment variable `KEYREF_ADMIN_TOKEN`.
    #[arg(long, value_name = "FILE")]
    pub(super) admin_token_file: Option<PathBuf>,
    /// The addresses or names of HTTP and gRPC, of which one must bind
    ///
    /// A name stands for all its addresses.
    #[arg(
        long,
        value_name = "HOST",
        default_value = "127.0.0.1",
        value_delimiter = ','
    )]
    pub(super) dapr_listen_addresses: Vec<ListenHost>,
    /// Serve secrets on an address that others can reach, or to every page in a browser, without
    /// asking for a token or a client's certificate
    #[arg(long)]
    pub(super) allow_public_without_token: bool,
    #[command(flatten)]
    pub(super) left_out: LeftOutArguments,
    /// The folder for sockets that take the place of all addresses for HTTP and gRPC
    #[arg(
        long,
        value_name = "DIR",
        default_value = "",
        hide_default_value = true,
        conflicts_with = "tls_cert"
    )]
    pub(super) unix_domain_socket: String,
    /// The server's certificate in PEM: with it, all but the public and the metrics port speak TLS
    /// (watched)
    ///
    /// That is HTTP, gRPC, resolved components and the status page.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(super) tls_cert: Option<PathBuf>,
    /// The key of the server's certificate (watched)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(super) tls_key: Option<PathBuf>,
    /// Serve only clients whose certificate one of these authorities has signed (watched)
    ///
    /// On all ports that speak TLS. Resolved components and the status page ask for their tokens as
    /// well, where there are some.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(super) tls_client_ca: Option<PathBuf>,
    /// A file with tokens, one on each line, of which callers must send one (watched)
    ///
    /// It stands in for the environment variable `DAPR_API_TOKEN`. Where it becomes empty, nobody
    /// is served.
    #[arg(long, value_name = "FILE")]
    pub(super) dapr_api_token_file: Option<PathBuf>,
    /// A file with the token that the app asks for (watched)
    ///
    /// It stands in for the environment variable `APP_API_TOKEN`.
    #[arg(long, value_name = "FILE")]
    pub(super) app_api_token_file: Option<PathBuf>,
    /// The origins whose pages may call over HTTP, with commas between them; `*` is all
    #[arg(
        long,
        value_name = "ORIGINS",
        default_value = "",
        hide_default_value = true
    )]
    pub(super) allowed_origins: String,
    /// The port on which the app listens
    ///
    /// With it, `/v1.0/healthz` waits for the app, and the app can be told of configuration.
    #[arg(long, value_name = "PORT")]
    pub(super) app_port: Option<u16>,
    /// What the app speaks: `http`, `https`, `h2c`, `grpc` or `grpcs`
    #[arg(long, value_name = "PROTOCOL", default_value = "http")]
    pub(super) app_protocol: String,
    /// The host on which the app listens
    #[arg(long, value_name = "HOST", default_value = "127.0.0.1")]
    pub(super) app_channel_address: String,
    #[command(flatten)]
    pub(super) app_health: AppHealthArguments,
    /// The port on which Prometheus reads metrics, without a token; 0 is a free one
    #[arg(long, value_name = "PORT", default_value_t = 9090)]
    pub(super) metrics_port: u16,
    /// The address of the metrics port
    #[arg(long, value_name = "HOST", default_value = "0.0.0.0")]
    pub(super) metrics_listen_address: ListenHost,
    /// Append a line of JSON to this file for each request for secrets; `-` is standard error
    ///
    /// Who asked, what for, what decided, and how it ended; never a value. At SIGHUP the file is
    /// opened again. No request waits for it: what cannot be written is counted, and told in the log.
    #[arg(long, value_name = "FILE")]
    pub(super) audit_log: Option<PathBuf>,
    /// Record and serve metrics
    #[arg(
        long,
        value_name = "BOOLEAN",
        default_value_t = true,
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        action = clap::ArgAction::Set
    )]
    pub(super) enable_metrics: bool,
    /// The authorities that sign the app's certificate; without them, those of the operating system
    /// do, and on this machine any certificate is accepted
    #[arg(long, value_name = "FILE")]
    pub(super) app_tls_ca: Option<PathBuf>,
    /// How many bytes a body or a gRPC message may have
    #[arg(long, value_name = "QUANTITY", default_value = "4Mi", value_parser = quantity::bytes)]
    pub(super) max_body_size: usize,
    /// How many bytes the head of a request may have
    #[arg(long, value_name = "QUANTITY", default_value = "4Ki", value_parser = quantity::bytes)]
    pub(super) read_buffer_size: usize,
    /// How many threads answer requests, each of which may keep a processor busy
    ///
    /// By default half as many as there are processors, and at least one: the app needs them, too.
    #[arg(
        long,
        value_name = "NUMBER",
        value_parser = clap::value_parser!(u16).range(1..=1024)
    )]
    pub(super) worker_threads: Option<u16>,
    /// How long requests under way, and the app of COMMAND, may take once the server ends
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    pub(super) dapr_graceful_shutdown_seconds: u64,
    /// How long to keep serving after SIGTERM or SIGINT before the server ends
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = quantity::duration)]
    pub(super) dapr_block_shutdown_duration: Duration,
    /// How much is logged; `-q` is `error`, `-v` is `debug`
    #[arg(
        long,
        value_name = "LEVEL",
        default_value = "info",
        ignore_case = true,
        conflicts_with_all = ["quiet", "verbose"]
    )]
    pub(super) log_level: LogLevel,
    /// Log JSON
    #[arg(long)]
    pub(super) log_as_json: bool,
    /// Append the log to this file
    #[arg(long, value_name = "FILE")]
    pub(super) log_file: Option<PathBuf>,
    /// Log each call, or none, whatever `--config` says
    #[arg(
        long,
        value_name = "BOOLEAN",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub(super) enable_api_logging: Option<bool>,
    /// An app to start once the server is ready
    ///
    /// It finds `DAPR_HTTP_PORT`, `DAPR_GRPC_PORT` and `DAPR_METRICS_PORT` in its environment, and
    /// where SDKs would not look by themselves, `DAPR_HTTP_ENDPOINT` and `DAPR_GRPC_ENDPOINT`. SIGTERM, SIGINT, SIGQUIT,
    /// SIGUSR1 and SIGUSR2 are passed on to it; SIGHUP reloads what is served. When it ends, the
    /// server ends with its status, or 128 and the number of its signal.
    #[arg(last = true, value_name = "COMMAND")]
    pub(super) command: Vec<OsString>,
    /// How this was asked for as `daprd`.
    #[arg(skip)]
    pub(super) drop_in: Option<DropIn>,
}

/// What of Dapr is not here, and may be left out.
#[derive(Debug, Args)]
pub(super) struct LeftOutArguments {
    /// Serve although a Configuration has handlers in `spec.httpPipeline`, and without them
    ///
    /// They may guard what is served. Those that are left out are named in the log.
    #[arg(long)]
    pub(super) ignore_http_pipeline: bool,
}

/// What is known of a server that stands in for `daprd`.
#[derive(Clone, Debug)]
pub(super) struct DropIn {
    /// What was given and has no meaning here.
    pub(super) without_meaning: Vec<String>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum LogLevel {
    /// All that happens
    Debug,
    /// What an operator wants to know
    Info,
    /// What may be wrong
    Warn,
    /// What is wrong
    Error,
    /// What ends the server
    Fatal,
}

#[derive(Debug, Args)]
pub(super) struct CompletionsArguments {
    /// The shell
    pub(super) shell: Shell,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum ModeArgument {
    /// A reference that cannot be resolved is an error
    Strict,
    /// Dapr's own lenient outcome
    Dapr,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum Color {
    /// Where standard error is a terminal
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum Format {
    /// For people
    Text,
    /// For programs
    Json,
    /// The same as JSON, as YAML
    Yaml,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum ResolveFormat {
    /// For people
    Text,
    /// For programs
    Json,
    /// The same as JSON, as YAML
    Yaml,
    /// Assignments for a shell, one for each property; needs `--reveal`
    Env,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum CheckFormat {
    /// For people
    Text,
    /// For programs
    Json,
    /// The same as JSON, as YAML
    Yaml,
    /// SARIF 2.1.0, for code scanning
    Sarif,
}
