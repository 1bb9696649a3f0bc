use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method};

use super::*;
use crate::config::{Api, Permission};
use crate::rest::schema::{
    Changes, Column, Computed, Dependencies, Fill, ForeignKey, Function, Opaque, Parts, Relation, RelationKind, Rows,
    TableId, TypeFamily,
};
use crate::rest::{Inbound, Plan, ReadPlan, Settings, plan};

fn id(name: &str) -> TableId {
    TableId { schema: "api".into(), name: name.into() }
}

fn relation(name: &str, columns: &[&str], key: &[&str]) -> Relation {
    let column = |name: &&str| Column {
        name: (*name).into(),
        sql_type: "integer".into(),
        family: TypeFamily::Other,
        equality: None,
        nullable: true,
        fill: Fill::Plain,
        default: None,
    };
    Relation {
        id: id(name),
        kind: RelationKind::Table,
        columns: columns.iter().map(column).collect(),
        computed: Vec::new(),
        primary_key: key.iter().map(|column| Arc::from(*column)).collect(),
        unique_keys: Vec::new(),
        reads: Dependencies { tables: vec![id(name)], ..Dependencies::default() },
        traced: None,
        changes_of_insert: Changes::Ask,
        changes_of_update: Changes::Ask,
    }
}

fn foreign_key(name: &str, table: &str, column: &str, referenced: &str) -> ForeignKey {
    ForeignKey {
        name: name.into(),
        table: id(table),
        columns: vec![column.into()],
        referenced: id(referenced),
        referenced_columns: vec!["id".into()],
        unique: false,
    }
}

/// Films have a director and a producer, both people; actors play in films; a sequel names its film.
fn schema() -> SchemaCache {
    SchemaCache::new(Parts {
        relations: vec![
            relation("films", &["id", "title", "director_id", "producer_id", "studio_id", "sequel_of"], &["id"]),
            relation("people", &["id", "name"], &["id"]),
            relation("studios", &["id", "name"], &["id"]),
            relation("roles", &["film_id", "person_id"], &["film_id", "person_id"]),
        ],
        foreign_keys: vec![
            foreign_key("director", "films", "director_id", "people"),
            foreign_key("producer", "films", "producer_id", "people"),
            foreign_key("films_studio_fkey", "films", "studio_id", "studios"),
            foreign_key("films_sequel_fkey", "films", "sequel_of", "films"),
            foreign_key("roles_film_fkey", "roles", "film_id", "films"),
            foreign_key("roles_person_fkey", "roles", "person_id", "people"),
        ],
        computed: vec![Computed {
            table: id("films"),
            foreign: id("people"),
            function: Function {
                id: id("fans"),
                returns: Rows::Many,
                reads: Dependencies { tables: vec![id("votes")], ..Dependencies::default() },
            },
        }],
        ..Parts::default()
    })
}

fn ask(path: &str, query: &str) -> Result<ReadPlan, Error> {
    ask_with(Api { aggregates: Permission::Granted, ..Api::default() }, path, query)
}

fn ask_with(api: Api, path: &str, query: &str) -> Result<ReadPlan, Error> {
    let (headers, body) = (HeaderMap::new(), Bytes::new());
    let inbound = Inbound { method: &Method::GET, path, query: Some(query), headers: &headers, body: &body };
    match plan(&inbound, &schema(), &Settings { schemas: vec!["api".to_owned()], api, ..Settings::default() })? {
        Plan::Read(plan) => Ok(plan),
        Plan::Write(_) => panic!("a write"),
    }
}

fn source(path: &str, query: &str) -> String {
    let sql = ask(path, query).unwrap().statement.sql;
    let inner = sql.strip_prefix("WITH _transom_source AS (").unwrap().split(") SELECT null::bigint").next().unwrap();
    inner.to_owned()
}

fn refusal(path: &str, query: &str) -> (String, u16) {
    let problem = ask_with(Api::default(), path, query).unwrap_err().problem();
    (problem.code.into_owned(), problem.status.as_u16())
}

#[test]
fn embedded_resources_are_joined_as_in_postgrest() {
    assert_eq!(
        source("films", "select=id,studios(name)"),
        "SELECT \"api\".\"films\".\"id\", row_to_json(\"films_studios_1\".*) AS \"studios\" FROM \"api\".\"films\" \
         LEFT JOIN LATERAL (SELECT \"studios_1\".\"name\" FROM \"api\".\"studios\" AS \"studios_1\" \
         WHERE \"studios_1\".\"id\" = \"api\".\"films\".\"studio_id\") AS \"films_studios_1\" ON TRUE"
    );
    assert_eq!(
        source("studios", "select=x:films!inner(id)&x.id=gt.5&x.order=id&x.limit=2"),
        "SELECT COALESCE(\"studios_x_1\".\"studios_x_1\", '[]') AS \"x\" FROM \"api\".\"studios\" \
         INNER JOIN LATERAL (SELECT json_agg(\"studios_x_1\") AS \"studios_x_1\" FROM (\
         SELECT \"films_1\".\"id\" FROM \"api\".\"films\" AS \"films_1\" WHERE \"films_1\".\"id\" > $1 \
         AND \"films_1\".\"studio_id\" = \"api\".\"studios\".\"id\" ORDER BY \"films_1\".\"id\" \
         LIMIT 2) AS \"studios_x_1\") AS \"studios_x_1\" ON \"studios_x_1\" IS NOT NULL"
    );
    assert_eq!(
        source("films", "select=...studios(studio:name),people!roles(id)"),
        "SELECT \"films_studios_1\".*, COALESCE(\"films_people_1\".\"films_people_1\", '[]') AS \"people\" \
         FROM \"api\".\"films\" LEFT JOIN LATERAL (SELECT \"studios_1\".\"name\" AS \"studio\" \
         FROM \"api\".\"studios\" AS \"studios_1\" WHERE \"studios_1\".\"id\" = \"api\".\"films\".\"studio_id\") \
         AS \"films_studios_1\" ON TRUE LEFT JOIN LATERAL (SELECT json_agg(\"films_people_1\") AS \"films_people_1\" \
         FROM (SELECT \"api\".\"people\".\"id\" FROM \"api\".\"people\", \"api\".\"roles\" \
         WHERE \"api\".\"roles\".\"person_id\" = \"api\".\"people\".\"id\" \
         AND \"api\".\"roles\".\"film_id\" = \"api\".\"films\".\"id\") AS \"films_people_1\") AS \"films_people_1\" ON TRUE"
    );
    let fans = source("films", "select=fans(id)");
    assert!(fans.contains("FROM \"api\".\"fans\"(\"films\"::\"api\".\"films\") AS \"people_1\""), "{fans}");
}

#[test]
fn rows_can_be_chosen_and_ordered_by_what_is_embedded() {
    let sql = source("films", "select=id,studios(name)&studios=not.is.null&order=studios(name).desc");
    assert!(
        sql.ends_with("WHERE \"films_studios_1\" IS DISTINCT FROM NULL ORDER BY \"films_studios_1\".\"name\" DESC")
    );
    let sql = source("films", "select=id,studios()&or=(studios.is.null,id.eq.1)");
    assert!(sql.starts_with("SELECT \"api\".\"films\".\"id\" FROM "), "{sql}");
    assert!(sql.ends_with("(\"films_studios_1\" IS NOT DISTINCT FROM NULL OR \"api\".\"films\".\"id\" = $1)"), "{sql}");
}

#[test]
fn the_statement_depends_on_the_shape_alone() {
    let first = ask("studios", "select=films(id)&films.id=gt.5&films.limit=3&films.offset=1").unwrap().statement;
    let second = ask("studios", "films.limit=9&films.offset=2&select=films(id)&films.id=gt.77").unwrap().statement;
    assert_eq!(first.sql, second.sql);
    let params: Vec<_> = second.params.iter().map(|param| param.0.as_deref()).collect();
    assert_eq!(params, [Some("77"), Some("9"), Some("2")]);
}

#[test]
fn an_answer_depends_on_every_table_in_it() {
    let reads = ask("studios", "select=films(people!roles(name))&films=not.is.null").unwrap().reads;
    let names: Vec<_> = reads.tables.iter().map(|table| &*table.name).collect();
    assert_eq!((names, reads.opaque), (vec!["films", "people", "roles", "studios"], None));
    let reads = ask("studios", "select=films(fans(name))").unwrap().reads;
    let names: Vec<_> = reads.tables.iter().map(|table| &*table.name).collect();
    assert_eq!((names, reads.opaque), (vec!["films", "people", "studios", "votes"], None));
    let reads = ask("studios", "select=films(id)&films.age=eq.1").unwrap().reads;
    assert_eq!(reads.opaque, Some(Opaque::UnknownColumn));
}

#[test]
fn relationships_are_found_by_relation_constraint_column_and_hint() {
    for (path, select) in [
        ("films", "studios(id)"),
        ("films", "films_studio_fkey(id)"),
        ("films", "studio_id(id)"),
        ("films", "director(id),producer(id)"),
        ("films", "people!director(id)"),
        ("films", "people!producer_id(id)"),
        ("films", "people!roles(id)"),
        ("films", "films(id)"),
        ("films", "films!sequel_of(id)"),
        ("films", "sequel_of(id,sequel_of(id))"),
        ("people", "films!director(id)"),
        ("people", "roles(*,films(*))"),
    ] {
        assert!(ask(path, &format!("select={select}")).is_ok(), "{path} {select}");
    }
}

#[test]
fn refusals_have_the_codes_of_postgrest() {
    for (query, code, status) in [
        ("select=people(id)", "PGRST201", 300),
        ("select=people!nope(id)", "PGRST200", 400),
        ("select=films!films_sequel_fkey(id)", "PGRST200", 400),
        ("select=studio(id)", "PGRST200", 400),
        ("select=studios(id)&studio.id=eq.1", "PGRST108", 400),
        ("select=studios(id)&studios.films.id=eq.1", "PGRST108", 400),
        ("select=studios(id)&order=people(id)", "PGRST108", 400),
        ("select=roles(*)&order=roles(film_id)", "PGRST118", 400),
        ("select=studios(count())", "PGRST123", 400),
    ] {
        assert_eq!(refusal("films", query), (code.to_owned(), status), "{query}");
    }
    let problem = ask("films", "select=studio(id)").unwrap_err().problem();
    assert_eq!(problem.hint.as_deref(), Some("Perhaps you meant 'studios' instead of 'studio'."));
    let problem = ask("films", "select=people!inner(id)").unwrap_err().problem();
    assert_eq!(
        problem.details.unwrap().get(0).unwrap(),
        &serde_json::json!({
            "cardinality": "many-to-one",
            "embedding": "films with people",
            "relationship": "director using films(director_id) and people(id)",
        })
    );
    assert_eq!(
        problem.hint.as_deref(),
        Some(
            "Try changing 'people' to one of the following: 'people!director', 'people!producer', 'people!roles'. Find \
             the desired relationship in the 'details' key."
        )
    );
}

#[test]
fn embedding_is_bounded() {
    let many = "studios(id),".repeat(300);
    assert_eq!(refusal("films", &format!("select={}", many.trim_end_matches(','))).0, "TRANSOM400");
    let deep = format!("{}id{}", "films(".repeat(40), ")".repeat(40));
    assert_eq!(refusal("films", &format!("select={deep}")).0, "TRANSOM400");
}

#[test]
fn rows_are_grouped_by_what_is_not_aggregated() {
    assert_eq!(
        source("films", "select=studio_id,id.max()::text,n:count()&order=studio_id"),
        "SELECT \"api\".\"films\".\"studio_id\" AS \"studio_id\", CAST(MAX(\"api\".\"films\".\"id\") AS text), \
         COUNT(*) AS \"n\" FROM \"api\".\"films\" GROUP BY 1 ORDER BY \"api\".\"films\".\"studio_id\""
    );
    assert_eq!(source("films", "select=count()"), "SELECT COUNT(*) FROM \"api\".\"films\"");
    let embedded = source("films", "select=studios(name),count()");
    assert!(
        embedded.starts_with("SELECT COUNT(*), row_to_json(\"films_studios_1\".*)::jsonb AS \"studios\""),
        "{embedded}"
    );
    assert!(embedded.ends_with(" GROUP BY 2"), "{embedded}");
}

#[test]
fn an_aggregate_of_a_spread_resource_groups_the_parent() {
    assert_eq!(
        source("films", "select=...studios(name,id.sum(),n:count())"),
        "SELECT \"films_studios_1\".\"name\" AS \"name\", SUM(\"films_studios_1\".\"_transom_1\"), \
         COUNT(\"films_studios_1\".\"_transom_2\") AS \"n\" FROM \"api\".\"films\" LEFT JOIN LATERAL (\
         SELECT \"studios_1\".\"name\" AS \"name\", \"studios_1\".\"id\" AS \"_transom_1\", 1 AS \"_transom_2\" \
         FROM \"api\".\"studios\" AS \"studios_1\" WHERE \"studios_1\".\"id\" = \"api\".\"films\".\"studio_id\"\
         ) AS \"films_studios_1\" ON TRUE GROUP BY 1"
    );
}

#[test]
fn aggregates_are_refused_unless_a_setting_grants_them() {
    for query in ["select=count()", "select=id.sum()", "select=studios(count())"] {
        let refused = ask_with(Api::default(), "films", query).unwrap_err().problem();
        assert_eq!((&*refused.code, refused.status.as_u16()), ("PGRST123", 400), "{query}");
    }
}

/// 12.0.2 refuses it; later versions make lists of the columns.
#[test]
fn what_there_may_be_many_of_is_spread_as_lists() {
    let inner = "SELECT COALESCE(json_agg(\"studios_films_1\".\"id\"), '[]') AS \"id\" FROM (SELECT \"films_1\".\"id\" \
                 FROM \"api\".\"films\" AS \"films_1\" WHERE \"films_1\".\"studio_id\" = \"api\".\"studios\".\"id\"\
                 ) AS \"studios_films_1\"";
    assert_eq!(
        source("studios", "select=name,...films(id)"),
        format!(
            "SELECT \"api\".\"studios\".\"name\", \"studios_films_1\".* FROM \"api\".\"studios\" \
             LEFT JOIN LATERAL ({inner}) AS \"studios_films_1\" ON TRUE"
        )
    );
    let required = source("studios", "select=...films!inner(id)");
    assert!(
        required.ends_with(&format!("INNER JOIN LATERAL ({inner} HAVING COUNT(*) > 0) AS \"studios_films_1\" ON TRUE"))
    );
    let refused = ask("studios", "select=...films(id.max())").unwrap_err().problem();
    assert_eq!((&*refused.code, refused.status.as_u16()), ("PGRST119", 400));
}
