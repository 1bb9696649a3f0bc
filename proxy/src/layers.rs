//! The middleware around the router; [`stack`](crate::stack) says in which order and why.

pub(crate) mod cors;
pub(crate) mod deadline;
pub(crate) mod farewell;
pub(crate) mod in_flight;
pub(crate) mod rate_limit;
pub(crate) mod introduce;
pub(crate) mod record;
pub(crate) mod rescue;
