//! What is counted of shared state.

use prometheus::Registry;

use super::family::Grid;

/// What is counted of shared state.
pub struct StateMetrics {
    locks: Grid<{ LockOperation::ALL.len() }, { LockResult::ALL.len() }>,
}

/// What was asked of a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockOperation {
    /// to have it
    Acquire,
    /// to keep it
    Renew,
    /// to give it back
    Release,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockResult {
    /// as asked
    Done,
    /// the lock is, or became, somebody else's
    Refused,
    /// the request was wrong, or what keeps the lock did not answer
    Failed,
}

impl LockOperation {
    /// Every operation, in declaration order.
    pub const ALL: [Self; 3] = [Self::Acquire, Self::Renew, Self::Release];

    /// The name used in labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Acquire => "acquire",
            Self::Renew => "renew",
            Self::Release => "release",
        }
    }
}

impl LockResult {
    /// Every result, in declaration order.
    pub const ALL: [Self; 3] = [Self::Done, Self::Refused, Self::Failed];

    /// The name used in labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

impl StateMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            locks: Grid::new(
                registry,
                "transom_locks_total",
                "Requests for locks, by what was asked and what came of it",
                ["operation", "result"],
                LockOperation::ALL.map(LockOperation::as_str),
                LockResult::ALL.map(LockResult::as_str),
            ),
        }
    }

    /// A lock was asked for, renewed or released.
    pub fn lock(&self, operation: LockOperation, result: LockResult) {
        self.locks.count(operation as usize, result as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_all_is_the_order_of_declaration() {
        assert!(LockOperation::ALL.iter().enumerate().all(|(i, v)| i == *v as usize));
        assert!(LockResult::ALL.iter().enumerate().all(|(i, v)| i == *v as usize));
    }
}
