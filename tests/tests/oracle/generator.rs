//! Requests made up by chance, from a seed.

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
    "count=exact",
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
    pub(super) random: StdRng,
}

impl Generator {
    pub(super) fn new(seed: u64) -> Self {
        Self { random: StdRng::seed_from_u64(seed) }
    }

    /// One read of one of the tables.
    pub(super) fn read(&mut self) -> Ask {
        let table = self.pick_of(TABLES);
        let mut parameters = Vec::new();
        if self.chance(0.8) {
            let select = self.select(table, DEPTH, "", &mut parameters);
            parameters.insert(0, format!("select={select}"));
        }
        self.horizontal(table, "", &mut parameters);
        if !parameters.iter().any(|parameter| parameter.starts_with("order=")) {
            parameters.push(format!("order={}", table.key));
        }
        let method = if self.chance(0.08) { Method::HEAD } else { Method::GET };
        let ask = Ask::new(method, format!("/{}?{}", table.name, parameters.join("&")));
        self.headers(ask)
    }

    fn headers(&mut self, mut ask: Ask) -> Ask {
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

    /// What stands in `select`; filters, order and limits of what is embedded go to `parameters`.
    fn select(&mut self, table: &'static Table, depth: u32, path: &str, parameters: &mut Vec<String>) -> String {
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
            let item = self.embedded(embed, depth - 1, path, parameters);
            items.push(item);
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
        let inner = self.select(related, depth, &path, parameters);
        if self.chance(0.35) {
            self.horizontal(related, &path, parameters);
        }
        if embed.rows == Rows::Many && !parameters.iter().any(|p| p.starts_with(&format!("{path}order="))) {
            parameters.push(format!("{path}order={}", related.key));
        }
        let join = self.pick(&["", "", "", "!inner", "!left"]);
        format!("{}{join}({inner})", embed.name)
    }

    /// Filters, order, limit and offset of a table at `path`.
    fn horizontal(&mut self, table: &'static Table, path: &str, parameters: &mut Vec<String>) {
        for _ in 0..self.pick(&[0, 0, 1, 1, 1, 2, 3]) {
            let filter = self.filter(table, path);
            parameters.push(filter);
        }
        if self.chance(0.12) {
            let group = self.group(table, 2);
            let not = self.pick(&["", "", "not."]);
            parameters.push(format!("{path}{not}{group}"));
        }
        if self.chance(0.4) {
            let order = self.order(table);
            parameters.push(format!("{path}order={order}"));
        }
        if self.chance(0.25) {
            parameters.push(format!("{path}limit={}", self.pick(&["0", "1", "2", "3", "100"])));
        }
        if self.chance(0.12) {
            parameters.push(format!("{path}offset={}", self.pick(&["0", "1", "2", "50"])));
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
