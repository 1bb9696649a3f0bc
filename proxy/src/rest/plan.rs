//! From request to plan: looks names up in the schema cache and decides what to run.

mod allow;
mod root;
mod call;
mod embed;

use std::sync::Arc;

use embed::{Graft, Twig};

use super::answer::{Content, ReadShape, RowsShape, WriteKind, WriteShape};
use super::ast::{Condition, Filter, Operation, Operator, Polarity};
use super::footprint::{Beyond, Footprint};
use super::request::{
    Action, Body, Count, Execution, Format, Kinds, Negotiated, Payload, Producer, Range, Request, Resolution, Return,
    Selection,
};
use super::schema::{Changes, Dependencies, Handler, Maker, Opaque, SchemaCache, TableId};
use super::sql::{
    Affected, Conflict, Counted, End, Mutation, WriteParts, estimate_statement, read_statement, write_statement,
};
use super::statement::Statement;
use super::tree::{Node, Output};
use super::{Error, Inbound, Settings};
use crate::config::Ending;

/// What a request comes down to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    Read(ReadPlan),
    Write(WritePlan),
}

/// One query. Statement and shape together identify the answer, for one role and one schema cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadPlan {
    pub statement: Statement,
    /// shared by all plans of this form that are kept
    pub shape: Arc<ReadShape>,
    /// what the planner is asked about the total
    pub estimate: Option<Box<Estimate>>,
    /// the time zone of the session, if not the usual
    pub zone: Option<&'static str>,
    /// what the answer depends on
    pub reads: Dependencies,
    /// of which of these tables not any row matters
    pub footprint: Footprint,
    /// the table, view or function that was named; its schema goes first in the search path
    pub target: TableId,
    /// the path and canonical query of the request, which the reply repeats as its `Content-Location`; empty for a call of a
    /// function. Not part of the answer: other spellings of the question share it.
    pub location: String,
}

/// A question to PostgreSQL's planner: how many rows there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Estimate {
    /// gives a plan as JSON
    pub statement: Statement,
    /// it is asked only if more rows than this were counted
    pub above: Option<i64>,
}

/// One statement, to be run in a transaction that is rolled back if its answer is an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WritePlan {
    pub statement: Statement,
    pub shape: WriteShape,
    pub changes: Changes,
    /// how the transaction ends if nothing fails
    pub ending: Ending,
    /// the time zone of the session, if not the usual
    pub zone: Option<&'static str>,
    pub schema: String,
    pub table: String,
}

/// Plans a request. Pure: the same arguments give the same plan.
///
/// # Errors
/// Whatever can be known to be wrong without asking PostgreSQL. Unknown tables and columns of a read are not among it:
/// they may have been created since the cache was loaded, and PostgreSQL words the complaint.
pub fn plan(inbound: &Inbound<'_>, schema: &SchemaCache, settings: &Settings) -> Result<Plan, Error> {
    if *inbound.method == http::Method::OPTIONS {
        return allow::plan_options(inbound, schema, settings);
    }
    if root::is_root(inbound) {
        return root::plan_root(inbound, schema, settings);
    }
    let request = Request::read(inbound, settings)?;
    match request.action {
        Action::Read(body) => plan_read(&request, body, schema, settings).map(Plan::Read),
        Action::Insert(_) | Action::Update(_) | Action::Upsert(_) | Action::Delete => {
            plan_write(request, schema, settings).map(Plan::Write)
        }
        Action::Call(ref call) => call::plan_call(&request, call, schema, settings),
    }
}

fn plan_read(request: &Request, body: Body, schema: &SchemaCache, settings: &Settings) -> Result<ReadPlan, Error> {
    let mut node = node(request, schema, settings)?;
    node.limit_rows(settings.max_rows);
    let target = TableId { schema: request.schema.as_str().into(), name: request.table.as_str().into() };
    let Negotiated { format, execution } = negotiate(request, &target, &node, schema, settings)?;
    request.unknown_preferences.refuse()?;
    let mut reads = node.dependencies();
    reads.opaque = reads.opaque.or_else(|| opacity_of_making(&format, execution.as_ref()));
    let counted = match (request.preferences.count, settings.max_rows) {
        (None | Some(Count::Planned), _) => Counted::Not,
        // One more, so that it shows whether there are more.
        (Some(Count::Estimated), Some(max)) => Counted::UpTo(max.saturating_add(1)),
        (Some(Count::Exact | Count::Estimated), _) => Counted::All,
    };
    let beyond = if request.preferences.count.is_some() { Beyond::Counted } else { Beyond::Unseen };
    let footprint = Footprint::of(&node, beyond);
    let end = footprint.page().and_then(|page| End::of(&node, page, &format));
    let statement = read_statement(&node, &format, body, counted, end.as_ref());
    Ok(ReadPlan {
        estimate: estimate(&node, request.preferences.count, settings.max_rows).filter(|_| execution.is_none()),
        statement: match &execution {
            Some(execution) => statement.explained(&execution.explain()),
            None => statement,
        },
        shape: Arc::new(ReadShape {
            format,
            body,
            content: execution.map_or(Content::Rows, |execution| Content::Plan(execution.content_type())),
            offset: node.range.offset,
            profile: request.profile.clone(),
            applied: request.preferences.applied(Kinds::Reads),
        }),
        zone: request.preferences.zone,
        reads,
        footprint: if end.is_some() { footprint } else { footprint.without_page() },
        target,
        location: location(request),
    })
}

/// The media type of the answer, as the relation of the node can give it.
fn negotiate(
    request: &Request,
    relation: &TableId,
    node: &Node<'_>,
    schema: &SchemaCache,
    settings: &Settings,
) -> Result<Negotiated, Error> {
    let whole = matches!(node.select.as_slice(), [Output::Star]) && node.children.is_empty();
    let selection = if whole { Selection::Everything } else { Selection::Parts };
    request.accepts.negotiate(Producer { schema, relation, selection, api: settings.api })
}

/// Why an answer in this format depends on more than the rows in it.
fn opacity_of_making(format: &Format, execution: Option<&Execution>) -> Option<Opaque> {
    match format {
        _ if execution.is_some() => Some(Opaque::ExecutionPlan),
        Format::GeoJson => Some(Opaque::Function("st_asgeojson".into())),
        Format::Custom(Handler { maker: Maker::OfAny(function) | Maker::OfRows(function, _), .. }) => {
            Some(Opaque::Function(function.name.clone()))
        }
        // Of a function that returns it, it is judged what that depends on.
        Format::Custom(Handler { maker: Maker::Itself, .. }) => None,
        Format::Array(_) | Format::Singular(_) | Format::Csv => None,
    }
}

/// As in PostgREST: the planner's guess alone, or in place of a count that ends beyond what one response may hold. Without
/// such a bound it stands in for a smaller exact count.
fn estimate(node: &Node<'_>, count: Option<Count>, rows_max: Option<u64>) -> Option<Box<Estimate>> {
    let above = match count {
        None | Some(Count::Exact) => return None,
        Some(Count::Planned) => None,
        Some(Count::Estimated) => rows_max.and_then(|max| i64::try_from(max).ok()),
    };
    Some(Box::new(Estimate { statement: estimate_statement(node), above }))
}

fn plan_write(mut request: Request, schema: &SchemaCache, settings: &Settings) -> Result<WritePlan, Error> {
    let action = std::mem::replace(&mut request.action, Action::Delete);
    let kind = match &action {
        Action::Insert(_) => WriteKind::Insert,
        Action::Update(_) => WriteKind::Update,
        Action::Upsert(_) => WriteKind::Put,
        Action::Delete | Action::Read(_) | Action::Call(_) => WriteKind::Delete,
    };
    let mut node = node(&request, schema, settings)?;
    let target = TableId { schema: request.schema.as_str().into(), name: request.table.as_str().into() };
    let affected = Affected {
        conditions: std::mem::take(&mut node.conditions),
        order: std::mem::take(&mut node.order),
        range: std::mem::replace(&mut node.range, Range::ALL),
    };
    let limited = affected.range != Range::ALL && kind != WriteKind::Insert;
    if kind == WriteKind::Put {
        check_put(&node, &affected, limited)?;
    }
    if limited && affected.order.is_empty() {
        return Err(Error::LimitNoOrder);
    }
    let mutation = match action {
        Action::Insert(payload) => Mutation::Insert(payload, conflict(&request, &node)),
        Action::Upsert(payload) => Mutation::Insert(payload, merge(primary_key(&node))),
        Action::Update(payload) => Mutation::Update(payload),
        Action::Delete | Action::Read(_) | Action::Call(_) => Mutation::Delete,
    };
    match &mutation {
        Mutation::Insert(payload, _) | Mutation::Update(payload) => check_columns(&node, payload)?,
        Mutation::Delete => {}
    }
    request.unknown_preferences.refuse()?;
    // As in PostgREST the last thing that is looked at, and with reads before the preferences.
    let Negotiated { format, execution } = negotiate(&request, &target, &node, schema, settings)?;
    let location = match (kind, request.preferences.returns, node.known) {
        (WriteKind::Insert, Some(Return::HeadersOnly), Some(relation)) => {
            relation.primary_key.iter().map(|column| &**column).collect()
        }
        _ => Vec::new(),
    };
    let changes = changes(&node, &mutation);
    let shape = write_shape(&request, kind, &node, &location, &format);
    let parts = WriteParts {
        node,
        affected,
        mutation,
        format: format.clone(),
        returns: request.preferences.returns,
        missing: request.preferences.missing,
        location,
    };
    let statement = write_statement(parts);
    let ending = request.preferences.ending.unwrap_or(settings.api.transaction_end.default);
    let zone = request.preferences.zone;
    let plan = WritePlan { statement, shape, changes, ending, zone, schema: request.schema, table: request.table };
    Ok(match execution {
        Some(execution) => explained(plan, format, &execution),
        None => plan,
    })
}

/// The same write, asked for its execution plan. With `analyze` it is carried out, and the lines do not say how many rows
/// it changed.
fn explained(plan: WritePlan, format: Format, execution: &Execution) -> WritePlan {
    WritePlan {
        statement: plan.statement.explained(&execution.explain()),
        shape: WriteShape::Call(ReadShape::of_plan(format, execution.content_type())),
        changes: Changes::Ask,
        ..plan
    }
}

fn primary_key(node: &Node<'_>) -> Vec<String> {
    node.known.map_or(&[][..], |relation| &relation.primary_key).iter().map(|column| column.to_string()).collect()
}

fn merge(columns: Vec<String>) -> Option<Conflict> {
    (!columns.is_empty()).then_some(Conflict { resolution: Resolution::MergeDuplicates, columns })
}

/// Conflicts are resolved if a preference says how, and about the primary key unless `on_conflict` names another.
fn conflict(request: &Request, node: &Node<'_>) -> Option<Conflict> {
    let resolution = request.preferences.resolution?;
    let columns = request.query.conflict.clone().unwrap_or_else(|| primary_key(node));
    (!columns.is_empty()).then_some(Conflict { resolution, columns })
}

/// `PUT` names the one row by its primary key and by nothing else.
fn check_put(node: &Node<'_>, affected: &Affected<'_>, limited: bool) -> Result<(), Error> {
    if limited {
        return Err(Error::PutRange);
    }
    let key = primary_key(node);
    let is_key = |condition: &&Condition| match condition {
        Condition::Filter(Filter { field, polarity: Polarity::Plain, operation }) => {
            matches!(operation, Operation::Compare { operator: Operator::Eq, quantifier: None, .. })
                && key.contains(&field.column)
        }
        Condition::Filter(_) | Condition::Group { .. } => false,
    };
    let named = |column: &String| {
        let names =
            |condition: &&Condition| matches!(condition, Condition::Filter(filter) if filter.field.column == *column);
        affected.conditions.iter().any(names)
    };
    if !key.is_empty() && affected.conditions.iter().all(is_key) && key.iter().all(named) {
        Ok(())
    } else {
        Err(Error::InvalidFilters)
    }
}

fn changes(node: &Node<'_>, mutation: &Mutation) -> Changes {
    match (node.known, mutation) {
        (None, _) => Changes::Ask,
        (Some(relation), Mutation::Insert(_, conflict)) => {
            let updates = conflict.as_ref().is_some_and(|conflict| conflict.resolution == Resolution::MergeDuplicates);
            match (&relation.changes_of_insert, &relation.changes_of_update) {
                (Changes::Known(tables), Changes::Known(_)) => Changes::Known(tables.clone()),
                (of_insert, _) if !updates => of_insert.clone(),
                _ => Changes::Ask,
            }
        }
        (Some(relation), _) => relation.changes_of_update.clone(),
    }
}

fn node<'a>(request: &'a Request, schema: &'a SchemaCache, settings: &Settings) -> Result<Node<'a>, Error> {
    let twig = Twig::read(&request.query.select, &request.query.scopes, settings.api.aggregates)?;
    let mut node = Graft { schema, name: &request.schema }.root(&request.table, twig)?;
    node.range = request.range;
    Ok(node)
}

/// The types of the columns are needed for the statement, so here the cache has the last word, as in PostgREST.
fn check_columns(node: &Node<'_>, payload: &Payload) -> Result<(), Error> {
    let Some(relation) = node.known else {
        if payload.columns.is_empty() {
            return Ok(());
        }
        return Err(Error::TableNotFound { schema: node.schema.to_owned(), table: node.name.to_owned() });
    };
    match payload.columns.iter().find(|column| relation.column(column).is_none()) {
        None => Ok(()),
        Some(column) => Err(Error::ColumnNotFound { relation: node.name.to_owned(), column: column.clone() }),
    }
}

fn write_shape(request: &Request, kind: WriteKind, node: &Node<'_>, location: &[&str], format: &Format) -> WriteShape {
    let preferences = &request.preferences;
    let kinds = kinds(request, kind, node);
    WriteShape::Rows(RowsShape {
        kind,
        format: format.clone(),
        returns: preferences.returns,
        count: preferences.count,
        merges: preferences.resolution == Some(Resolution::MergeDuplicates),
        max_affected: preferences.max_affected(kinds),
        profile: request.profile.clone(),
        applied: preferences.applied(kinds),
        table: request.table.clone(),
        location: location.iter().map(|column| (*column).to_owned()).collect(),
    })
}

/// Which preferences can apply.
fn kinds(request: &Request, kind: WriteKind, node: &Node<'_>) -> Kinds {
    let keyless = request.query.conflict.is_none() && primary_key(node).is_empty();
    match kind {
        WriteKind::Insert if keyless => Kinds::KeylessInserts,
        WriteKind::Insert => Kinds::Inserts,
        WriteKind::Update => Kinds::Updates,
        WriteKind::Put => Kinds::Puts,
        WriteKind::Delete => Kinds::Deletes,
    }
}

fn location(request: &Request) -> String {
    let separator = if request.query.canonical.is_empty() { "" } else { "?" };
    format!("/{}{separator}{}", super::request::encode(&request.table), request.query.canonical)
}

#[cfg(test)]
mod tests;
