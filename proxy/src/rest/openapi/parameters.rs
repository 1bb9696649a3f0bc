//! The parameters that requests share: by name, to be referred to.

use serde_json::{Map, Value, json};

use super::catalog::Catalog;
use super::insert_some;

/// `parameters`: those of all requests, then the body and the filters of each relation.
pub(super) fn all(catalog: &Catalog) -> Map<String, Value> {
    let mut all = Map::new();
    let preferences: [(&str, &[&str]); 4] = [
        ("preferParams", &["params=single-object"]),
        ("preferReturn", &["return=representation", "return=minimal", "return=none"]),
        ("preferCount", &["count=none"]),
        (
            "preferPost",
            &[
                "return=representation",
                "return=minimal",
                "return=none",
                "resolution=ignore-duplicates",
                "resolution=merge-duplicates",
            ],
        ),
    ];
    for (name, words) in preferences {
        let mut parameter = parameter("Prefer", "header", Some("Preference"));
        parameter.insert("enum".to_owned(), json!(words));
        all.insert(name.to_owned(), Value::Object(parameter));
    }
    for (key, name, place, description) in [
        ("select", "select", "query", "Filtering Columns"),
        ("on_conflict", "on_conflict", "query", "On Conflict"),
        ("order", "order", "query", "Ordering"),
        ("range", "Range", "header", "Limiting and Pagination"),
        ("rangeUnit", "Range-Unit", "header", "Limiting and Pagination"),
        ("offset", "offset", "query", "Limiting and Pagination"),
        ("limit", "limit", "query", "Limiting and Pagination"),
    ] {
        let mut parameter = parameter(name, place, Some(description));
        insert_some(&mut parameter, "default", (key == "rangeUnit").then_some("items"));
        all.insert(key.to_owned(), Value::Object(parameter));
    }
    for relation in &catalog.relations {
        let name = &relation.name;
        let schema = json!({ "$ref": format!("#/definitions/{name}") });
        let body = json!({ "name": name, "description": name, "required": false, "in": "body", "schema": schema });
        all.insert(format!("body.{name}"), body);
        for column in &relation.columns {
            let mut filter = parameter(&column.name, "query", column.comment.as_deref());
            insert_some(&mut filter, "format", Some(column.type_name.as_str()));
            all.insert(format!("rowFilter.{name}.{}", column.name), Value::Object(filter));
        }
    }
    all
}

fn parameter(name: &str, place: &str, description: Option<&str>) -> Map<String, Value> {
    let mut parameter = Map::new();
    insert_some(&mut parameter, "name", Some(name));
    insert_some(&mut parameter, "in", Some(place));
    insert_some(&mut parameter, "description", description);
    insert_some(&mut parameter, "required", Some(false));
    insert_some(&mut parameter, "type", Some("string"));
    parameter
}
