//! The functions that can be called.

use std::sync::Arc;

use super::relationship::Rows;
use super::{Dependencies, TableId};

/// A function of an exposed schema, one of its overloads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::rest) struct Routine {
    pub(in crate::rest) id: TableId,
    pub(in crate::rest) parameters: Vec<Parameter>,
    pub(in crate::rest) returns: Returns,
    pub(in crate::rest) volatility: Volatility,
    /// what its result depends on beside the arguments, if these are constants
    pub(in crate::rest) reads: Dependencies,
    /// changes when the function or its privileges do
    pub(in crate::rest) version: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::rest) struct Parameter {
    /// empty if it has none
    pub(in crate::rest) name: Arc<str>,
    /// the type as SQL, without a length that would cut values off
    pub(in crate::rest) sql_type: Arc<str>,
    pub(in crate::rest) need: Need,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::rest) enum Need {
    Required,
    /// it has a default
    Optional,
    /// it takes any number of values, which is at least one unless it has a default
    Variadic,
    OptionalVariadic,
}

impl Need {
    pub(in crate::rest) fn is_required(self) -> bool {
        matches!(self, Self::Required | Self::Variadic)
    }

    pub(in crate::rest) fn is_variadic(self) -> bool {
        matches!(self, Self::Variadic | Self::OptionalVariadic)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::rest) struct Returns {
    pub(in crate::rest) value: Value,
    pub(in crate::rest) rows: Rows,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::rest) enum Value {
    Void,
    /// one value of the type with that name
    Scalar(Arc<str>),
    /// a row of the relation or composite type with that name; `record` for columns of the function's own
    Composite(Arc<str>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::rest) enum Volatility {
    Immutable,
    Stable,
    Volatile,
}
