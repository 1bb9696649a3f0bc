//! Calling functions: which overload is meant, and what its result is.

use std::sync::Arc;

use super::super::answer::{Content, ReadShape, WriteShape};
use super::super::ast::SelectItem;
use super::super::footprint::Footprint;
use super::super::relation_hint::closest;
use super::super::request::{Arguments, Call, Request};
use super::super::request::{Body, Count, Kinds, Negotiated, Parameters};
use super::super::schema::{Changes, TableId};
use super::super::schema::{Dependencies, Opaque, Parameter, Routine, Rows, SchemaCache, Value, Volatility};
use super::super::sql::{CallParts, Counted, Given, Outcome, call_statement};
use super::super::tree::{Node, is_pure_type, names_a_moment};
use super::super::{Error, Settings};
use super::embed::{Graft, Twig};
use super::{Plan, ReadPlan, WritePlan, negotiate, opacity_of_making};

/// Plans a call. Only a volatile function that was posted to may write; any other runs in a read-only transaction, where
/// PostgreSQL refuses what it should not do.
pub(super) fn plan_call(
    request: &Request,
    call: &Call,
    schema: &SchemaCache,
    settings: &Settings,
) -> Result<Plan, Error> {
    let routine = find(request, call, schema)?;
    let name = match &routine.returns.value {
        Value::Composite(name) => &**name,
        Value::Void | Value::Scalar(_) => &*routine.id.name,
    };
    let twig = Twig::read(&request.query.select, &request.query.scopes, settings.api.aggregates)?;
    let mut node = Graft { schema, name: &request.schema }.root(name, twig)?;
    node.range = request.range;
    node.limit_rows(settings.max_rows);
    let made = TableId { schema: request.schema.as_str().into(), name: name.into() };
    let Negotiated { format, execution } = negotiate(request, &made, &node, schema, settings)?;
    request.unknown_preferences.refuse()?;
    let (body, content) = match (&routine.returns.value, call.body, &execution) {
        (_, body, Some(execution)) => (body, Content::Plan(execution.content_type())),
        (Value::Void, ..) => (Body::Omitted, Content::Nothing),
        (_, body, None) => (body, Content::Rows),
    };
    let given = given(routine, call, request.preferences.parameters);
    let mut reads = dependencies(routine, &node, &given, &request.query.select);
    reads.opaque = reads.opaque.or_else(|| opacity_of_making(&format, execution.as_ref()));
    let shape = ReadShape {
        format: format.clone(),
        body,
        content,
        offset: node.range.offset,
        profile: request.profile.clone(),
        applied: request.preferences.applied(Kinds::Calls),
    };
    let statement = call_statement(CallParts {
        routine,
        node: &node,
        given,
        outcome: outcome(routine),
        format,
        body,
        // As in PostgREST, which asks the planner about tables alone.
        counted: match request.preferences.count {
            None | Some(Count::Planned) => Counted::Not,
            Some(Count::Exact | Count::Estimated) => Counted::All,
        },
    });
    let statement = match &execution {
        Some(execution) => statement.explained(&execution.explain()),
        None => statement,
    };
    let zone = request.preferences.zone;
    let (function, table) = (routine.id.clone(), request.table.clone());
    if matches!(call.arguments, Arguments::Body(_)) && routine.volatility == Volatility::Volatile {
        let (shape, schema) = (WriteShape::Call(shape), request.schema.clone());
        let ending = request.preferences.ending.unwrap_or(settings.api.transaction_end.default);
        return Ok(Plan::Write(WritePlan { statement, shape, changes: Changes::Ask, ending, zone, schema, table }));
    }
    let target = TableId { schema: request.schema.as_str().into(), name: function.name };
    Ok(Plan::Read(ReadPlan {
        statement,
        estimate: None,
        zone,
        shape: Arc::new(shape),
        reads,
        // What calls a function is not looked into.
        footprint: Footprint::default(),
        target,
        location: String::new(),
    }))
}

fn outcome(routine: &Routine) -> Outcome {
    match (&routine.returns.value, routine.returns.rows) {
        (Value::Void | Value::Scalar(_), Rows::One) => Outcome::Scalar,
        (Value::Void | Value::Scalar(_), Rows::Many) => Outcome::Scalars,
        (Value::Composite(_), Rows::One) => Outcome::Composite,
        (Value::Composite(_), Rows::Many) => Outcome::Table,
    }
}

/// What the result depends on. That is known only of a function of plain values.
fn dependencies(routine: &Routine, node: &Node<'_>, given: &Given<'_>, select: &[SelectItem]) -> Dependencies {
    let mut all = routine.reads.clone();
    node.children.iter().for_each(|child| all.add(child.dependencies_of_branch()));
    let plain_result = matches!(&routine.returns.value, Value::Scalar(name) if is_pure_type(name));
    let plain_arguments = routine.parameters.iter().all(|parameter| is_pure_type(&parameter.sql_type));
    let plain_request = node.conditions.is_empty() && node.order.is_empty() && matches!(select, [SelectItem::Star]);
    all.opaque = if routine.reads.opaque.is_some() || !plain_result || !plain_arguments || !plain_request {
        Some(Opaque::Function(routine.id.name.clone()))
    } else if given.value().is_some_and(|value| names_a_moment(&value.to_ascii_lowercase())) {
        Some(Opaque::CurrentTime)
    } else {
        all.opaque
    };
    all
}

/// What the call gives, as the SQL takes it.
fn given<'a>(routine: &'a Routine, call: &'a Call, parameters: Option<Parameters>) -> Given<'a> {
    let named = |name: &str| call.arguments.names().any(|given| given == name);
    match routine.parameters.as_slice() {
        [only] if only.name.is_empty() || parameters == Some(Parameters::SingleObject) => {
            Given::Whole(only, call.arguments.whole())
        }
        parameters => {
            let parameters: Vec<&Parameter> = parameters.iter().filter(|parameter| named(&parameter.name)).collect();
            if parameters.is_empty() {
                return Given::Nothing;
            }
            let is_variadic = |name: &str| {
                parameters.iter().any(|parameter| *parameter.name == *name && parameter.need.is_variadic())
            };
            let json = call.arguments.json(is_variadic);
            Given::Named(parameters, json)
        }
    }
}

/// The overload whose parameters the arguments fit; else one that takes the whole body.
fn find<'s>(request: &Request, call: &Call, schema: &'s SchemaCache) -> Result<&'s Routine, Error> {
    let overloads = schema.routines(&request.schema, &request.table);
    let single = request.preferences.parameters == Some(Parameters::SingleObject);
    let fit = |routine: &&Routine| match routine.parameters.as_slice() {
        [] => fits(routine, call),
        [only] if single => is_json(&only.sql_type),
        _ => !single && fits(routine, call),
    };
    let mut fitting = overloads.iter().filter(fit).peekable();
    let mut whole = overloads.iter().filter(|routine| takes_whole(routine, call));
    let candidates: Vec<&Routine> = if fitting.peek().is_some() { fitting.collect() } else { whole.by_ref().collect() };
    match candidates.as_slice() {
        [only] => Ok(only),
        [] => Err(not_found(request, call, schema, overloads)),
        several => {
            let describe = |routine: &&Routine| {
                let parameter = |one: &Parameter| format!("{} => {}", one.name, one.sql_type);
                let parameters: Vec<String> = routine.parameters.iter().map(parameter).collect();
                format!("{}({})", routine.id, parameters.join(", "))
            };
            Err(Error::AmbiguousFunction { candidates: several.iter().map(describe).collect() })
        }
    }
}

fn fits(routine: &Routine, call: &Call) -> bool {
    if routine.parameters.is_empty() {
        return call.arguments.names().next().is_none() && !call.arguments.is_raw();
    }
    let known = |name: &str| routine.parameters.iter().any(|parameter| *parameter.name == *name);
    let given = |name: &str| call.arguments.names().any(|given| given == name);
    call.arguments.names().all(known)
        && routine.parameters.iter().all(|parameter| !parameter.need.is_required() || given(&parameter.name))
}

fn is_json(sql_type: &str) -> bool {
    matches!(sql_type, "json" | "jsonb")
}

fn takes_whole(routine: &Routine, call: &Call) -> bool {
    let [only] = routine.parameters.as_slice() else { return false };
    call.arguments.whole_types().contains(&&*only.sql_type)
}

fn not_found(request: &Request, call: &Call, schema: &SchemaCache, overloads: &[Routine]) -> Error {
    let names: Vec<&str> = call.arguments.names().collect();
    let single = request.preferences.parameters == Some(Parameters::SingleObject);
    let suggestion = if single || call.arguments.is_raw() {
        None
    } else if overloads.is_empty() {
        closest(&request.table, schema.routine_names(&request.schema)).map(str::to_owned)
    } else {
        let list = |mut names: Vec<&str>| {
            names.sort_unstable();
            format!("({})", names.join(", "))
        };
        let lists: Vec<String> = overloads
            .iter()
            .map(|routine| list(routine.parameters.iter().map(|parameter| &*parameter.name).collect()))
            .collect();
        closest(&list(names.clone()), lists.iter().map(String::as_str)).map(|list| format!("{}{list}", request.table))
    };
    Error::FunctionNotFound {
        function: format!("{}.{}", request.schema, request.table),
        arguments: names.into_iter().map(str::to_owned).collect(),
        whole: if single { Some("json/jsonb") } else { call.arguments.whole_types().first().copied() },
        suggestion: suggestion.map(|name| format!("Perhaps you meant to call the function {}.{name}", request.schema)),
    }
}

#[cfg(test)]
mod tests;
