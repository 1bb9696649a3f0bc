//! From request to plan: looks names up in the schema cache and decides what to run.

mod call;
mod embed;

use embed::{Graft, Twig};

use super::answer::{Content, ReadShape, RowsShape, WriteShape};
use super::request::{Action, Body, Conflict, Kinds, Payload, Range, Request, Return};
use super::schema::{Changes, Dependencies, SchemaCache, TableId};
use super::sql::{Affected, Mutation, WriteParts, read_statement, write_statement};
use super::statement::Statement;
use super::tree::Node;
use super::{Error, Inbound, Settings};

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
    pub shape: ReadShape,
    /// what the answer depends on
    pub reads: Dependencies,
    /// the table, view or function that was named; its schema goes first in the search path
    pub target: TableId,
    /// the path and canonical query of the request, which the reply repeats as its `Content-Location`; empty for a call of a
    /// function. Not part of the answer: other spellings of the question share it.
    pub location: String,
}

/// One statement, to be run in a transaction that is rolled back if its answer is an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WritePlan {
    pub statement: Statement,
    pub shape: WriteShape,
    pub changes: Changes,
    pub schema: String,
    pub table: String,
}

/// Plans a request. Pure: the same arguments give the same plan.
///
/// # Errors
/// Whatever can be known to be wrong without asking PostgreSQL. Unknown tables and columns of a read are not among it:
/// they may have been created since the cache was loaded, and PostgreSQL words the complaint.
pub fn plan(inbound: &Inbound<'_>, schema: &SchemaCache, settings: &Settings) -> Result<Plan, Error> {
    let request = Request::read(inbound, settings)?;
    match request.action {
        Action::Read(body) => plan_read(&request, body, schema, settings).map(Plan::Read),
        Action::Insert(_) | Action::Update(_) | Action::Delete => plan_write(request, schema).map(Plan::Write),
        Action::Call(ref call) => call::plan_call(&request, call, schema, settings),
    }
}

fn plan_read(request: &Request, body: Body, schema: &SchemaCache, settings: &Settings) -> Result<ReadPlan, Error> {
    let mut node = node(request, schema)?;
    node.limit_rows(settings.max_rows);
    let count = request.preferences.count;
    Ok(ReadPlan {
        statement: read_statement(&node, request.format, body, count),
        shape: ReadShape {
            format: request.format,
            body,
            content: Content::Rows,
            offset: node.range.offset,
            profile: request.profile.clone(),
            applied: request.preferences.applied(Kinds::Reads),
        },
        reads: node.dependencies(),
        target: TableId { schema: request.schema.as_str().into(), name: request.table.as_str().into() },
        location: location(request),
    })
}

fn plan_write(mut request: Request, schema: &SchemaCache) -> Result<WritePlan, Error> {
    let mutation = match std::mem::replace(&mut request.action, Action::Delete) {
        Action::Insert(payload) => Mutation::Insert(payload),
        Action::Update(payload) => Mutation::Update(payload),
        Action::Delete | Action::Read(_) | Action::Call(_) => Mutation::Delete,
    };
    refuse_upsert(&request, &mutation)?;
    let mut node = node(&request, schema)?;
    let affected = Affected {
        conditions: std::mem::take(&mut node.conditions),
        order: std::mem::take(&mut node.order),
        range: std::mem::replace(&mut node.range, Range::ALL),
    };
    match &mutation {
        Mutation::Insert(payload) | Mutation::Update(payload) => check_columns(&node, payload)?,
        Mutation::Delete => {}
    }
    let limited = affected.range != Range::ALL && !matches!(mutation, Mutation::Insert(_));
    if limited && affected.order.is_empty() {
        return Err(Error::LimitNoOrder);
    }
    let changes = match (node.known, &mutation) {
        (None, _) => Changes::Ask,
        (Some(relation), Mutation::Insert(_)) => relation.changes_of_insert.clone(),
        (Some(relation), _) => relation.changes_of_update.clone(),
    };
    let location = match (&mutation, request.preferences.returns, node.known) {
        (Mutation::Insert(_), Some(Return::HeadersOnly), Some(relation)) => {
            relation.primary_key.iter().map(|column| &**column).collect()
        }
        _ => Vec::new(),
    };
    let shape = write_shape(&request, &mutation, &location);
    let parts = WriteParts {
        node,
        affected,
        mutation,
        format: request.format,
        returns: request.preferences.returns,
        missing: request.preferences.missing,
        location,
    };
    let statement = write_statement(parts);
    Ok(WritePlan { statement, shape, changes, schema: request.schema, table: request.table })
}

fn node<'a>(request: &'a Request, schema: &'a SchemaCache) -> Result<Node<'a>, Error> {
    let twig = Twig::read(&request.query.select, &request.query.scopes)?;
    let mut node = Graft { schema, name: &request.schema }.root(&request.table, twig)?;
    node.range = request.range;
    Ok(node)
}

fn refuse_upsert(request: &Request, mutation: &Mutation) -> Result<(), Error> {
    let asks = request.preferences.resolution.is_some() || request.query.conflict == Conflict::Named;
    if asks && matches!(mutation, Mutation::Insert(_)) {
        return Err(Error::NotImplemented("upserts (on_conflict, Prefer: resolution) are not supported yet"));
    }
    Ok(())
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

fn write_shape(request: &Request, mutation: &Mutation, location: &[&str]) -> WriteShape {
    use super::answer::WriteKind;
    WriteShape::Rows(RowsShape {
        kind: match mutation {
            Mutation::Insert(_) => WriteKind::Insert,
            Mutation::Update(_) => WriteKind::Update,
            Mutation::Delete => WriteKind::Delete,
        },
        format: request.format,
        returns: request.preferences.returns,
        count: request.preferences.count,
        profile: request.profile.clone(),
        applied: request.preferences.applied(match mutation {
            Mutation::Insert(_) | Mutation::Update(_) => Kinds::Payloads,
            Mutation::Delete => Kinds::Deletes,
        }),
        table: request.table.clone(),
        location: location.iter().map(|column| (*column).to_owned()).collect(),
    })
}

fn location(request: &Request) -> String {
    let separator = if request.query.canonical.is_empty() { "" } else { "?" };
    format!("/{}{separator}{}", super::request::encode(&request.table), request.query.canonical)
}

#[cfg(test)]
mod tests;
