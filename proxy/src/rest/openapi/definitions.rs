//! The shape of rows: a JSON schema for each relation, with notes on its keys.

use serde_json::{Map, Value, json};

use super::catalog::{Catalog, Column, Function, Relation};
use super::{Note, insert_some, insert_unless_empty};

/// A type of JSON, as far as a type of Postgres has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JsonType {
    String,
    Boolean,
    Integer,
    Number,
    Array,
}

impl JsonType {
    /// `None`: any, as for `json`.
    pub(super) fn of(type_name: &str) -> Option<Self> {
        match type_name {
            "boolean" => Some(Self::Boolean),
            "smallint" | "integer" | "bigint" => Some(Self::Integer),
            "numeric" | "real" | "double precision" => Some(Self::Number),
            "json" | "jsonb" => None,
            name if name.ends_with("[]") => Some(Self::Array),
            _ => Some(Self::String),
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Array => "array",
        }
    }
}

/// The name of the elements' type.
pub(super) fn element(array: &str) -> &str {
    array.strip_suffix("[]").unwrap_or(array)
}

/// `definitions`: every relation by its name.
pub(super) fn all(catalog: &Catalog, notes: &[(String, Vec<Note>)]) -> Map<String, Value> {
    let notes_of = |name: &str| notes.iter().find(|(known, _)| known == name).map_or(&[][..], |(_, notes)| notes);
    let relations = catalog.relations.iter();
    relations.map(|relation| (relation.name.clone(), of_relation(relation, notes_of(&relation.name)))).collect()
}

fn of_relation(relation: &Relation, notes: &[Note]) -> Value {
    let note_of = |column: &Column| notes.iter().find(|note| note.column == column.name);
    let columns = relation.columns.iter();
    let properties = columns.clone().map(|column| (column.name.clone(), of_column(column, note_of(column)))).collect();
    let required = columns.filter(|column| note_of(column).is_some_and(|note| note.required));
    let required: Vec<&str> = required.map(|column| column.name.as_str()).collect();
    schema(relation.comment.as_deref(), properties, &required)
}

/// The object that a function is called with.
pub(super) fn of_arguments(function: &Function) -> Value {
    let properties = function.parameters.iter().map(|parameter| {
        let mut property = typed(&parameter.type_name);
        property.insert("format".to_owned(), json!(parameter.type_name));
        (parameter.name.clone(), Value::Object(property))
    });
    let required = function.parameters.iter().filter(|parameter| parameter.required);
    let required: Vec<&str> = required.map(|parameter| parameter.name.as_str()).collect();
    schema(function.comment.as_deref(), properties.collect(), &required)
}

fn schema(comment: Option<&str>, properties: Map<String, Value>, required: &[&str]) -> Value {
    let mut schema = Map::new();
    insert_some(&mut schema, "description", comment);
    insert_some(&mut schema, "type", Some("object"));
    insert_unless_empty(&mut schema, "properties", properties);
    insert_some(&mut schema, "required", (!required.is_empty()).then(|| json!(required)));
    Value::Object(schema)
}

fn of_column(column: &Column, note: Option<&Note>) -> Value {
    let mut property = typed(&column.type_name);
    property.insert("format".to_owned(), json!(column.type_name));
    insert_some(&mut property, "description", description(column, note));
    insert_some(&mut property, "maxLength", column.length_max);
    insert_some(&mut property, "enum", column.labels.clone());
    let default = note.and_then(|note| note.default.as_deref());
    insert_some(&mut property, "default", default.and_then(|sql| default_value(&column.type_name, sql)));
    Value::Object(property)
}

/// Type and elements.
fn typed(type_name: &str) -> Map<String, Value> {
    let mut property = Map::new();
    let json_type = JsonType::of(type_name);
    insert_some(&mut property, "type", json_type.map(JsonType::word));
    if json_type == Some(JsonType::Array) {
        let items = JsonType::of(element(type_name)).map_or(json!({}), |element| json!({ "type": element.word() }));
        property.insert("items".to_owned(), items);
    }
    property
}

fn description(column: &Column, note: Option<&Note>) -> Option<String> {
    let mut notes = Vec::new();
    if note.is_some_and(|note| note.in_primary_key) {
        notes.push("This is a Primary Key.<pk/>".to_owned());
    }
    if let Some((table, foreign)) = note.and_then(|note| note.refers_to.as_ref()) {
        notes.push(format!("This is a Foreign Key to `{table}.{foreign}`.<fk table='{table}' column='{foreign}'/>"));
    }
    let comment = column.comment.as_deref();
    if notes.is_empty() {
        return comment.map(str::to_owned);
    }
    let before = comment.map(|comment| format!("{comment}\n\n")).unwrap_or_default();
    Some(format!("{before}Note:\n{}", notes.join("\n")))
}

/// The default as JSON, if it is a constant that can be read as some.
fn default_value(type_name: &str, sql: &str) -> Option<Value> {
    if JsonType::of(type_name) != Some(JsonType::String) {
        return serde_json::from_str(sql).ok();
    }
    let text = sql.strip_suffix(&format!("::{type_name}")).map_or(sql, |constant| constant.trim_matches('\''));
    serde_json::from_str(&format!("\"{text}\"")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_defaults_and_calls_of_functions_are_not() {
        assert_eq!(default_value("text", "'none'::text"), Some(json!("none")));
        assert_eq!(default_value("numeric", "1.5"), Some(json!(1.5)));
        assert_eq!(default_value("boolean", "false"), Some(json!(false)));
        assert_eq!(default_value("integer", "nextval('s'::regclass)"), None);
        assert_eq!(default_value("text[]", "'{new}'::text[]"), None);
    }
}
