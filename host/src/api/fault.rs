//! What goes wrong with a request, in Dapr's own codes and words.

use crate::error::Class;

/// Dapr's code of an error.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Code {
    AppChannelNil,
    BodyRead,
    ConfigurationGet,
    ConfigurationStoreNotFound,
    ConfigurationStoresNotConfigured,
    ConfigurationSubscribe,
    ConfigurationUnsubscribe,
    DirectInvoke,
    HealthAppIdNotMatch,
    HealthNotReady,
    MalformedRequest,
    OutboundHealthNotReady,
    PermissionDenied,
    SecretGet,
    SecretStoreNotFound,
    SecretStoresNotConfigured,
}

/// What a code means outside: one row each.
struct Row {
    name: &'static str,
    http_status: u16,
    /// The gRPC status, as its number.
    grpc_status: i32,
    /// What Dapr counts it under.
    category: &'static str,
}

impl Code {
    const ALL: &[Self] = &[
        Self::AppChannelNil,
        Self::BodyRead,
        Self::ConfigurationGet,
        Self::ConfigurationStoreNotFound,
        Self::ConfigurationStoresNotConfigured,
        Self::ConfigurationSubscribe,
        Self::ConfigurationUnsubscribe,
        Self::DirectInvoke,
        Self::HealthAppIdNotMatch,
        Self::HealthNotReady,
        Self::MalformedRequest,
        Self::OutboundHealthNotReady,
        Self::PermissionDenied,
        Self::SecretGet,
        Self::SecretStoreNotFound,
        Self::SecretStoresNotConfigured,
    ];

    /// The code of this name.
    pub(crate) fn of(name: &str) -> Option<Self> {
        let mut all = Self::ALL.iter().copied();
        all.find(|code| code.name() == name)
    }

    /// Such as `ERR_SECRET_GET`.
    pub(crate) fn name(self) -> &'static str {
        self.row().name
    }

    pub(crate) fn http_status(self) -> u16 {
        self.row().http_status
    }

    pub(crate) fn grpc_status(self) -> i32 {
        self.row().grpc_status
    }

    /// What Dapr counts it under, such as `secret`.
    pub(crate) fn category(self) -> &'static str {
        self.row().category
    }

    #[rustfmt::skip]
    fn row(self) -> Row {
        let row = |name, http_status, grpc_status, category| Row { name, http_status, grpc_status, category };
        match self {
            Self::AppChannelNil                    => row("ERR_APP_CHANNEL_NIL",                    500, 13, "common"),
            Self::BodyRead                         => row("ERR_BODY_READ",                          400,  3, "common"),
            Self::ConfigurationGet                 => row("ERR_CONFIGURATION_GET",                  500, 13, "configuration"),
            Self::ConfigurationStoreNotFound       => row("ERR_CONFIGURATION_STORE_NOT_FOUND",      400,  3, "configuration"),
            Self::ConfigurationStoresNotConfigured => row("ERR_CONFIGURATION_STORE_NOT_CONFIGURED", 500,  9, "configuration"),
            Self::ConfigurationSubscribe           => row("ERR_CONFIGURATION_SUBSCRIBE",            500,  3, "configuration"),
            Self::ConfigurationUnsubscribe         => row("ERR_CONFIGURATION_UNSUBSCRIBE",          500, 13, "configuration"),
            Self::DirectInvoke                     => row("ERR_DIRECT_INVOKE",                      404,  5, "service-invocation"),
            Self::HealthAppIdNotMatch              => row("ERR_HEALTH_APPID_NOT_MATCH",             500, 13, "health"),
            Self::HealthNotReady                   => row("ERR_HEALTH_NOT_READY",                   500, 13, "health"),
            Self::MalformedRequest                 => row("ERR_MALFORMED_REQUEST",                  400,  3, "common"),
            Self::OutboundHealthNotReady           => row("ERR_OUTBOUND_HEALTH_NOT_READY",          500, 13, "health"),
            Self::PermissionDenied                 => row("ERR_PERMISSION_DENIED",                  403,  7, "secret"),
            Self::SecretGet                        => row("ERR_SECRET_GET",                         500, 13, "secret"),
            Self::SecretStoreNotFound              => row("ERR_SECRET_STORE_NOT_FOUND",             401,  3, "secret"),
            Self::SecretStoresNotConfigured        => row("ERR_SECRET_STORES_NOT_CONFIGURED",       500,  9, "secret"),
        }
    }
}

/// The name of the header, and of the entry in gRPC's details, that holds keyref's own class.
pub(crate) const CLASS: &str = "keyref-class";

/// Why a request is answered with an error.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) code: Code,
    /// Dapr's text.
    pub(crate) message: String,
    /// What tells absent from failed, where a secret was asked for.
    pub(crate) class: Option<Class>,
}

impl Fault {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            class: None,
        }
    }

    /// Logs it. What a caller sent as a body is not for the log.
    pub(crate) fn log(&self) {
        let code = self.code.name();
        if self.code == Code::MalformedRequest {
            tracing::debug!(code, "a body cannot be read");
        } else {
            tracing::debug!(code, "{}", self.message);
        }
    }

    #[must_use]
    pub(crate) fn of_class(mut self, class: Class) -> Self {
        self.class = Some(class);
        self
    }
}
