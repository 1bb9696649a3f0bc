use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method};

use super::*;
use crate::rest::schema::{Need, Parts, Returns};
use crate::rest::{Inbound, plan};

fn id(name: &str) -> TableId {
    TableId { schema: "api".into(), name: name.into() }
}

fn routine(name: &str, parameters: &[(&str, &str, Need)], value: Value, rows: Rows, volatility: Volatility) -> Routine {
    let parameter = |(name, sql_type, need): &(&str, &str, Need)| Parameter {
        name: (*name).into(),
        sql_type: (*sql_type).into(),
        need: *need,
    };
    Routine {
        id: id(name),
        parameters: parameters.iter().map(parameter).collect(),
        returns: Returns { value, rows },
        volatility,
        reads: match volatility {
            Volatility::Immutable => Dependencies::default(),
            Volatility::Stable | Volatility::Volatile => Dependencies::opaque(Opaque::Function(name.into())),
        },
        version: String::new(),
    }
}

fn schema() -> SchemaCache {
    let integer = || Value::Scalar("int4".into());
    let required = |name: &'static str| (name, "integer", Need::Required);
    use Volatility::{Immutable, Stable, Volatile};
    SchemaCache::new(Parts {
        routines: vec![
            routine("add", &[required("a"), required("b")], integer(), Rows::One, Immutable),
            routine("on_day", &[("d", "date", Need::Required)], integer(), Rows::One, Immutable),
            routine("find", &[required("id")], Value::Composite("films".into()), Rows::Many, Stable),
            routine("store", &[required("x"), ("y", "text", Need::Optional)], integer(), Rows::One, Volatile),
            routine("many", &[("v", "text[]", Need::Variadic)], integer(), Rows::One, Stable),
            routine("swallow", &[("", "json", Need::Required)], Value::Void, Rows::One, Volatile),
            routine("twice", &[required("a")], integer(), Rows::One, Stable),
            routine("twice", &[("a", "text", Need::Required)], integer(), Rows::One, Stable),
        ],
        ..Parts::default()
    })
}

fn ask(method: &Method, path: &str, query: &str, content_type: &str, body: &str) -> Result<Plan, Error> {
    let content_type = (HeaderName::from_static("content-type"), content_type.parse().unwrap());
    let headers = HeaderMap::from_iter([content_type]);
    let body = Bytes::copy_from_slice(body.as_bytes());
    let inbound = Inbound { method, path, query: Some(query), headers: &headers, body: &body };
    plan(&inbound, &schema(), &Settings { schemas: vec!["api".to_owned()], ..Settings::default() })
}

fn get(path: &str, query: &str) -> ReadPlan {
    match ask(&Method::GET, path, query, "application/json", "").unwrap() {
        Plan::Read(plan) => plan,
        Plan::Write(_) => panic!("a write"),
    }
}

fn refusal(method: &Method, path: &str, query: &str, body: &str) -> (String, u16) {
    let problem = ask(method, path, query, "application/json", body).unwrap_err().problem();
    (problem.code.into_owned(), problem.status.as_u16())
}

#[test]
fn arguments_are_bound_and_the_statement_depends_on_their_names_alone() {
    let first = get("rpc/add", "a=1&b=2").statement;
    assert_eq!(
        &*first.sql,
        "WITH _transom_source AS (SELECT pgrst_call.pgrst_scalar FROM (SELECT $1::json AS data) _transom_payload, \
         LATERAL (SELECT CASE WHEN json_typeof(_transom_payload.data) = 'array' THEN _transom_payload.data \
         ELSE json_build_array(_transom_payload.data) END AS val) _transom_uniform, LATERAL (SELECT \"a\", \"b\" \
         FROM json_to_recordset(_transom_uniform.val) AS _(\"a\" integer, \"b\" integer) LIMIT 1) _transom_arguments, \
         LATERAL (SELECT \"api\".\"add\"(\"a\" := _transom_arguments.\"a\", \"b\" := _transom_arguments.\"b\") \
         AS pgrst_scalar) pgrst_call) SELECT null::bigint AS total_result_set, \
         pg_catalog.count(_transom_row) AS page_total, \
         coalesce(json_agg(_transom_row.pgrst_scalar)->0, 'null')::text AS body, \
         nullif(current_setting('response.headers', true), '') AS response_headers, \
         nullif(current_setting('response.status', true), '') AS response_status \
         FROM (SELECT \"add\".* FROM _transom_source AS \"add\") _transom_row"
    );
    assert_eq!(first.params[0].0.as_deref(), Some(r#"{"a":"1","b":"2"}"#));
    let second = get("rpc/add", "b=7&a=6").statement;
    assert_eq!(Arc::clone(&second.sql), first.sql);
    assert_eq!(get("rpc/many", "v=x&v=y").statement.params[0].0.as_deref(), Some(r#"{"v":["x","y"]}"#));
}

#[test]
fn what_looks_like_a_filter_is_one() {
    let plan = get("rpc/find", "id=5&title=eq.x&studio.id=7".replace("&studio.id=7", "").as_str());
    let params: Vec<_> = plan.statement.params.iter().map(|param| param.0.as_deref().unwrap()).collect();
    assert_eq!(params, [r#"{"id":"5"}"#, "x"]);
    assert!(plan.statement.sql.contains("FROM _transom_source AS \"films\" WHERE \"films\".\"title\" = $2"));
}

#[test]
fn only_an_immutable_function_of_plain_values_is_cached() {
    assert_eq!(get("rpc/add", "a=1&b=2").reads, Dependencies::default());
    assert_eq!(get("rpc/on_day", "d=2024-01-01").reads.opaque, None);
    assert_eq!(get("rpc/on_day", "d=now").reads.opaque, Some(Opaque::CurrentTime));
    for (path, query) in [("rpc/find", "id=1"), ("rpc/store", "x=1"), ("rpc/add", "a=1&b=2&select=f")] {
        assert!(matches!(get(path, query).reads.opaque, Some(Opaque::Function(_))), "{path} {query}");
    }
}

#[test]
fn only_posting_to_a_volatile_function_may_write() {
    let post = |path, body| ask(&Method::POST, path, "", "application/json", body).unwrap();
    assert!(matches!(post("rpc/add", r#"{"a":1,"b":2}"#), Plan::Read(_)));
    let Plan::Write(write) = post("rpc/store", r#"{"x":1}"#) else { panic!("a read") };
    assert_eq!(write.changes, Changes::Ask);
    let Plan::Write(write) = post("rpc/swallow", r#"{"any":[1]}"#) else { panic!("a read") };
    assert!(write.statement.sql.contains("\"api\".\"swallow\"($1::json)"), "{}", write.statement.sql);
    assert_eq!(write.statement.params[0].0.as_deref(), Some(r#"{"any":[1]}"#));
}

#[test]
fn refusals_have_the_codes_of_postgrest() {
    use http::Method as M;
    for (method, path, query, body, code, status) in [
        (M::GET, "rpc/nope", "", "", "PGRST202", 404),
        (M::GET, "rpc/add", "a=1", "", "PGRST202", 404),
        (M::GET, "rpc/add", "a=1&b=2&c=3", "", "PGRST202", 404),
        (M::POST, "rpc/add", "", "{\"a\":1}", "PGRST202", 404),
        (M::GET, "rpc/twice", "a=1", "", "PGRST203", 300),
        (M::DELETE, "rpc/add", "", "", "PGRST101", 405),
        (M::POST, "rpc/add", "", "{", "PGRST102", 400),
        (M::GET, "rpc/a/b", "", "", "PGRST125", 404),
    ] {
        assert_eq!(refusal(&method, path, query, body), (code.to_owned(), status), "{method} {path} {query}");
    }
    let problem = ask(&M::GET, "rpc/ad", "a=1", "text/plain", "").unwrap_err().problem();
    assert_eq!(problem.message, "Could not find the function api.ad(a) in the schema cache");
    assert_eq!(problem.hint.as_deref(), Some("Perhaps you meant to call the function api.add"));
    let problem = ask(&M::POST, "rpc/add", "", "text/plain", "x").unwrap_err().problem();
    assert_eq!(
        problem.details.unwrap(),
        "Searched for the function api.add with a single unnamed text parameter, but no matches were found in the \
         schema cache."
    );
}
