//! Dapr's statuses, with its details.

use std::collections::HashMap;

use tonic::{Code as GrpcCode, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::api::fault::{CLASS, Fault};

/// The domain of Dapr's error details.
const DOMAIN: &str = "dapr.io";

/// What is said to a caller whose token is not, or no longer, the right one.
pub(super) const MISMATCH: &str = "authentication error: api token mismatch";

pub(super) fn unauthenticated(detail: &str) -> Status {
    of_http(GrpcCode::Unauthenticated, "Unauthorized", 401, detail)
}

/// For a method that the lists of APIs take away.
pub(super) fn unavailable() -> Status {
    let detail = "requested endpoint is not available";
    of_http(GrpcCode::Unimplemented, "Not Implemented", 501, detail)
}

/// A status as Dapr makes it of one of HTTP.
fn of_http(code: GrpcCode, text: &str, http: u16, detail: &str) -> Status {
    let metadata = [
        ("http.code", http.to_string()),
        ("http.error_message", detail.to_owned()),
    ];
    let metadata = metadata.map(|(name, value)| (name.to_owned(), value));
    let details = ErrorDetails::with_error_info(text, DOMAIN, HashMap::from(metadata));
    Status::with_error_details(code, text, details)
}

impl From<Fault> for Status {
    fn from(fault: Fault) -> Self {
        let class = fault
            .class
            .map(|class| (CLASS.to_owned(), class.code().to_owned()));
        let metadata: HashMap<_, _> = class.into_iter().collect();
        let details = ErrorDetails::with_error_info(fault.code.name(), DOMAIN, metadata);
        let code = GrpcCode::from_i32(fault.code.grpc_status());
        fault.log();
        Self::with_error_details(code, fault.message, details)
    }
}
