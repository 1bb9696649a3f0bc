//! What the catalogs say of a schema: the statement that asks them, and its answer.

use serde::Deserialize;

use crate::config::Described;
use crate::rest::statement::{SqlWriter, Statement};

/// Relations and functions of a schema, by name.
#[derive(Debug, Deserialize)]
pub(super) struct Catalog {
    /// of the schema
    pub(super) comment: Option<String>,
    pub(super) relations: Vec<Relation>,
    pub(super) functions: Vec<Function>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Relation {
    pub(super) name: String,
    pub(super) comment: Option<String>,
    /// whether rows can be inserted, updated or deleted
    pub(super) writable: bool,
    pub(super) columns: Vec<Column>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) comment: Option<String>,
    #[serde(rename = "type")]
    pub(super) type_name: String,
    pub(super) length_max: Option<i64>,
    /// the values of an enumeration
    pub(super) labels: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Function {
    pub(super) name: String,
    pub(super) comment: Option<String>,
    pub(super) parameters: Vec<Parameter>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Parameter {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) type_name: String,
    pub(super) required: bool,
    pub(super) variadic: bool,
}

/// The name of type `t`: with its schema unless it is built in, whatever the search path is, and without a length.
const TYPE_NAME: &str = "CASE WHEN t.typnamespace = 'pg_catalog'::pg_catalog.regnamespace \
THEN pg_catalog.format_type(t.oid, NULL) \
ELSE (SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(e.typname) || \
CASE WHEN e.oid = t.oid THEN '' ELSE '[]' END \
FROM pg_catalog.pg_type e JOIN pg_catalog.pg_namespace n ON n.oid = e.typnamespace \
WHERE e.oid = CASE WHEN t.typcategory = 'A' AND t.typelem <> 0 THEN t.typelem ELSE t.oid END) END";

/// Returns one row in the form of a read, whose body is a [`Catalog`] as JSON.
pub(in crate::rest) fn statement(schema: &str, described: Described) -> Statement {
    let mut sql = SqlWriter::default();
    sql.push("WITH chosen AS (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = ").bind(schema.to_owned());
    sql.push(") SELECT null::bigint AS total_result_set, 0::bigint AS page_total, pg_catalog.json_build_object(");
    sql.push("'comment', pg_catalog.obj_description((SELECT oid FROM chosen), 'pg_namespace'), 'relations', ");
    write_relations(&mut sql, described);
    sql.push(", 'functions', ");
    write_functions(&mut sql, described);
    sql.push(") AS body, null::text AS response_headers, null::text AS response_status");
    sql.finish()
}

fn write_relations(sql: &mut SqlWriter, described: Described) {
    sql.push(
        "(SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(\
         'name', c.relname, 'comment', pg_catalog.obj_description(c.oid, 'pg_class'), \
         'writable', c.relkind IN ('r', 'p') OR pg_catalog.pg_relation_is_updatable(c.oid, true) & 28 <> 0, \
         'columns', ",
    );
    write_columns(sql);
    sql.push(
        ") ORDER BY c.relname), '[]') FROM pg_catalog.pg_class c \
         WHERE c.relnamespace = (SELECT oid FROM chosen) AND c.relkind IN ('r', 'v', 'm', 'f', 'p') \
         AND NOT c.relispartition",
    );
    if described == Described::Privileges {
        sql.push(
            " AND (pg_catalog.pg_has_role(c.relowner, 'USAGE') \
             OR pg_catalog.has_table_privilege(c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER') \
             OR pg_catalog.has_any_column_privilege(c.oid, 'SELECT, INSERT, UPDATE, REFERENCES'))",
        );
    }
    sql.push(")");
}

fn write_columns(sql: &mut SqlWriter) {
    sql.push(
        "(SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object('name', a.attname, \
         'comment', pg_catalog.col_description(c.oid, a.attnum), 'type', ",
    );
    sql.push(TYPE_NAME);
    sql.push(
        ", 'length_max', CASE WHEN t.oid IN ('pg_catalog.varchar'::pg_catalog.regtype, \
         'pg_catalog.bpchar'::pg_catalog.regtype) AND a.atttypmod > 4 THEN a.atttypmod - 4 END, \
         'labels', (SELECT pg_catalog.json_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_catalog.pg_enum e \
         WHERE e.enumtypid = t.oid)) ORDER BY a.attnum), '[]') \
         FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type own ON own.oid = a.atttypid \
         JOIN pg_catalog.pg_type t \
         ON t.oid = CASE WHEN own.typtype = 'd' THEN own.typbasetype ELSE own.oid END \
         WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)",
    );
}

fn write_functions(sql: &mut SqlWriter, described: Described) {
    sql.push(
        "(SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object('name', p.proname, \
         'comment', pg_catalog.obj_description(p.oid, 'pg_proc'), 'parameters', \
         (SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(\
         'name', coalesce(p.proargnames[g.place], ''), 'type', ",
    );
    sql.push(TYPE_NAME);
    sql.push(
        ", 'required', g.number <= p.pronargs - p.pronargdefaults, 'variadic', g.mode = 'v') ORDER BY g.place), '[]') \
         FROM (SELECT s.place, s.type, coalesce(p.proargmodes[s.place], 'i') AS mode, \
         pg_catalog.row_number() OVER (ORDER BY s.place) AS number \
         FROM pg_catalog.unnest(coalesce(p.proallargtypes, p.proargtypes::pg_catalog.oid[])) \
         WITH ORDINALITY AS s(type, place) \
         WHERE coalesce(p.proargmodes[s.place], 'i') IN ('i', 'b', 'v')) g \
         JOIN pg_catalog.pg_type t ON t.oid = g.type)) ORDER BY p.proname, p.oid), '[]') \
         FROM pg_catalog.pg_proc p WHERE p.pronamespace = (SELECT oid FROM chosen) AND p.prokind = 'f' \
         AND p.prorettype <> 'pg_catalog.trigger'::pg_catalog.regtype",
    );
    // As they can be called: every parameter has a name, or the only one takes the whole body.
    sql.push(
        " AND (NOT EXISTS (SELECT FROM pg_catalog.unnest(coalesce(p.proallargtypes, p.proargtypes::pg_catalog.oid[])) \
         WITH ORDINALITY AS s(type, place) WHERE coalesce(p.proargmodes[s.place], 'i') IN ('i', 'b', 'v') \
         AND coalesce(p.proargnames[s.place], '') = '') \
         OR p.pronargs = 1 AND p.proargtypes[0] = ANY ('{json,jsonb,text,xml,bytea}'::pg_catalog.regtype[]))",
    );
    if described == Described::Privileges {
        sql.push(" AND pg_catalog.has_function_privilege(p.oid, 'EXECUTE')");
    }
    sql.push(")");
}
