//! The query string: reserved parameters, filters, and the canonical form of the whole.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};

use super::range::{Span, parse_number};
use super::target::text;
use crate::rest::ast::{Condition, Filter, JsonOperand, OrderTerm, SelectItem};
use crate::rest::{Error, grammar};

/// Bounds what one request can make Transom and PostgreSQL parse.
const QUERY_BYTES_MAX: usize = 64 * 1024;
/// Bounds the number of parameters of a query string.
const PARAMETERS_MAX: usize = 512;
/// Bounds the number of filters, those in logic trees counted one by one.
const FILTERS_MAX: usize = 1024;

/// What the query string asks for at the top level.
#[derive(Debug)]
pub(in crate::rest) struct Query {
    pub(in crate::rest) select: Vec<SelectItem>,
    /// filters first, sorted by shape, then logic trees in the order of the request
    pub(in crate::rest) conditions: Vec<Condition>,
    pub(in crate::rest) order: Vec<OrderTerm>,
    pub(in crate::rest) columns: Option<Vec<String>>,
    pub(in crate::rest) conflict: Conflict,
    /// the first embedded resource that a parameter in front of its name asks for
    pub(in crate::rest) embedded: Option<String>,
    /// the query string with its parameters sorted by name: two spellings of one request have one
    pub(in crate::rest) canonical: String,
    pub(super) span: Span,
}

/// Whether `on_conflict=` names a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::rest) enum Conflict {
    Unnamed,
    Named,
}

impl Query {
    pub(super) fn read(raw: &str) -> Result<Self, Error> {
        if raw.len() > QUERY_BYTES_MAX {
            return Err(Error::Limit { what: "the length of the query string", limit: QUERY_BYTES_MAX });
        }
        let parameters = decode(raw)?;
        let mut embedded = Embedded::default();
        // The order of these is the order in which PostgREST reports mistakes.
        let order = read_order(&parameters, &mut embedded)?;
        let logic = read_logic(&parameters, &mut embedded)?;
        let columns = first(&parameters, "columns").map(grammar::parse_columns).transpose()?;
        let select = grammar::parse_select(first(&parameters, "select").unwrap_or("*"))?;
        let mut conditions = read_filters(&parameters, &mut embedded)?;
        conditions.extend(logic);
        check_filters(&conditions)?;
        let conflict = match first(&parameters, "on_conflict") {
            Some(_) => Conflict::Named,
            None => Conflict::Unnamed,
        };
        let span = read_span(&parameters, &mut embedded)?;
        let canonical = canonical(&parameters);
        Ok(Self { select, conditions, order, columns, conflict, embedded: embedded.first, canonical, span })
    }
}

type Parameter = (String, Option<String>);

/// What a parameter is for, which its last dotted word tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Reserved,
    Order,
    Logic,
    Limit,
    Offset,
    Filter,
}

fn role(key: &str) -> Role {
    if matches!(key, "select" | "columns" | "on_conflict") {
        return Role::Reserved;
    }
    match key.rsplit('.').next() {
        Some("order") => Role::Order,
        Some("and" | "or") => Role::Logic,
        Some("limit") => Role::Limit,
        Some("offset") => Role::Offset,
        _ => Role::Filter,
    }
}

/// Remembers the first embedded resource that some parameter is about.
#[derive(Debug, Default)]
struct Embedded {
    first: Option<String>,
}

impl Embedded {
    /// Notes `path`; true if the parameter is about the resource of the request itself.
    fn is_root(&mut self, path: Vec<String>) -> bool {
        match path.into_iter().next() {
            None => true,
            Some(name) => {
                self.first.get_or_insert(name);
                false
            }
        }
    }
}

/// Splits and decodes. As in PostgREST, `;` separates too, `+` is a space and a stray `%` stands for itself.
fn decode(raw: &str) -> Result<Vec<Parameter>, Error> {
    let mut parameters = Vec::new();
    for piece in raw.split(['&', ';']).filter(|piece| !piece.is_empty()) {
        if parameters.len() == PARAMETERS_MAX {
            return Err(Error::Limit { what: "the number of parameters", limit: PARAMETERS_MAX });
        }
        parameters.push(match piece.split_once('=') {
            Some((key, value)) => (decode_one(key)?, Some(decode_one(value)?)),
            None => (decode_one(piece)?, None),
        });
    }
    Ok(parameters)
}

fn decode_one(raw: &str) -> Result<String, Error> {
    let spaced: Vec<u8> = raw.bytes().map(|byte| if byte == b'+' { b' ' } else { byte }).collect();
    text(percent_decode(&spaced).collect())
}

fn of_role(parameters: &[Parameter], wanted: Role) -> impl Iterator<Item = (&str, &str)> {
    parameters
        .iter()
        .filter_map(|(key, value)| Some((key.as_str(), value.as_deref()?)))
        .filter(move |(key, _)| role(key) == wanted)
}

fn first<'a>(parameters: &'a [Parameter], name: &str) -> Option<&'a str> {
    parameters.iter().find(|(key, _)| key == name).and_then(|(_, value)| value.as_deref())
}

fn read_order(parameters: &[Parameter], embedded: &mut Embedded) -> Result<Vec<OrderTerm>, Error> {
    let mut order = Vec::new();
    for (key, value) in of_role(parameters, Role::Order) {
        let (path, terms) = grammar::parse_order(key, value)?;
        if embedded.is_root(path) {
            order = terms;
        }
    }
    if let Some(relation) = order.iter().find_map(|term| term.relation.clone()) {
        embedded.is_root(vec![relation]);
    }
    Ok(order)
}

fn read_logic(parameters: &[Parameter], embedded: &mut Embedded) -> Result<Vec<Condition>, Error> {
    let mut trees = Vec::new();
    for (key, value) in of_role(parameters, Role::Logic) {
        let (path, tree) = grammar::parse_logic(key, value)?;
        if embedded.is_root(path) {
            trees.push(tree);
        }
    }
    Ok(trees)
}

fn read_filters(parameters: &[Parameter], embedded: &mut Embedded) -> Result<Vec<Condition>, Error> {
    let mut filters = Vec::new();
    for (key, value) in of_role(parameters, Role::Filter) {
        let (path, filter) = grammar::parse_filter(key, value)?;
        if embedded.is_root(path) {
            filters.push(filter);
        }
    }
    // Keys of JSON paths are bound as values are, so they too count only where the shapes are alike.
    filters.sort_by_cached_key(|filter| (without_keys(filter), filter.clone()));
    Ok(filters.into_iter().map(Condition::Filter).collect())
}

fn without_keys(filter: &Filter) -> Filter {
    let mut filter = filter.clone();
    for step in &mut filter.field.path {
        match &mut step.operand {
            JsonOperand::Key(text) | JsonOperand::Index(text) => text.clear(),
        }
    }
    filter
}

/// The last `limit` and the last `offset` count; what is not a number counts as absent.
fn read_span(parameters: &[Parameter], embedded: &mut Embedded) -> Result<Span, Error> {
    let mut last = |wanted| -> Result<Option<i128>, Error> {
        let mut number = None;
        for (key, value) in of_role(parameters, wanted) {
            if embedded.is_root(grammar::parse_embed_path(key)?) {
                number = parse_number(value);
            }
        }
        Ok(number)
    };
    let limit = last(Role::Limit)?;
    Ok(Span::of_limit_and_offset(limit, last(Role::Offset)?))
}

fn check_filters(conditions: &[Condition]) -> Result<(), Error> {
    fn count(conditions: &[Condition]) -> usize {
        let leaves = |condition: &Condition| match condition {
            Condition::Filter(_) => 1,
            Condition::Group { children, .. } => count(children),
        };
        conditions.iter().map(leaves).sum()
    }
    if count(conditions) > FILTERS_MAX {
        return Err(Error::Limit { what: "the number of filters", limit: FILTERS_MAX });
    }
    Ok(())
}

/// What stays as it is in a canonical query string.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Percent-encodes `value` as PostgREST does in the URLs that it makes.
pub(in crate::rest) fn encode(value: &str) -> impl std::fmt::Display {
    utf8_percent_encode(value, PLAIN)
}

fn canonical(parameters: &[Parameter]) -> String {
    use std::fmt::Write as _;

    let mut sorted: Vec<&Parameter> = parameters.iter().collect();
    sorted.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut canonical = String::new();
    for (key, value) in sorted {
        let separator = if canonical.is_empty() { "" } else { "&" };
        // Writing to a string cannot fail.
        let _ = write!(canonical, "{separator}{}={}", encode(key), encode(value.as_deref().unwrap_or_default()));
    }
    canonical
}
