//! What is counted of structures that Redis has itself: filters, counters, indexes.

use prometheus::Registry;

use super::family::Grid;
use crate::error::{Error, StateRefusal};

/// What was asked of a structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StructureOperation {
    /// of a filter: to be made
    ExistenceReserve,
    /// of a filter: as it stands
    ExistenceLook,
    /// of a filter: to take items
    ExistenceAdd,
    /// of a filter: which items are absent
    ExistenceCheck,
    /// of a filter: to go
    ExistenceDelete,
    /// of a counter: to take items
    CardinalityAdd,
    /// of a counter: how many there were
    CardinalityCount,
    /// of a counter: to take the items of others
    CardinalityMerge,
    /// of a counter: to go
    CardinalityDelete,
    /// of an index: to take or move members
    NearnessPut,
    /// of an index: to let members go
    NearnessRemove,
    /// of an index: how many there are
    NearnessLook,
    /// of an index: who is within a circle
    NearnessNear,
    /// of an index: who is within a box
    NearnessWithin,
    /// of an index: how far two are from each other
    NearnessDistance,
    /// of an index: to go
    NearnessDelete,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StructureResult {
    /// as asked
    Done,
    /// it is not there, or is made for something else
    Refused,
    /// the request was wrong, or Redis did not answer
    Failed,
}

/// Requests for structures.
pub(super) struct StructureMetrics(Grid<{ StructureOperation::ALL.len() }, { StructureResult::ALL.len() }>);

impl StructureMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        Self(Grid::new(
            registry,
            "transom_structures_total",
            "Requests for filters, counters and indexes, by what was asked and what came of it",
            ["operation", "result"],
            StructureOperation::ALL.map(StructureOperation::as_str),
            StructureResult::ALL.map(StructureResult::as_str),
        ))
    }

    pub(super) fn count(&self, operation: StructureOperation, result: StructureResult) {
        self.0.count(operation as usize, result as usize);
    }
}

impl StructureOperation {
    /// Every operation, in declaration order.
    pub const ALL: [Self; 16] = [
        Self::ExistenceReserve,
        Self::ExistenceLook,
        Self::ExistenceAdd,
        Self::ExistenceCheck,
        Self::ExistenceDelete,
        Self::CardinalityAdd,
        Self::CardinalityCount,
        Self::CardinalityMerge,
        Self::CardinalityDelete,
        Self::NearnessPut,
        Self::NearnessRemove,
        Self::NearnessLook,
        Self::NearnessNear,
        Self::NearnessWithin,
        Self::NearnessDistance,
        Self::NearnessDelete,
    ];

    /// The name used in labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ExistenceReserve => "existence-reserve",
            Self::ExistenceLook => "existence-look",
            Self::ExistenceAdd => "existence-add",
            Self::ExistenceCheck => "existence-check",
            Self::ExistenceDelete => "existence-delete",
            Self::CardinalityAdd => "cardinality-add",
            Self::CardinalityCount => "cardinality-count",
            Self::CardinalityMerge => "cardinality-merge",
            Self::CardinalityDelete => "cardinality-delete",
            Self::NearnessPut => "nearness-put",
            Self::NearnessRemove => "nearness-remove",
            Self::NearnessLook => "nearness-look",
            Self::NearnessNear => "nearness-near",
            Self::NearnessWithin => "nearness-within",
            Self::NearnessDistance => "nearness-distance",
            Self::NearnessDelete => "nearness-delete",
        }
    }
}

impl StructureResult {
    /// Every result, in declaration order.
    pub const ALL: [Self; 3] = [Self::Done, Self::Refused, Self::Failed];

    /// Of an answer.
    pub(super) fn of<T>(answer: &Result<T, Error>) -> Self {
        match answer {
            Ok(_) => Self::Done,
            Err(Error::State(StateRefusal::NotThere { .. } | StateRefusal::Differs { .. })) => Self::Refused,
            Err(_) => Self::Failed,
        }
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_all_is_the_order_of_declaration() {
        assert!(StructureOperation::ALL.iter().enumerate().all(|(i, v)| i == *v as usize));
        assert!(StructureResult::ALL.iter().enumerate().all(|(i, v)| i == *v as usize));
    }
}
