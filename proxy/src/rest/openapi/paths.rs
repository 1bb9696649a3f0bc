//! The paths that can be asked, and by which methods.

use serde_json::{Map, Value, json};

use super::catalog::{Catalog, Function, Parameter, Relation};
use super::definitions::{JsonType, element, of_arguments};
use super::{insert_some, split_comment};

/// `paths`: the root, every relation, every function.
pub(super) fn all(catalog: &Catalog) -> Map<String, Value> {
    let mut paths = Map::new();
    let root = json!({
        "tags": ["Introspection"],
        "summary": "OpenAPI description (this document)",
        "produces": ["application/openapi+json", "application/json"],
        "responses": { "200": { "description": "OK" } },
    });
    paths.insert("/".to_owned(), json!({ "get": root }));
    for relation in &catalog.relations {
        paths.insert(format!("/{}", relation.name), of_relation(relation));
    }
    for function in &catalog.functions {
        paths.insert(format!("/rpc/{}", function.name), of_function(function));
    }
    paths
}

fn of_relation(relation: &Relation) -> Value {
    let name = &relation.name;
    let filters: Vec<String> =
        relation.columns.iter().map(|column| format!("rowFilter.{name}.{}", column.name)).collect();
    let rows = json!({ "type": "array", "items": { "$ref": format!("#/definitions/{name}") } });
    let get = Operation {
        relation,
        filters: &filters,
        body: None,
        parameters: &["select", "order", "range", "rangeUnit", "offset", "limit", "preferCount"],
    };
    let body = format!("body.{name}");
    let mut path = Map::new();
    let found = json!({
        "200": { "description": "OK", "schema": rows }, "206": { "description": "Partial Content" },
    });
    path.insert("get".to_owned(), get.write(found));
    if relation.writable {
        let post = Operation { filters: &[], body: Some(&body), parameters: &["select", "preferPost"], ..get };
        let patch = Operation { body: Some(&body), parameters: &["preferReturn"], ..get };
        let delete = Operation { parameters: &["preferReturn"], ..get };
        path.insert("post".to_owned(), post.write(json!({ "201": { "description": "Created" } })));
        path.insert("patch".to_owned(), patch.write(json!({ "204": { "description": "No Content" } })));
        path.insert("delete".to_owned(), delete.write(json!({ "204": { "description": "No Content" } })));
    }
    Value::Object(path)
}

/// What one method does with a relation.
#[derive(Clone, Copy)]
struct Operation<'a> {
    relation: &'a Relation,
    filters: &'a [String],
    body: Option<&'a str>,
    parameters: &'a [&'a str],
}

impl Operation<'_> {
    fn write(self, responses: Value) -> Value {
        let filters = self.filters.iter().map(String::as_str);
        let names = filters.chain(self.body).chain(self.parameters.iter().copied());
        let references: Vec<Value> = names.map(|name| json!({ "$ref": format!("#/parameters/{name}") })).collect();
        let mut operation = described(&self.relation.name, self.relation.comment.as_deref());
        operation.insert("parameters".to_owned(), references.into());
        operation.insert("responses".to_owned(), responses);
        Value::Object(operation)
    }
}

/// An operation with its tag, and with summary and description from a comment.
fn described(tag: &str, comment: Option<&str>) -> Map<String, Value> {
    let (summary, description) = split_comment(comment);
    let mut operation = Map::new();
    operation.insert("tags".to_owned(), json!([tag]));
    insert_some(&mut operation, "summary", summary);
    insert_some(&mut operation, "description", description);
    operation
}

fn of_function(function: &Function) -> Value {
    let operation = |parameters: Vec<Value>| {
        let mut operation = described(&format!("(rpc) {}", function.name), function.comment.as_deref());
        let produced = json!([
            "application/json",
            "application/vnd.pgrst.object+json;nulls=stripped",
            "application/vnd.pgrst.object+json",
        ]);
        operation.insert("produces".to_owned(), produced);
        insert_some(&mut operation, "parameters", (!parameters.is_empty()).then_some(parameters));
        operation.insert("responses".to_owned(), json!({ "200": { "description": "OK" } }));
        Value::Object(operation)
    };
    let arguments = json!({ "name": "args", "in": "body", "required": true, "schema": of_arguments(function) });
    let post = operation(vec![arguments, json!({ "$ref": "#/parameters/preferParams" })]);
    json!({ "get": operation(function.parameters.iter().map(argument).collect()), "post": post })
}

/// An argument in the query of a call.
fn argument(parameter: &Parameter) -> Value {
    let Parameter { name, type_name, required, variadic } = parameter;
    let json_type = JsonType::of(type_name);
    let mut argument = Map::new();
    insert_some(&mut argument, "name", Some(name.as_str()));
    insert_some(&mut argument, "in", Some("query"));
    insert_some(&mut argument, "required", Some(*required));
    if *variadic {
        let mut items = Map::new();
        insert_some(&mut items, "type", JsonType::of(element(type_name)).map(JsonType::word));
        insert_some(&mut items, "format", Some(element(type_name)));
        insert_some(&mut argument, "type", Some(json_type.unwrap_or(JsonType::String).word()));
        insert_some(&mut argument, "collectionFormat", Some("multi"));
        argument.insert("items".to_owned(), Value::Object(items));
    } else {
        // An array is one text here, in braces.
        let json_type = json_type.filter(|json_type| *json_type != JsonType::Array).unwrap_or(JsonType::String);
        insert_some(&mut argument, "type", Some(json_type.word()));
        insert_some(&mut argument, "format", Some(type_name.as_str()));
    }
    Value::Object(argument)
}
