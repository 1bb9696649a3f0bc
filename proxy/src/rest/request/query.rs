//! The query string: reserved parameters, filters, and the canonical form of the whole.

use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};

use super::range::{Range, Span, parse_number};
use super::target::text;
use crate::rest::ast::{Condition, Filter, JsonOperand, OrderTerm, SelectItem};
use crate::rest::grammar::EmbedPath;
use crate::rest::{Error, grammar};

/// Bounds what one request can make Transom and PostgreSQL parse.
const QUERY_BYTES_MAX: usize = 64 * 1024;
/// Bounds the number of parameters of a query string.
const PARAMETERS_MAX: usize = 512;
/// Bounds the number of filters, those in logic trees counted one by one.
const FILTERS_MAX: usize = 1024;

/// What the query string asks for.
#[derive(Debug)]
pub(in crate::rest) struct Query {
    pub(in crate::rest) select: Vec<SelectItem>,
    /// what is asked of the resource itself (under the empty path) and of the embedded ones
    pub(in crate::rest) scopes: BTreeMap<EmbedPath, Scope>,
    pub(in crate::rest) columns: Option<Vec<String>>,
    /// the columns of `on_conflict`
    pub(in crate::rest) conflict: Option<Vec<String>>,
    /// the query string with its parameters sorted by name: two spellings of one request have one
    pub(in crate::rest) canonical: String,
}

/// Filters, order and range of one resource.
#[derive(Debug, Default)]
pub(in crate::rest) struct Scope {
    /// filters first, sorted by shape, then logic trees in the order of the request
    pub(in crate::rest) conditions: Vec<Condition>,
    pub(in crate::rest) order: Vec<OrderTerm>,
    limit: Option<i128>,
    offset: Option<i128>,
}

impl Scope {
    /// The rows that `limit` and `offset` ask for. PostgreSQL judges a negative limit.
    pub(in crate::rest) fn range(&self) -> Range {
        self.span().into()
    }

    pub(super) fn span(&self) -> Span {
        Span::of_limit_and_offset(self.limit, self.offset)
    }
}

impl Query {
    /// Reads a query string, and gives the arguments of a function apart if there can be any.
    pub(super) fn read(raw: &str, gives: Gives) -> Result<(Self, Vec<(String, String)>), Error> {
        if raw.len() > QUERY_BYTES_MAX {
            return Err(Error::Limit { what: "the length of the query string", limit: QUERY_BYTES_MAX });
        }
        let mut parameters = decode(raw)?;
        let canonical = canonical(&parameters);
        let mut scopes = BTreeMap::from([(EmbedPath::new(), Scope::default())]);
        // The order of these is the order in which PostgREST reports mistakes.
        read_order(&parameters, &mut scopes)?;
        let logic = read_logic(&parameters)?;
        let columns = first(&parameters, "columns").map(grammar::parse_columns).transpose()?;
        let select = grammar::parse_select(first(&parameters, "select").unwrap_or("*"))?;
        let arguments = if gives == Gives::Arguments { take_arguments(&mut parameters) } else { Vec::new() };
        let filters = read_filters(&parameters)?;
        for (path, condition) in filters.into_iter().chain(logic) {
            scopes.entry(path).or_default().conditions.push(condition);
        }
        check_filters(scopes.values().flat_map(|scope| &scope.conditions))?;
        let conflict = first(&parameters, "on_conflict").map(grammar::parse_on_conflict).transpose()?;
        read_ranges(&parameters, &mut scopes)?;
        Ok((Self { select, scopes, columns, conflict, canonical }, arguments))
    }

    /// What is asked of the resource itself.
    pub(in crate::rest) fn root(&self) -> &Scope {
        self.scopes.get(&EmbedPath::new()).expect("reading puts it there")
    }
}

/// What the parameters that are not reserved give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gives {
    Filters,
    /// arguments of a function, unless they look like filters
    Arguments,
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

/// Of several orders of one resource the first counts.
fn read_order(parameters: &[Parameter], scopes: &mut BTreeMap<EmbedPath, Scope>) -> Result<(), Error> {
    for (key, value) in of_role(parameters, Role::Order) {
        let (path, terms) = grammar::parse_order(key, value)?;
        let scope = scopes.entry(path).or_default();
        if scope.order.is_empty() {
            scope.order = terms;
        }
    }
    Ok(())
}

fn read_logic(parameters: &[Parameter]) -> Result<Vec<(EmbedPath, Condition)>, Error> {
    of_role(parameters, Role::Logic).map(|(key, value)| grammar::parse_logic(key, value)).collect()
}

fn read_filters(parameters: &[Parameter]) -> Result<Vec<(EmbedPath, Condition)>, Error> {
    let read = of_role(parameters, Role::Filter).map(|(key, value)| grammar::parse_filter(key, value));
    let mut filters = read.collect::<Result<Vec<_>, _>>()?;
    // Keys of JSON paths are bound as values are, so they too count only where the shapes are alike.
    filters.sort_by_cached_key(|(path, filter)| (path.clone(), without_keys(filter), filter.clone()));
    Ok(filters.into_iter().map(|(path, filter)| (path, Condition::Filter(filter))).collect())
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

/// The last `limit` and the last `offset` of a resource count; what is not a number counts as absent.
fn read_ranges(parameters: &[Parameter], scopes: &mut BTreeMap<EmbedPath, Scope>) -> Result<(), Error> {
    for (key, value) in of_role(parameters, Role::Limit) {
        scopes.entry(grammar::parse_embed_path(key)?).or_default().limit = parse_number(value);
    }
    for (key, value) in of_role(parameters, Role::Offset) {
        scopes.entry(grammar::parse_embed_path(key)?).or_default().offset = parse_number(value);
    }
    Ok(())
}

/// Takes out what does not look like a filter. As in PostgREST, a dotted name or an operator in front of the value does.
fn take_arguments(parameters: &mut Vec<Parameter>) -> Vec<(String, String)> {
    let is_argument = |(key, value): &mut Parameter| {
        role(key) == Role::Filter
            && !key.contains('.')
            && value.as_deref().is_some_and(|text| !grammar::is_filter(text))
    };
    parameters.extract_if(.., is_argument).filter_map(|(key, value)| Some((key, value?))).collect()
}

fn check_filters<'c>(conditions: impl Iterator<Item = &'c Condition>) -> Result<(), Error> {
    fn leaves(condition: &Condition) -> usize {
        match condition {
            Condition::Filter(_) => 1,
            Condition::Group { children, .. } => children.iter().map(leaves).sum(),
        }
    }
    if conditions.map(leaves).sum::<usize>() > FILTERS_MAX {
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
