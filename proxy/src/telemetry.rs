//! Metrics, logs, request ids. Labels come only from enums, so the number of series is bounded by construction.

mod observer;
mod metrics;
mod state;
mod structures;
mod absent;
mod gauges;
mod hits;
mod family;
mod labels;
mod request_id;
pub mod logs;

pub use self::absent::AbsentResult;
pub use self::gauges::Gauges;
pub use self::hits::Hits;
pub use self::labels::{AuditSkip, Operation, Reload, RequestOutcome, Route};
pub use self::metrics::Metrics;
pub(crate) use self::observer::CacheObserver;
pub use self::request_id::{REQUEST_ID, RequestId};
pub use self::state::{
    EventCount, LockOperation, LockResult, RateResult, RateSubject, SessionOperation, SessionResult, StateMetrics,
};
pub use self::structures::{StructureOperation, StructureResult};
