//! Requests made up by chance, from a seed.
//!
//! What is never made up, though both would answer; `docs/postgrest.md` has a row for each that is a difference, and
//! `cases.rs` or `exceptions.rs` an example of most:
//!
//! | left out | why |
//! |---|---|
//! | a read without an order that decides | the rows may come in any order |
//! | a key twice in one object | what that is differs from parser to parser, and the spread of one is an error there at times |
//! | two filters that fail | Postgres complains about the first as written, or about the first as sorted |
//! | names in filters that fit two embedded resources | which one is meant depends on the parameters before |
//! | filters and order within a spread | it has no alias in 12.0.2, so its name may fit another one too |
//! | a spread of many, or of nothing | an error in 12.0.2 |
//! | aggregates two spreads deep, beside `*`, with an alias on `count()`, or beside an embedded resource that selects nothing | errors in 12.0.2 |
//! | `limit` of `PATCH` and `DELETE` ordered by what is no key | 12.0.2 changes more rows |
//! | columns to filter by that are named like an argument of the function | with GET they are the argument |
//! | `HEAD` of a function that returns one row | 12.0.2 counts none if a filter leaves none, where `GET` counts one |
//! | filters of a function's rows by columns that are not selected | errors, and of several either may be reported |
//! | `limit=0` beside an offset of an embedded resource | with `db-max-rows`, 12.0.2 answers 500 in plain text |
//! | a token with two faults | 12.0.2 looks at the types of claims before the signature |
//! | plans, GeoJSON | of each one's own statement; of PostGIS, which is not installed |
//! | `is.not_null`, `timezone=`, `max-affected=` | 12.0.2 does not know them |

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use reqwest::Method;

use super::exchange::Ask;
use super::tables::{Column, Embed, Kind, Rows, TABLES, Table, table};

/// How deep resources are embedded in each other.
const DEPTH: u32 = 3;

/// Where a filter stands: as a parameter of its own, or within `or=(...)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Alone,
    Grouped,
}

const COMPARISONS: &[&str] = &["eq", "neq", "gt", "gte", "lt", "lte"];
const QUANTIFIED: &[&str] = &["eq(any)", "gt(all)", "lte(any)", "gte(all)"];
const ARRAY_OPERATORS: &[&str] = &["cs", "cd", "ov", "eq", "neq"];
const RANGE_OPERATORS: &[&str] = &["cs", "cd", "ov", "sl", "sr", "nxl", "nxr", "adj", "eq"];
/// Into JSON documents, to select by.
const PATHS: &[&str] = &["->b", "->>b", "->a->c", "->a->c->0", "->a->c->-1->>d", "->0", "->>\"longer key\""];
/// The same to filter by: text.
const TEXT_PATHS: &[&str] = &["->>b", "->>a", "->a->>c", "->a->c->>0", "->a->c->2->>d"];
const PREFERENCES: &[&str] = &[
    "count=exact",
    "count=exact",
    "count=planned",
    "count=planned, handling=strict",
    "count=estimated",
    "count=estimated",
    "count=exact, handling=lenient",
    "handling=strict",
    "handling=strict, x=y",
    "return=minimal",
    "count=none",
    "COUNT=exact",
    "count=exact,count=exact",
    "missing=default, count=exact",
    "x=y",
];
const RANGES: &[&str] = &["0-1", "1-", "0-0", "2-1", "5-9", "items=0-1", "-", "x", "0-", "100-200"];
const ACCEPTED: &[&str] = &[
    "*/*",
    "application/json",
    "text/csv",
    "application/vnd.pgrst.object+json",
    "application/vnd.pgrst.object",
    "application/vnd.pgrst.array+json;nulls=stripped",
    "application/vnd.pgrst.object+json;nulls=stripped",
    "text/html, application/json;q=0.5",
    "image/png",
    "application/json, text/csv;q=0.1",
];

/// Makes requests up; the same seed makes the same.
pub(super) struct Generator {
    random: StdRng,
    /// names given out so far
    names: u32,
}

impl Generator {
    pub(super) fn new(seed: u64) -> Self {
        Self { random: StdRng::seed_from_u64(seed), names: 0 }
    }

    /// One read of one of the tables.
    pub(super) fn read(&mut self) -> Ask {
        let table = self.pick_of(TABLES);
        let parameters = self.parameters(table);
        let method = if self.chance(0.08) { Method::HEAD } else { Method::GET };
        let ask = Ask::new(method, format!("/{}?{}", table.name, parameters.join("&")));
        self.headers(ask)
    }

    /// What is asked of the rows of this table, in an order that decides.
    pub(super) fn parameters(&mut self, table: &'static Table) -> Vec<String> {
        let mut parameters = Vec::new();
        let mut embeds = Vec::new();
        if self.chance(0.8) {
            let select = self.select(table, DEPTH, "", &mut parameters, &mut embeds);
            parameters.insert(0, format!("select={select}"));
        }
        self.horizontal(table, &embeds, "", &mut parameters);
        if !parameters.iter().any(|parameter| parameter.starts_with("order=")) {
            parameters.push(format!("order={}", table.key));
        }
        parameters
    }

    pub(super) fn headers(&mut self, mut ask: Ask) -> Ask {
        if self.chance(0.25) {
            ask = ask.header("Prefer", self.pick(PREFERENCES));
        }
        if self.chance(0.1) {
            ask = ask.header("Range", self.pick(RANGES));
        }
        if self.chance(0.15) {
            ask = ask.header("Accept", self.pick(ACCEPTED));
        }
        ask
    }

    /// What stands in `select`; filters, order and limits of what is embedded go to `parameters`, and what filters and
    /// order of this table may name to `related`.
    fn select(
        &mut self,
        table: &'static Table,
        depth: u32,
        path: &str,
        parameters: &mut Vec<String>,
        related: &mut Vec<&'static Embed>,
    ) -> String {
        let mut items = Vec::new();
        if self.chance(0.2) {
            items.push("*".to_owned());
        }
        // A name twice would be a key twice, which JSON parsers judge differently.
        let mut names: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
        for _ in 0..self.random.random_range(0..4_u32) {
            if items.first().is_some_and(|item| item == "*") || names.is_empty() {
                break;
            }
            let name = names.swap_remove(self.random.random_range(0..names.len()));
            let column = table.columns.iter().find(|column| column.name == name).expect("it was just taken from there");
            let item = self.selected(column);
            items.push(item);
        }
        let mut embeds: Vec<&Embed> = table.embeds.iter().collect();
        while depth > 0 && !embeds.is_empty() && self.chance(0.45) {
            let embed = embeds.swap_remove(self.random.random_range(0..embeds.len()));
            if embed.rows == Rows::One && self.chance(0.25) {
                items.push(self.spread(embed, depth - 1));
            } else {
                items.push(self.embedded(embed, depth - 1, path, parameters));
                related.push(embed);
            }
        }
        if items.is_empty() { "*".to_owned() } else { items.join(",") }
    }

    fn selected(&mut self, column: &Column) -> String {
        let Column { name, kind, .. } = column;
        match (self.random.random_range(0..10), kind) {
            (0, _) => format!("{name}::text"),
            (1, _) => format!("other_{name}:{name}"),
            (2..6, Kind::Json) => format!("{name}{}", self.pick(PATHS)),
            (6..8, Kind::Json) => format!("part:{name}{}", self.pick(PATHS)),
            (2, Kind::Array) => format!("{name}->0"),
            _ => (*name).to_owned(),
        }
    }

    fn embedded(&mut self, embed: &Embed, depth: u32, path: &str, parameters: &mut Vec<String>) -> String {
        let related = table(embed.table);
        let path = format!("{path}{}.", embed.alias);
        let mut embeds = Vec::new();
        let inner = self.select(related, depth, &path, parameters, &mut embeds);
        let inner = if self.chance(0.06) && embeds.is_empty() { String::new() } else { inner };
        if self.chance(0.35) {
            self.horizontal(related, &embeds, &path, parameters);
        }
        if embed.rows == Rows::Many && !parameters.iter().any(|p| p.starts_with(&format!("{path}order="))) {
            parameters.push(format!("{path}order={}", related.key));
        }
        let join = self.pick(&["", "", "", "!inner", "!left"]);
        format!("{}{join}({inner})", embed.name)
    }

    /// Columns of a resource of which there is one, each by a name that no other has.
    fn spread(&mut self, embed: &'static Embed, depth: u32) -> String {
        let related = table(embed.table);
        let name = embed.name.split_once(':').map_or(embed.name, |(_, name)| name);
        let mut items = Vec::new();
        for column in related.columns.iter().filter(|column| column.kind != Kind::Json) {
            if items.is_empty() || self.chance(0.3) {
                items.push(format!("{}:{}", self.name(), column.name));
            }
        }
        let deeper: Vec<&Embed> = related.embeds.iter().filter(|embed| embed.rows == Rows::One).collect();
        if depth > 0 && !deeper.is_empty() && self.chance(0.3) {
            let embed = self.pick(&deeper);
            items.push(self.spread(embed, depth - 1));
        }
        format!("...{name}({})", items.join(","))
    }

    /// Filters, order, limit and offset of a table at `path`, in which these resources are embedded.
    pub(super) fn horizontal(
        &mut self,
        table: &'static Table,
        embeds: &[&'static Embed],
        path: &str,
        parameters: &mut Vec<String>,
    ) {
        for embed in embeds {
            match self.random.random_range(0..20_u32) {
                0 => parameters.push(format!("{path}{}=is.null", embed.alias)),
                1 | 2 => parameters.push(format!("{path}{}=not.is.null", embed.alias)),
                3 => {
                    let filter = self.filter(table, "").replacen('=', ".", 1);
                    if !filter.contains(['(', ',', '{', '"', ' ']) {
                        parameters.push(format!("{path}or=({}.not.is.null,{filter})", embed.alias));
                    }
                }
                _ => {}
            }
        }
        self.filters(table, path, parameters);
        if self.chance(0.4) {
            let mut order = self.order(table);
            let ones: Vec<_> = embeds.iter().filter(|embed| embed.rows == Rows::One).collect();
            if !ones.is_empty() && self.chance(0.4) {
                let embed = self.pick(&ones);
                let direction = self.pick(&["", ".desc", ".nullsfirst", ".desc.nullslast"]);
                let column = related_key(embed);
                order = format!("{}({column}){direction},{order}", embed.alias);
            }
            parameters.push(format!("{path}order={order}"));
        }
        let limit = self.pick(&["0", "1", "2", "3", "100"]);
        let limited = self.chance(0.25);
        if limited {
            parameters.push(format!("{path}limit={limit}"));
        }
        if self.chance(0.12) && !(limited && limit == "0" && !path.is_empty()) {
            parameters.push(format!("{path}offset={}", self.pick(&["0", "1", "2", "50"])));
        }
    }

    pub(super) fn filters(&mut self, table: &'static Table, path: &str, parameters: &mut Vec<String>) {
        for _ in 0..self.pick(&[0, 0, 1, 1, 1, 2, 3]) {
            let filter = self.filter(table, path);
            parameters.push(filter);
        }
        if self.chance(0.12) {
            let group = self.group(table, 2);
            let not = self.pick(&["", "", "not."]);
            parameters.push(format!("{path}{not}{group}"));
        }
    }

    fn filter(&mut self, table: &'static Table, path: &str) -> String {
        let column = self.pick_of(table.columns);
        let field = self.field(column);
        format!("{path}{field}={}", self.operation(column, Place::Alone))
    }

    fn field(&mut self, column: &Column) -> String {
        match column.kind {
            Kind::Json => format!("{}{}", column.name, self.pick(TEXT_PATHS)),
            _ => column.name.to_owned(),
        }
    }

    /// `or=(...)` or `or(...)`, nested.
    fn group(&mut self, table: &'static Table, depth: u32) -> String {
        let word = self.pick(&["or", "and"]);
        format!("{word}={}", self.members(table, depth))
    }

    fn members(&mut self, table: &'static Table, depth: u32) -> String {
        let mut members = Vec::new();
        for _ in 0..self.random.random_range(1..4) {
            if depth > 0 && self.chance(0.25) {
                let (not, word) = (self.pick(&["", "not."]), self.pick(&["or", "and"]));
                members.push(format!("{not}{word}{}", self.members(table, depth - 1)));
            } else {
                let column = self.pick_of(table.columns);
                let field = self.field(column);
                members.push(format!("{field}.{}", self.operation(column, Place::Grouped)));
            }
        }
        format!("({})", members.join(","))
    }

    fn operation(&mut self, column: &Column, place: Place) -> String {
        let not = self.pick(&["", "", "", "not."]);
        let operation = match (column.kind, self.random.random_range(0..8_u32)) {
            (Kind::Bool, 0..3) => format!("is.{}", self.pick(&["true", "false", "unknown", "null"])),
            (_, 0) => "is.null".to_owned(),
            (Kind::Other | Kind::Number | Kind::Text | Kind::Json, 1) => self.list(column),
            (Kind::Text | Kind::Json, 2..4) => {
                format!("{}.{}", self.pick(&["like", "ilike"]), self.value(column, place))
            }
            (Kind::Text | Kind::Json, 4) => {
                // A star is a pattern of LIKE alone.
                format!("{}.{}", self.pick(&["match", "imatch"]), self.value(column, place).replace('*', ""))
            }
            (Kind::Array, _) => format!("{}.{}", self.pick(ARRAY_OPERATORS), self.value(column, place)),
            (Kind::Range, _) => format!("{}.{}", self.pick(RANGE_OPERATORS), self.value(column, place)),
            (Kind::Search, _) => self.search(column),
            (Kind::Text, 6) if place == Place::Alone => {
                let values = self.pick(&["{*a*,b*}", "{A*,*}", "{one}", "{}"]);
                format!("{}.{values}", self.pick(&["like(any)", "ilike(all)", "like(all)", "ilike(any)", "eq(any)"]))
            }
            (Kind::Number, 2) if place == Place::Alone => format!("{}.{{1,2}}", self.pick(QUANTIFIED)),
            (_, 5) => format!("isdistinct.{}", self.value(column, place)),
            _ => format!("{}.{}", self.pick(COMPARISONS), self.value(column, place)),
        };
        format!("{not}{operation}")
    }

    fn search(&mut self, column: &Column) -> String {
        let language = self.pick(&["", "(english)", "(simple)"]);
        let function = self.pick(&["fts", "plfts", "phfts", "wfts"]);
        let value = self.pick(column.values);
        // Only `fts` reads operators.
        let value = if function == "fts" { value.to_owned() } else { value.replace("%20%26", "") };
        format!("{function}{language}.{value}")
    }

    fn list(&mut self, column: &Column) -> String {
        let count = self.random.random_range(1..4_u32);
        let values: Vec<&str> = (0..count).map(|_| self.pick(column.values)).collect();
        format!("in.({})", values.join(","))
    }

    fn value(&mut self, column: &Column, place: Place) -> String {
        let value = self.pick(column.values);
        match place {
            // Quotes belong to lists; alone they are part of the value.
            Place::Alone => value.trim_matches('"').to_owned(),
            Place::Grouped if value.starts_with('"') => value.to_owned(),
            Place::Grouped if value.contains([',', '(', ')']) => {
                format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
            }
            Place::Grouped => value.to_owned(),
        }
    }

    fn order(&mut self, table: &'static Table) -> String {
        let mut items = Vec::new();
        let orderly: Vec<&Column> =
            table.columns.iter().filter(|column| !(column.kind == Kind::Json && column.name == "doc")).collect();
        if self.chance(0.7) {
            let column = orderly[self.random.random_range(0..orderly.len())];
            let direction = self.pick(&["", ".asc", ".desc"]);
            items.push(format!("{}{direction}{}", column.name, self.pick(&["", ".nullsfirst", ".nullslast"])));
        }
        items.push(table.key.to_owned());
        items.join(",")
    }

    /// A name that nothing else has.
    pub(super) fn name(&mut self) -> String {
        self.names += 1;
        format!("name_{}", self.names)
    }

    pub(super) fn random_below(&mut self, end: u32) -> u32 {
        self.random.random_range(0..end)
    }

    pub(super) fn chance(&mut self, share: f64) -> bool {
        self.random.random_bool(share)
    }

    pub(super) fn pick_of<T>(&mut self, from: &'static [T]) -> &'static T {
        from.choose(&mut self.random).expect("there is something to choose from")
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        *from.choose(&mut self.random).expect("there is something to choose from")
    }
}

/// A column to order by.
pub(super) fn related_key(embed: &Embed) -> &'static str {
    let key = table(embed.table).key;
    key.split_once(',').map_or(key, |(first, _)| first)
}
