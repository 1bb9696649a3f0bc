//! Metrics, logs, request ids. Labels come only from enums, so the number of series is bounded by construction.

mod family;
mod labels;
pub mod logs;
mod metrics;
mod request_id;

pub use self::labels::{Operation, RequestOutcome, Route};
pub use self::metrics::{Gauges, Metrics};
pub use self::request_id::{REQUEST_ID, RequestId};
