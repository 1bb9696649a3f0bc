use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method};
use proptest::prelude::*;

use super::*;
use crate::rest::Answer;
use crate::rest::schema::{Column, Fill, Opaque, Parts, Relation, RelationKind, TableId, TypeFamily};

fn table(name: &str) -> TableId {
    TableId { schema: "api".into(), name: name.into() }
}

fn schema() -> SchemaCache {
    let column = |name: &str, sql_type: &str, family| Column {
        name: name.into(),
        sql_type: sql_type.into(),
        family,
        equality: None,
        nullable: true,
        fill: Fill::Plain,
        default: None,
    };
    let known = Changes::Known(vec![table("flights")]);
    let relation = Relation {
        id: table("flights"),
        kind: RelationKind::Table,
        columns: vec![
            column("id", "integer", TypeFamily::Other),
            column("carrier", "text", TypeFamily::Other),
            column("at", "timestamp with time zone", TypeFamily::Time),
            column("data", "jsonb", TypeFamily::Json),
        ],
        computed: Vec::new(),
        primary_key: vec!["id".into()],
        unique_keys: Vec::new(),
        reads: Dependencies { tables: vec![table("flights")], ..Dependencies::default() },
        traced: None,
        changes_of_insert: known,
        changes_of_update: Changes::Ask,
    };
    SchemaCache::new(Parts { relations: vec![relation], ..Parts::default() })
}

fn plan_of(method: &Method, path: &str, query: &str, headers: &[(&str, &str)], body: &str) -> Result<Plan, Error> {
    let headers: HeaderMap =
        headers.iter().map(|(name, value)| (HeaderName::try_from(*name).unwrap(), value.parse().unwrap())).collect();
    let body = Bytes::copy_from_slice(body.as_bytes());
    let inbound = Inbound { method, path, query: Some(query), headers: &headers, body: &body };
    let settings =
        Settings { schemas: vec!["api".to_owned(), "other".to_owned()], max_rows: Some(1000), ..Settings::default() };
    plan(&inbound, &schema(), &settings)
}

fn read(query: &str) -> ReadPlan {
    match plan_of(&Method::GET, "flights", query, &[], "").unwrap() {
        Plan::Read(plan) => plan,
        Plan::Write(_) => panic!("a write"),
    }
}

fn write(method: &Method, query: &str, prefer: &str, body: &str) -> WritePlan {
    match plan_of(method, "flights", query, &[("prefer", prefer)], body).unwrap() {
        Plan::Write(plan) => plan,
        Plan::Read(_) => panic!("a read"),
    }
}

fn code(method: &Method, path: &str, query: &str) -> String {
    plan_of(method, path, query, &[], "{}").unwrap_err().problem().code.into_owned()
}

#[test]
fn values_are_bound_and_pages_share_a_statement() {
    let second = read("id=gt.5&carrier=in.(UA,\"a,b\")&data->>x=eq.y&limit=10&offset=10");
    let third = read("id=gt.6&carrier=in.(DL)&data->>z=eq.w&limit=20&offset=40");
    assert_eq!(second.statement.sql, third.statement.sql);
    let params: Vec<_> = second.statement.params.iter().map(|param| param.0.as_deref().unwrap()).collect();
    assert_eq!(params, [r#"{"UA","a,b"}"#, "x", "y", "5", "10", "10"]);
}

#[test]
fn first_pages_of_a_usual_size_have_statements_of_their_own() {
    let ends_with = |query: &str, end: &str| read(query).statement.sql.contains(&format!("{end}) SELECT null"));
    for limit in ["0", "1", "20", "50", "100", "950"] {
        assert!(ends_with(&format!("limit={limit}"), &format!(" FROM \"api\".\"flights\" LIMIT {limit}")), "{limit}");
    }
    for page in ["limit=51", "limit=999", "limit=20&offset=20", "offset=20"] {
        assert!(ends_with(page, " LIMIT $1::bigint OFFSET $2::bigint"), "{page}");
    }
}

#[test]
fn statements_read_like_those_of_postgrest() {
    let read = read("select=id,day:at::date,data->a->>0&id=not.in.(1,2)&order=data->a.desc.nullslast&limit=5");
    assert_eq!(
        &*read.statement.sql,
        "WITH _transom_source AS (SELECT \"api\".\"flights\".\"id\", CAST(\"api\".\"flights\".\"at\" AS date) AS \"day\", \
         \"api\".\"flights\".\"data\"->$1->>$2::int AS \"a\" FROM \"api\".\"flights\" \
         WHERE NOT \"api\".\"flights\".\"id\" = ANY($3) \
         ORDER BY \"api\".\"flights\".\"data\"->$4 DESC NULLS LAST LIMIT 5) \
         SELECT null::bigint AS total_result_set, pg_catalog.count(_transom_row) AS page_total, \
         coalesce(json_agg(_transom_row), '[]')::text AS body, \
         nullif(current_setting('response.headers', true), '') AS response_headers, \
         nullif(current_setting('response.status', true), '') AS response_status \
         FROM (SELECT * FROM _transom_source) _transom_row"
    );
    let delete = write(&Method::DELETE, "carrier=eq.UA&order=at&limit=1&select=id", "return=representation", "");
    assert_eq!(
        &*delete.statement.sql,
        "WITH _transom_source AS (WITH _transom_affected AS (SELECT \"api\".\"flights\".\"id\" FROM \"api\".\"flights\" \
         WHERE \"api\".\"flights\".\"carrier\" = $1 ORDER BY \"api\".\"flights\".\"at\" LIMIT 1) \
         DELETE FROM \"api\".\"flights\" USING _transom_affected \
         WHERE \"api\".\"flights\".\"id\" = _transom_affected.\"id\" RETURNING \"api\".\"flights\".\"id\") \
         SELECT null::bigint AS total_result_set, pg_catalog.count(_transom_row) AS page_total, \
         coalesce(json_agg(_transom_row), '[]')::text AS body, \
         nullif(current_setting('response.headers', true), '') AS response_headers, \
         nullif(current_setting('response.status', true), '') AS response_status, null::text[] AS location \
         FROM (SELECT \"flights\".\"id\" FROM _transom_source AS \"flights\") _transom_row"
    );
}

#[test]
fn spellings_of_one_request_have_one_plan() {
    let plan = read("id=gt.5&carrier=eq.UA&id=lt.9&select=id,data->a&order=id.desc");
    for spelling in [
        "carrier=eq.UA&id=gt.5&select=id,data->a&order=id.desc&id=lt.9",
        "id=lt.9&id=gt.5&carrier=eq.%55A&select=%20id%20,+data->a+&order=id.desc",
        "order=id.desc&select=\"id\",data->\"a\"&id=lt.9;id=gt.5&carrier=eq.UA",
        "id=gt.5&carrier=eq.UA&id=lt.9&select=id,data->a&order=id.desc&limit=1000&offset=0",
    ] {
        let other = read(spelling);
        assert_eq!((&other.statement, &other.shape), (&plan.statement, &plan.shape), "{spelling}");
    }
}

#[test]
fn what_is_not_in_the_schema_cache_is_left_to_postgres_and_never_cached() {
    assert_eq!(read("id=eq.1").reads, Dependencies { tables: vec![table("flights")], ..Dependencies::default() });
    for (query, opaque) in [
        ("full_name=eq.x", Opaque::UnknownColumn),
        ("select=full_name", Opaque::UnknownColumn),
        ("order=full_name", Opaque::UnknownColumn),
        ("or=(id.eq.1,not.and(full_name.eq.2))", Opaque::UnknownColumn),
        ("at=lt.NOW", Opaque::CurrentTime),
        ("and=(id.eq.1,at.in.(2024-01-01,Today))", Opaque::CurrentTime),
        ("select=carrier::timestamptz", Opaque::Cast),
        ("select=id::mood", Opaque::Cast),
    ] {
        assert_eq!(read(query).reads.opaque, Some(opaque), "{query}");
    }
    for query in ["select=at::date", "select=id::text", "carrier=eq.now", "at=lt.2024-01-01"] {
        assert_eq!(read(query).reads.opaque, None, "{query}");
    }
    let Ok(Plan::Read(plan)) = plan_of(&Method::GET, "nope", "", &[], "") else { panic!() };
    assert_eq!(plan.reads.opaque, Some(Opaque::UnknownRelation));
}

#[test]
fn headers_that_do_not_matter_do_not_change_the_plan() {
    let plain = plan_of(&Method::GET, "flights", "", &[], "").unwrap();
    let headers =
        [("prefer", "return=minimal, tx=commit"), ("accept", "*/*"), ("content-profile", "other"), ("range", "0-999")];
    assert_eq!(plan_of(&Method::GET, "flights", "", &headers, "").unwrap(), plain);
    assert_ne!(plan_of(&Method::GET, "flights", "", &[("accept", "text/csv")], "").unwrap(), plain);
}

#[test]
fn writes_know_what_they_change() {
    let insert = write(&Method::POST, "", "return=headers-only", r#"{"id":1,"carrier":"UA"}"#);
    assert_eq!(insert.changes, Changes::Known(vec![table("flights")]));
    let update = write(&Method::PATCH, "id=eq.7", "return=representation", r#"{"carrier":"x"}"#);
    assert_eq!(update.changes, Changes::Ask);
    let params: Vec<_> = update.statement.params.iter().map(|param| param.0.as_deref().unwrap()).collect();
    assert_eq!(params, [r#"{"carrier":"x"}"#, "7"]);
}

#[test]
fn conflicts_are_resolved_as_in_postgrest() {
    let insert = |query, prefer| write(&Method::POST, query, prefer, r#"{"id":1,"carrier":"UA"}"#).statement.sql;
    let merge = insert("", "resolution=merge-duplicates");
    let end = ") DO UPDATE SET \"carrier\" = EXCLUDED.\"carrier\", \"id\" = EXCLUDED.\"id\" WHERE set_config(";
    assert!(merge.contains(&format!(" ON CONFLICT (\"id\"{end}")), "{merge}");
    let other_key = insert("on_conflict=carrier,id", "resolution=merge-duplicates");
    assert!(other_key.contains(&format!(" ON CONFLICT (\"carrier\", \"id\"{end}")), "{other_key}");
    let ignore = insert("", "resolution=ignore-duplicates");
    assert!(ignore.contains(" ON CONFLICT (\"id\") DO NOTHING RETURNING "), "{ignore}");
    assert!(!insert("on_conflict=id", "").contains("ON CONFLICT"));
    // An update may set off more than an insert.
    let changes = |prefer| write(&Method::POST, "", prefer, r#"{"id":1}"#).changes;
    assert_eq!(changes("resolution=merge-duplicates"), Changes::Ask);
    assert_eq!(changes("resolution=ignore-duplicates"), Changes::Known(vec![table("flights")]));
}

#[test]
fn put_names_one_row_by_its_primary_key() {
    let put = write(&Method::PUT, "id=eq.7", "", r#"{"id":7,"carrier":"UA"}"#);
    assert!(put.statement.sql.contains(" AND \"pgrst_body\".\"id\" = $2 ON CONFLICT (\"id\") DO UPDATE SET "));
    for (query, expected) in [
        ("", "PGRST105"),
        ("id=gt.7", "PGRST105"),
        ("id=not.eq.7", "PGRST105"),
        ("id=eq.7&carrier=eq.UA", "PGRST105"),
        ("carrier=eq.UA", "PGRST105"),
        ("or=(id.eq.7)", "PGRST105"),
        ("id=eq.7&limit=1", "PGRST114"),
    ] {
        assert_eq!(code(&Method::PUT, "flights", query), expected, "{query}");
    }
    let row = |page| Answer {
        total: Some(1),
        page,
        body: Bytes::new(),
        said: crate::rest::Said::default(),
        location: None,
        end: None,
    };
    assert_eq!(put.shape.answer(row(0)), Err(Error::PutMismatch));
    assert_eq!(put.shape.answer(row(1)).unwrap().status.as_u16(), 204);
}

#[test]
fn refusals_have_the_codes_of_postgrest() {
    for (method, path, query, expected) in [
        (Method::GET, "flights", "id=noop.1", "PGRST100"),
        (Method::GET, "flights", "planes.id=eq.1", "PGRST108"),
        (Method::GET, "flights", "order=planes(id)", "PGRST108"),
        (Method::GET, "flights", "select=id,planes(*)", "PGRST200"),
        (Method::GET, "flights", "limit=-1", "PGRST103"),
        (Method::GET, "flights", "select=count()", "PGRST123"),
        (Method::GET, "flights/1", "", "PGRST125"),
        (Method::TRACE, "flights", "", "PGRST117"),
        (Method::PATCH, "flights", "limit=1", "PGRST109"),
        (Method::GET, "flights", "id=eq.%00", "22021"),
        (Method::GET, "%ff", "", "22021"),
    ] {
        assert_eq!(code(&method, path, query), expected, "{method} {path} {query}");
    }
    let refused = |headers: &[(&str, &str)], body: &str| {
        plan_of(&Method::POST, "flights", "", headers, body).unwrap_err().problem().code.into_owned()
    };
    assert_eq!(refused(&[], "{\"nope\":1}"), "PGRST204");
    assert_eq!(refused(&[], "{"), "PGRST102");
    assert_eq!(refused(&[("content-profile", "nope")], "{}"), "PGRST106");
    assert_eq!(refused(&[("accept", "text/html")], "{}"), "PGRST107");
    let strict = [("prefer", "handling=strict, x=y"), ("accept", "text/html")];
    assert_eq!(refused(&strict[..1], "{}"), "PGRST122");
    assert_eq!(refused(&strict[..1], "{\"nope\":1}"), "PGRST204", "other mistakes come first");
    assert_eq!(refused(&strict, "{}"), "PGRST122");
    let read = plan_of(&Method::GET, "flights", "", &strict, "").unwrap_err().problem();
    assert_eq!(read.code, "PGRST107", "the order of reads is another");
}

#[test]
fn sizes_are_bounded() {
    for query in ["id=eq.1&".repeat(600), "x".repeat(70_000), format!("or=({})", vec!["id.eq.1"; 2000].join(","))] {
        assert_eq!(code(&Method::GET, "flights", &query), "TRANSOM400");
    }
}

/// Pieces of the grammar, so that random strings get past its first rule.
fn scrap() -> impl Strategy<Value = String> {
    let words = [
        "select",
        "order",
        "limit",
        "offset",
        "and",
        "or",
        "not",
        "id",
        "data",
        "carrier",
        "->",
        "->>",
        "::",
        ":",
        ".",
        ",",
        "(",
        ")",
        "=",
        "&",
        ";",
        "*",
        "!",
        "...",
        "\"",
        "\\",
        "eq",
        "in",
        "is",
        "null",
        "like",
        "fts",
        "any",
        "{",
        "}",
        "%",
        "%00",
        "%ff",
        "%22",
        "+",
        " ",
        "-",
        "1",
        "é",
        "\u{0}",
        "desc",
        "nullsfirst",
        "columns",
        "count()",
        "isdistinct",
    ];
    prop_oneof![4 => proptest::sample::select(words.to_vec()).prop_map(str::to_owned), 1 => any::<char>().prop_map(String::from)]
}

fn scraps() -> impl Strategy<Value = String> {
    proptest::collection::vec(scrap(), 0..40).prop_map(|scraps| scraps.concat())
}

/// A value that is found again if it gets into the SQL, made of characters that would do harm there.
fn hostile() -> impl Strategy<Value = String> {
    "zq9['\"a-z0-9 ;$*-]{0,12}"
}

fn encoded(text: &str) -> String {
    super::super::request::encode(text).to_string()
}

proptest! {
    #[test]
    fn no_request_panics_and_no_refusal_is_a_server_error(
        path in scraps(),
        query in scraps(),
        body in scraps(),
        method in proptest::sample::select(vec![Method::GET, Method::HEAD, Method::POST, Method::PATCH, Method::DELETE]),
    ) {
        for path in [path.as_str(), "flights"] {
            if let Err(error) = plan_of(&method, path, &query, &[], &body) {
                prop_assert!(error.problem().status.is_client_error());
            }
        }
    }

    #[test]
    fn values_never_get_into_the_sql(
        values in proptest::collection::vec(hostile(), 7),
        keys in proptest::collection::vec("zq9[a-z]{3,6}", 2),
    ) {
        let query = |values: &[String], keys: &[String]| {
            let bound: Vec<String> = values.iter().map(|value| encoded(value)).collect();
            format!(
                "carrier=eq.{}&id=in.({})&carrier=like(any).{{{}}}&data->{}->>{}=not.fts({}).{}\
                 &or=(carrier.eq.{},and(carrier.ilike.{},id.gt.1))&at=isdistinct.{}",
                bound[0], encoded(&format!("\"{}\"", values[1].replace('"', ""))), bound[2], keys[0], keys[1], "zq9english",
                bound[3], encoded(&format!("\"{}\"", values[4].replace('"', ""))), bound[5].replace(['"', '(', ')'], ""), bound[6],
            )
        };
        let plan = read(&query(&values, &keys));
        prop_assert!(!plan.statement.sql.contains("zq9"), "{}", plan.statement.sql);
        let harmless: Vec<String> = vec!["1".to_owned(); 7];
        let keys = vec!["k".to_owned(), "l".to_owned()];
        let same_shape = read(&query(&harmless, &keys));
        prop_assert_eq!(Arc::clone(&plan.statement.sql), same_shape.statement.sql);
    }
}
