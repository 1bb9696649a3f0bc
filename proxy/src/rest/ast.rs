//! What a query string says, as a tree: the output of the grammar and the input of the planner.
//!
//! Names are still names here: nothing has been looked up in the schema. In every type that carries a user's value, the
//! value comes last, so that the derived order sorts by shape first. The planner relies on it: two requests with the same
//! filters in another order become the same statement.

/// A column, possibly with a path into the JSON that it holds: `data->a->>0`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Field {
    pub(super) column: String,
    pub(super) path: Vec<JsonStep>,
}

/// One arrow of a JSON path with its operand.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct JsonStep {
    pub(super) arrow: Arrow,
    pub(super) operand: JsonOperand,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Arrow {
    /// `->`: the value as JSON
    Json,
    /// `->>`: the value as text
    Text,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum JsonOperand {
    Key(String),
    /// decimal digits with an optional minus sign
    Index(String),
}

/// One item of `select=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SelectItem {
    Star,
    Column {
        field: Field,
        alias: Option<String>,
        cast: Option<String>,
        aggregate: Option<Aggregate>,
    },
    /// `count()`: how many rows there are
    Count {
        alias: Option<String>,
        cast: Option<String>,
    },
    Embed(Embed),
}

/// `.sum()::cast`: what is made of the values of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Aggregate {
    pub(super) function: AggregateFunction,
    pub(super) cast: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AggregateFunction {
    Sum,
    Avg,
    Count,
    Max,
    Min,
}

/// A related resource inside `select=`: `alias:relation!hint!inner(...)`, or spread with `...`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Embed {
    pub(super) relation: String,
    pub(super) alias: Option<String>,
    pub(super) hint: Option<String>,
    pub(super) join: Option<Join>,
    pub(super) form: EmbedForm,
    pub(super) select: Vec<SelectItem>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Join {
    Left,
    Inner,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EmbedForm {
    /// the related rows as one JSON value
    Nested,
    /// the columns of the one related row beside the parent's
    Spread,
}

/// A node of the tree that the horizontal filters form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Condition {
    Filter(Filter),
    Group { polarity: Polarity, logic: Logic, children: Vec<Condition> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Polarity {
    Plain,
    Negated,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Logic {
    And,
    Or,
}

/// `column=operator.value`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Filter {
    pub(super) field: Field,
    pub(super) polarity: Polarity,
    pub(super) operation: Operation,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Compare { operator: Operator, quantifier: Option<Quantifier>, value: String },
    In(Vec<String>),
    Is(Truth),
    IsDistinct(String),
    FullText { query: TextQuery, language: Option<String>, value: String },
}

/// The operators that compare a field with one value
/// (<https://docs.postgrest.org/en/v12/references/api/tables_views.html#operators>).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operator {
    Eq,
    Neq,
    Gt,
    Gte,
    Lt,
    Lte,
    Like,
    Ilike,
    Match,
    Imatch,
    Contains,
    Contained,
    Overlaps,
    StrictlyLeft,
    StrictlyRight,
    NotExtendsRight,
    NotExtendsLeft,
    Adjacent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Quantifier {
    Any,
    All,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Truth {
    Null,
    Unknown,
    True,
    False,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TextQuery {
    Boolean,
    Plain,
    Phrase,
    Websearch,
}

/// One term of `order=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OrderTerm {
    /// set when the term orders by a column of an embedded resource: `relation(column)`
    pub(super) relation: Option<String>,
    pub(super) field: Field,
    pub(super) direction: Option<Direction>,
    pub(super) nulls: Option<Nulls>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Ascending,
    Descending,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nulls {
    First,
    Last,
}
