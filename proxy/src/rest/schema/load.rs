//! Reading the schema cache from PostgreSQL's catalogs.

mod keys;
mod objects;
mod media;
mod computed;
mod routines;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio_postgres::{Client, Error, Row};

use super::equality::{Collation, Equality, TypeKind};
use super::expression::References;
use super::graph::{Durability, Graph, Identity, Node, SideEffects};
use super::relationship::Shown;
use super::target_list::{self, origins};
use super::{
    Column, Fill, ForeignKey, Opaque, Parts, Relation, RelationKind, RowSecurity, SchemaCache, TableId, TypeFamily,
};

/// Reads everything about `schemas` that planning needs, in one snapshot.
///
/// Any role may do it: the catalogs are open to all. Cancelling it leaves a transaction open on `client`, which must then
/// be thrown away.
pub async fn load_schema(client: &Client, schemas: &[String]) -> Result<SchemaCache, Error> {
    // With an empty search path PostgreSQL writes out the schema of every type and function that is not its own.
    client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL search_path = pg_catalog").await?;
    let loaded = load(client, schemas).await;
    client.batch_execute("ROLLBACK").await?;
    loaded
}

async fn load(client: &Client, schemas: &[String]) -> Result<SchemaCache, Error> {
    let (graph, lineage, mut definitions) = load_graph(client, schemas).await?;
    let mut columns = load_columns(client, schemas).await?;
    let shown = load_shown(client, &graph, &lineage, schemas).await?;
    let mut computed_columns = computed::load_columns(client, &graph, schemas).await?;
    let mut keys = keys::load_keys(client).await?;
    keys::keys_of_views(&shown, &graph, &mut keys);
    let mut relations = Vec::new();
    for (oid, node) in graph.nodes.iter().filter(|(_, node)| schemas.iter().any(|name| **name == *node.id.schema)) {
        let (primary_key, unique_keys) = keys.remove(oid).unwrap_or_default();
        let (changes_of_insert, changes_of_update) = graph.changes(*oid);
        let columns = columns.remove(oid).unwrap_or_default();
        let mut reads = graph.closure(*oid);
        let traced = graph.traced(*oid, &columns);
        // The text of a `regclass` is the name that the catalog has for it at that moment.
        let names_objects = columns.iter().any(|column| column.sql_type.starts_with("reg"));
        reads.opaque = reads.opaque.or(names_objects.then_some(Opaque::SystemCatalog));
        relations.push(Relation {
            id: node.id.clone(),
            kind: node.kind,
            columns,
            computed: computed_columns.remove(oid).unwrap_or_default(),
            primary_key,
            unique_keys,
            reads,
            traced,
            changes_of_insert,
            changes_of_update,
        });
    }
    let foreign_keys = load_foreign_keys(client, &graph).await?;
    let computed = computed::load_relationships(client, &graph).await?;
    let routines = routines::load_routines(client, &graph, schemas).await?;
    let (handlers, versions) = media::load_handlers(client, schemas).await?;
    definitions.extend(versions);
    let rows = client.query(PRIVILEGES, &[]).await?;
    definitions.extend(rows.iter().map(|row| row.get::<_, String>(0)));
    Ok(SchemaCache::new(Parts { relations, foreign_keys, shown, computed, routines, handlers, definitions }))
}

const RELATIONS: &str = "\
SELECT c.oid, n.nspname::text, c.relname::text, c.relkind::text, c.relrowsecurity, \
ARRAY(SELECT i.inhrelid FROM pg_inherits i WHERE i.inhparent = c.oid ORDER BY 1), \
EXISTS (SELECT FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid \
WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND p.pronamespace IS DISTINCT FROM to_regnamespace('transom')) \
OR EXISTS (SELECT FROM pg_rewrite r WHERE r.ev_class = c.oid AND r.ev_type <> '1'), \
EXISTS (SELECT FROM pg_constraint f WHERE f.confrelid = c.oid AND f.contype = 'f' \
AND (f.confupdtype IN ('c', 'n', 'd') OR f.confdeltype IN ('c', 'n', 'd'))), \
concat_ws(' ', c.oid, c.relowner, c.relkind, c.relrowsecurity, c.relforcerowsecurity, c.relacl::text, c.reloptions::text), \
c.relpersistence = 'u', c.relreplident = 'f', \
ARRAY(SELECT a.attname::text FROM pg_index i JOIN pg_attribute a ON a.attrelid = c.oid \
AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]) WHERE i.indrelid = c.oid AND CASE c.relreplident \
WHEN 'd' THEN i.indisprimary AND i.indimmediate WHEN 'i' THEN i.indisreplident ELSE false END ORDER BY 1) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') \
AND c.relpersistence <> 't' ORDER BY c.oid";

/// The trees of views, also materialized ones, and of the policies that guard reads; the last column tells them apart.
const EXPRESSIONS: &str = "\
SELECT r.ev_class, r.ev_action::text, false FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class \
WHERE r.ev_type = '1' AND c.relkind IN ('v', 'm') AND c.oid >= 16384 \
UNION ALL SELECT p.polrelid, coalesce(p.polqual::text, ''), true FROM pg_policy p \
WHERE p.polcmd IN ('r', '*') ORDER BY 1, 2";

/// The origins of the columns of each view.
type Lineage = BTreeMap<u32, Vec<target_list::Origin>>;

async fn load_graph(client: &Client, schemas: &[String]) -> Result<(Graph, Lineage, Vec<String>), Error> {
    let mut nodes = BTreeMap::new();
    let mut definitions = Vec::new();
    let mut lineage = Lineage::new();
    for row in client.query(RELATIONS, &[]).await? {
        let Some(kind) = relation_kind(row.get(3)) else { continue };
        nodes.insert(row.get(0), node(&row, kind));
        definitions.push(row.get(8));
    }
    let mut all = References::default();
    for row in client.query(EXPRESSIONS, &[]).await? {
        let (oid, tree, is_policy): (u32, String, bool) = (row.get(0), row.get(1), row.get(2));
        let Some(node) = nodes.get_mut(&oid) else { continue };
        if !is_policy {
            lineage.insert(oid, origins(&tree));
        }
        // A materialized view shows rows of its own, whatever its definition mentions.
        if is_policy || node.kind == RelationKind::View {
            if is_policy { &mut node.policies } else { &mut node.definition }.add_tree(&tree);
            all.add_tree(&tree);
        }
        definitions.push(tree);
    }
    let objects = objects::load_objects(client, all, schemas, &mut definitions).await?;
    Ok((Graph { nodes, objects }, lineage, definitions))
}

const NAMES: &str = "SELECT attrelid, attnum, attname::text FROM pg_attribute \
WHERE attrelid = ANY ($1) AND attnum > 0 AND NOT attisdropped";

/// Which columns of tables the views of `schemas` show, also through other views.
async fn load_shown(
    client: &Client,
    graph: &Graph,
    lineage: &Lineage,
    schemas: &[String],
) -> Result<Vec<Shown>, Error> {
    let mut relations: BTreeSet<u32> = lineage.keys().copied().collect();
    relations.extend(lineage.values().flatten().map(|origin| origin.relation));
    let relations: Vec<u32> = relations.into_iter().collect();
    let rows = client.query(NAMES, &[&relations]).await?;
    let names: BTreeMap<(u32, i16), Arc<str>> =
        rows.iter().map(|row| ((row.get(0), row.get(1)), row.get::<_, &str>(2).into())).collect();
    let exposed = |node: &Node| schemas.iter().any(|name| **name == *node.id.schema);
    let mut shown = Vec::new();
    for (view, origins) in lineage {
        let Some(node) = graph.nodes.get(view).filter(|node| exposed(node)) else { continue };
        for origin in origins {
            let table = underneath(lineage, *origin);
            let of_table = graph.nodes.get(&table.relation).zip(names.get(&(table.relation, table.column)));
            let (Some(view_column), Some((table, column))) = (names.get(&(*view, origin.position)), of_table) else {
                continue;
            };
            shown.push(Shown {
                view: node.id.clone(),
                view_column: Arc::clone(view_column),
                table: table.id.clone(),
                column: Arc::clone(column),
            });
        }
    }
    Ok(shown)
}

/// Follows a column through views down to a table. A materialized view can be one end of a relationship, too, so views are
/// followed by their definition whatever their kind.
fn underneath(lineage: &Lineage, origin: target_list::Origin) -> target_list::Origin {
    let mut current = origin;
    // Views cannot contain themselves; the bound is for a catalog that says otherwise.
    for _ in 0..VIEWS_DEEP_MAX {
        let below = lineage
            .get(&current.relation)
            .and_then(|origins| origins.iter().find(|origin| origin.position == current.column));
        match below {
            Some(below) => current = *below,
            None => return current,
        }
    }
    current
}

const VIEWS_DEEP_MAX: usize = 64;

fn node(row: &Row, kind: RelationKind) -> Node {
    let (triggers, cascades): (bool, bool) = (row.get(6), row.get(7));
    let side_effects = if triggers {
        SideEffects::Any
    } else if cascades {
        SideEffects::Cascades
    } else {
        SideEffects::None
    };
    Node {
        id: TableId { schema: row.get::<_, &str>(1).into(), name: row.get::<_, &str>(2).into() },
        kind,
        row_security: if row.get(4) { RowSecurity::On } else { RowSecurity::Off },
        descendants: row.get(5),
        definition: References::default(),
        policies: References::default(),
        side_effects,
        durability: if row.get(9) { Durability::Unlogged } else { Durability::Logged },
        identity: if row.get(10) { Identity::Row } else { Identity::Columns(names(row, 11)) },
    }
}

fn relation_kind(code: &str) -> Option<RelationKind> {
    match code {
        "r" => Some(RelationKind::Table),
        "p" => Some(RelationKind::PartitionedTable),
        "v" => Some(RelationKind::View),
        "m" => Some(RelationKind::MaterializedView),
        "f" => Some(RelationKind::ForeignTable),
        _ => None,
    }
}

/// An identity that takes other values has a default of its own, which no expression says: the next of its sequence.
const COLUMNS: &str = "\
SELECT a.attrelid, a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull, \
a.attidentity <> '', a.attgenerated <> '', \
CASE WHEN a.attidentity = 'd' THEN format('nextval(%L)', q.objid::regclass) ELSE pg_get_expr(d.adbin, d.adrelid) END, \
coalesce(e.typname, m.typname, b.typname, t.typname)::text, coalesce(a.attacl::text, ''), \
a.atttypid, t.typtype = 'e', coalesce(o.collisdeterministic, false) \
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type b ON t.typtype = 'd' AND b.oid = t.typbasetype \
LEFT JOIN pg_type e ON t.typelem <> 0 AND t.typlen = -1 AND e.oid = t.typelem \
LEFT JOIN pg_range r ON t.oid IN (r.rngtypid, r.rngmultitypid) LEFT JOIN pg_type m ON m.oid = r.rngsubtype \
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
LEFT JOIN pg_depend q ON a.attidentity = 'd' AND q.refobjid = a.attrelid AND q.refobjsubid = a.attnum \
AND q.deptype = 'i' AND q.classid = 'pg_class'::regclass AND q.refclassid = 'pg_class'::regclass \
LEFT JOIN pg_collation o ON o.oid = a.attcollation \
WHERE n.nspname = ANY ($1) AND a.attnum > 0 AND NOT a.attisdropped \
AND c.relkind IN ('r', 'p', 'v', 'm', 'f') ORDER BY a.attrelid, a.attnum";

async fn load_columns(client: &Client, schemas: &[String]) -> Result<BTreeMap<u32, Vec<Column>>, Error> {
    let mut columns: BTreeMap<u32, Vec<Column>> = BTreeMap::new();
    for row in client.query(COLUMNS, &[&schemas]).await? {
        columns.entry(row.get(0)).or_default().push(column(&row));
    }
    Ok(columns)
}

fn column(row: &Row) -> Column {
    let fill = match (row.get(4), row.get(5)) {
        (true, _) => Fill::Identity,
        (false, true) => Fill::Generated,
        (false, false) => Fill::Plain,
    };
    Column {
        name: row.get::<_, &str>(1).into(),
        sql_type: row.get::<_, &str>(2).into(),
        family: type_family(row.get(2), row.get(7)),
        equality: equality(row),
        nullable: !row.get::<_, bool>(3),
        fill,
        default: row.get::<_, Option<&str>>(6).map(Into::into),
    }
}

fn equality(row: &Row) -> Option<Equality> {
    let kind = if row.get(10) { TypeKind::Enumeration } else { TypeKind::Other };
    let collation = if row.get(11) { Collation::Deterministic } else { Collation::Other };
    Equality::of(row.get(9), kind, collation)
}

/// `element` is the type inside an array, range or domain, or the type itself.
fn type_family(sql_type: &str, element: &str) -> TypeFamily {
    match (sql_type, element) {
        ("json" | "jsonb", _) => TypeFamily::Json,
        (_, "date" | "time" | "timetz" | "timestamp" | "timestamptz") => TypeFamily::Time,
        _ => TypeFamily::Other,
    }
}

/// As in PostgREST, the columns of a foreign key are unique if a key has the same, in the order of the table.
const FOREIGN_KEYS: &str = "\
SELECT f.conname::text, f.conrelid, f.confrelid, \
ARRAY(SELECT a.attname::text FROM unnest(f.conkey) WITH ORDINALITY AS u(num, pos) \
JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = u.num ORDER BY u.pos), \
ARRAY(SELECT a.attname::text FROM unnest(f.confkey) WITH ORDINALITY AS u(num, pos) \
JOIN pg_attribute a ON a.attrelid = f.confrelid AND a.attnum = u.num ORDER BY u.pos), \
EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = f.conrelid AND k.contype IN ('p', 'u') \
AND ARRAY(SELECT u FROM unnest(k.conkey) u ORDER BY 1) = f.conkey) \
FROM pg_constraint f WHERE f.contype = 'f' AND f.conparentid = 0 ORDER BY f.conrelid, f.conname";

async fn load_foreign_keys(client: &Client, graph: &Graph) -> Result<Vec<ForeignKey>, Error> {
    let mut foreign_keys = Vec::new();
    for row in client.query(FOREIGN_KEYS, &[]).await? {
        let ends = (graph.nodes.get(&row.get(1)), graph.nodes.get(&row.get(2)));
        let (Some(from), Some(to)) = ends else { continue };
        foreign_keys.push(ForeignKey {
            name: row.get::<_, &str>(0).into(),
            table: from.id.clone(),
            columns: names(&row, 3),
            referenced: to.id.clone(),
            referenced_columns: names(&row, 4),
            unique: row.get(5),
        });
    }
    Ok(foreign_keys)
}

/// Who may do what, beside the privileges on relations, and who connects to what: an answer depends on it, though the
/// planner does not.
const PRIVILEGES: &str = "\
SELECT concat_ws(' ', 'connection', session_user, current_database()) UNION ALL SELECT 'role ' || concat_ws(' ', r.rolname, r.rolsuper, r.rolinherit, r.rolbypassrls, r.rolconfig::text) FROM pg_roles r \
UNION ALL SELECT 'member ' || concat_ws(' ', m.roleid, m.member) FROM pg_auth_members m \
UNION ALL SELECT 'setting ' || concat_ws(' ', s.setdatabase, s.setrole, s.setconfig::text) FROM pg_db_role_setting s \
UNION ALL SELECT 'schema ' || concat_ws(' ', n.oid, n.nspname, n.nspowner, n.nspacl::text) FROM pg_namespace n \
WHERE n.nspname !~ '^pg_(toast_)?temp_' \
UNION ALL SELECT 'column ' || concat_ws(' ', a.attrelid, a.attnum, a.attacl::text) FROM pg_attribute a \
WHERE a.attacl IS NOT NULL AND a.attrelid >= 16384 \
UNION ALL SELECT 'policy ' || concat_ws(' ', p.polrelid, p.polname, p.polcmd, p.polpermissive, p.polroles::text) \
FROM pg_policy p ORDER BY 1";

fn names(row: &Row, index: usize) -> Vec<Arc<str>> {
    row.get::<_, Vec<String>>(index).into_iter().map(Into::into).collect()
}
