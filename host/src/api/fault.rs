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
}

impl Code {
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

    #[rustfmt::skip]
    fn row(self) -> Row {
        let row = |name, http_status, grpc_status| Row { name, http_status, grpc_status };
        match self {
            Self::AppChannelNil                    => row("ERR_APP_CHANNEL_NIL",                    500, 13),
            Self::BodyRead                         => row("ERR_BODY_READ",                          400,  3),
            Self::ConfigurationGet                 => row("ERR_CONFIGURATION_GET",                  500, 13),
            Self::ConfigurationStoreNotFound       => row("ERR_CONFIGURATION_STORE_NOT_FOUND",      400,  3),
            Self::ConfigurationStoresNotConfigured => row("ERR_CONFIGURATION_STORE_NOT_CONFIGURED", 500,  9),
            Self::ConfigurationSubscribe           => row("ERR_CONFIGURATION_SUBSCRIBE",            500,  3),
            Self::DirectInvoke                     => row("ERR_DIRECT_INVOKE",                      404,  5),
            Self::HealthAppIdNotMatch              => row("ERR_HEALTH_APPID_NOT_MATCH",             500, 13),
            Self::HealthNotReady                   => row("ERR_HEALTH_NOT_READY",                   500, 13),
            Self::MalformedRequest                 => row("ERR_MALFORMED_REQUEST",                  400,  3),
            Self::OutboundHealthNotReady           => row("ERR_OUTBOUND_HEALTH_NOT_READY",          500, 13),
            Self::PermissionDenied                 => row("ERR_PERMISSION_DENIED",                  403,  7),
            Self::SecretGet                        => row("ERR_SECRET_GET",                         500, 13),
            Self::SecretStoreNotFound              => row("ERR_SECRET_STORE_NOT_FOUND",             401,  3),
            Self::SecretStoresNotConfigured        => row("ERR_SECRET_STORES_NOT_CONFIGURED",       500,  9),
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
