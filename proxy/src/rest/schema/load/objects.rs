//! Reading from the catalogs what expressions mention: functions with their bodies, operators, types.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio_postgres::{Client, Error, Row};

use crate::rest::schema::body::{self, Language, Surroundings};
use crate::rest::schema::expression::References;
use crate::rest::schema::opacity::{Body, Function, Objects, Origin, Volatility};

/// An aggregate is immutable in the catalog whatever its parts do, so a user's aggregate counts as volatile.
const FUNCTIONS: &str = "\
SELECT p.oid, p.proname::text, \
CASE WHEN p.prokind = 'a' AND p.oid >= 16384 THEN 'v' ELSE p.provolatile::text END, p.oid < 16384, p.xmin::text \
FROM pg_proc p WHERE p.oid = ANY ($1) ORDER BY p.oid";

/// Functions whose bodies may be understood. The names in a text mean what they mean in this catalog unless something of the
/// user's has one of them; its result and arguments have to be of types that read no more than the text from it.
const BODIES: &str = "\
WITH plain AS (SELECT '{text,varchar,uuid,json,jsonb,bool,int2,int4,int8,numeric}'::regtype[]::oid[] AS types), \
shadowed AS (SELECT EXISTS (SELECT FROM pg_proc s WHERE s.oid >= 16384 AND s.proname = 'current_setting') \
OR EXISTS (SELECT FROM pg_type s WHERE s.oid >= 16384 AND s.typname IN ('text', 'varchar', 'uuid', 'json', 'jsonb', \
'bool', 'int2', 'int4', 'int8', 'numeric')) \
OR EXISTS (SELECT FROM pg_operator s, plain WHERE s.oid >= 16384 AND s.oprleft = ANY (plain.types) \
AND s.oprname IN ('->', '->>', '#>', '#>>', '=', '<>', '||')) AS names) \
SELECT p.oid, n.nspname::text, p.proname::text, p.pronargs::int, l.lanname = 'plpgsql', p.prosrc, \
to_jsonb(p) ->> 'prosqlbody', coalesce(p.proargnames[1:p.pronargs], '{}'), \
NOT shadowed.names AND NOT p.proretset AND p.prorettype = ANY (plain.types) AND p.proargtypes::oid[] <@ plain.types \
AND p.pronargs = coalesce(array_length(p.proallargtypes, 1), p.pronargs), \
NOT EXISTS (SELECT FROM unnest(p.proconfig) c WHERE c NOT LIKE 'search_path=%') \
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang, plain, shadowed \
WHERE p.oid >= 16384 AND p.prokind = 'f' AND p.provolatile <> 'v' AND l.lanname IN ('sql', 'plpgsql') ORDER BY p.oid";

/// Functions that can be called by a request, with what stands for the arguments that it does not give.
const ROUTINES: &str = "\
SELECT p.oid, p.proargdefaults::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace \
WHERE p.prokind = 'f' AND n.nspname = ANY ($1)";

/// A function with a text or a tree.
struct Candidate {
    id: u32,
    schema: String,
    name: String,
    arguments: usize,
    argument_names: Vec<String>,
    language: Language,
    text: String,
    tree: Option<String>,
    /// whether names and values in its text can only mean what they say
    plain: bool,
    /// whether it runs under the settings of its caller, but for the search path
    unset: bool,
}

/// Everything about what `references` mention, about the functions of `schemas`, and what functions mention in turn.
pub(super) async fn load_objects(
    client: &Client,
    mut references: References,
    schemas: &[String],
    definitions: &mut Vec<String>,
) -> Result<Objects, Error> {
    let candidates: Vec<Candidate> = client.query(BODIES, &[]).await?.iter().map(candidate).collect();
    let bodies: BTreeMap<u32, Body> = candidates.iter().map(|one| (one.id, one.body(&candidates))).collect();
    for row in client.query(ROUTINES, &[&schemas]).await? {
        references.functions.insert(row.get(0));
        row.get::<_, Option<&str>>(1).into_iter().for_each(|defaults| references.add_tree(defaults));
    }
    let mut used = references.called();
    for (id, body) in &bodies {
        used.insert(*id);
        if let Body::Known(body) = body {
            used.extend(body.called());
            references.operators.extend(&body.operators);
            references.input_types.extend(&body.input_types);
        }
    }
    let operators = "SELECT oid, oprcode::oid FROM pg_operator WHERE oid = ANY ($1)";
    let operators = pairs(&client.query(operators, &[&ids(&references.operators)]).await?);
    let type_inputs = "SELECT oid, typinput::oid FROM pg_type WHERE oid = ANY ($1)";
    let type_inputs = pairs(&client.query(type_inputs, &[&ids(&references.input_types)]).await?);
    used.extend(operators.values().chain(type_inputs.values()));
    let functions = load_functions(client, &used, bodies, definitions).await?;
    Ok(Objects { functions, operators, type_inputs })
}

async fn load_functions(
    client: &Client,
    used: &BTreeSet<u32>,
    mut bodies: BTreeMap<u32, Body>,
    definitions: &mut Vec<String>,
) -> Result<BTreeMap<u32, Function>, Error> {
    let mut functions = BTreeMap::new();
    for row in client.query(FUNCTIONS, &[&ids(used)]).await? {
        let (id, name): (u32, Arc<str>) = (row.get(0), row.get::<_, &str>(1).into());
        let volatility = match row.get(2) {
            "i" => Volatility::Immutable,
            "s" => Volatility::Stable,
            _ => Volatility::Volatile,
        };
        let origin = if row.get(3) { Origin::Builtin } else { Origin::User };
        // A function that is replaced keeps its id, but not the transaction that wrote its row.
        definitions.push(format!("{name} {volatility:?} {}", row.get::<_, &str>(4)));
        let body = bodies.remove(&id).unwrap_or(Body::Unknown);
        functions.insert(id, Function { name, volatility, origin, body });
    }
    Ok(functions)
}

fn candidate(row: &Row) -> Candidate {
    Candidate {
        id: row.get(0),
        schema: row.get(1),
        name: row.get(2),
        arguments: usize::try_from(row.get::<_, i32>(3)).unwrap_or_default(),
        language: if row.get(4) { Language::Plpgsql } else { Language::Sql },
        text: row.get(5),
        tree: row.get(6),
        argument_names: row.get(7),
        plain: row.get(8),
        unset: row.get(9),
    }
}

impl Candidate {
    fn body(&self, all: &[Self]) -> Body {
        self.known(all).map_or_else(|| self.unknown(), Body::Known)
    }

    fn known(&self, all: &[Self]) -> Option<References> {
        let mut body = References::default();
        match &self.tree {
            _ if !self.unset => return None,
            Some(tree) => body.add_body(tree),
            None if !self.plain => return None,
            None => {
                let mut arguments = self.argument_names.clone();
                arguments.resize(self.arguments, String::new());
                let function = |schema: &str, name: &str, arguments: usize| {
                    let is_meant = |one: &&Self| one.schema == schema && one.name == name;
                    let mut overloads = all.iter().filter(is_meant);
                    let only = overloads.next().filter(|one| one.arguments == arguments && one.plain)?;
                    overloads.next().is_none().then_some(only.id)
                };
                let surroundings = Surroundings { language: self.language, arguments: &arguments, function: &function };
                body.terms.push(body::read(&self.text, &surroundings)?);
            }
        }
        Some(body)
    }

    /// Declared immutable, but it reads a setting: a common mistake.
    fn unknown(&self) -> Body {
        let text = self.text.to_ascii_lowercase();
        if text.contains("current_setting") || text.contains("request.") { Body::Suspicious } else { Body::Unknown }
    }
}

fn ids(set: &BTreeSet<u32>) -> Vec<u32> {
    set.iter().copied().collect()
}

fn pairs(rows: &[Row]) -> BTreeMap<u32, u32> {
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}
