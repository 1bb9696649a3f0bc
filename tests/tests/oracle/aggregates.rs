//! Aggregates made up by chance, with and without groups.

use super::exchange::Ask;
use super::generator::{Generator, related_key};
use super::tables::{Column, Embed, Kind, Rows, TABLES, Table, table};

const FUNCTIONS: &[&str] = &["sum", "avg", "min", "max", "count"];
const CASTS: &[&str] = &["", "", "", "::text", "::int", "::numeric"];

/// What is selected: groups, which the rows can be put in order by, and aggregates of them.
struct Grouped {
    items: Vec<String>,
    groups: Vec<&'static str>,
}

impl Generator {
    /// One read that aggregates.
    pub(super) fn aggregate(&mut self) -> Ask {
        let table = self.pick_of(TABLES);
        let mut grouped = self.grouped(table);
        let mut parameters = Vec::new();
        if !table.embeds.is_empty() && self.chance(0.4) {
            let embed = self.pick_of(table.embeds);
            // Rows with an embedded resource are grouped by its keys, too, and put in order by one of their own.
            let key = if embed.rows == Rows::One && self.chance(0.5) {
                self.aggregated_spread(embed)
            } else {
                self.aggregated_within(embed, &mut parameters)
            };
            grouped.items.push(key);
            let keys: Vec<&'static str> = table.key.split(',').collect();
            grouped.items.retain(|item| !keys.contains(&item.as_str()));
            grouped.groups.retain(|group| !keys.contains(group));
            grouped.items.splice(0..0, keys.iter().map(|key| (*key).to_owned()));
            grouped.groups.extend(keys);
        }
        self.filters(table, "", &mut parameters);
        parameters.insert(0, format!("select={}", grouped.items.join(",")));
        if !grouped.groups.is_empty() {
            let direction = self.pick(&["", ".desc", ".nullsfirst"]);
            parameters.push(format!("order={}{direction}", grouped.groups.join(&format!("{direction},"))));
        }
        if self.chance(0.2) {
            parameters.push(format!("limit={}", self.pick(&["1", "2", "100"])));
        }
        let ask = Ask::get(format!("/{}?{}", table.name, parameters.join("&")));
        self.headers(ask)
    }

    fn grouped(&mut self, table: &'static Table) -> Grouped {
        let mut groups: Vec<&'static str> = Vec::new();
        for column in table.columns.iter().filter(|column| orderly(column)) {
            if groups.len() < 2 && self.chance(0.25) {
                groups.push(column.name);
            }
        }
        let mut items: Vec<String> = groups.iter().map(|name| (*name).to_owned()).collect();
        items.extend(self.aggregates(table));
        Grouped { items, groups }
    }

    fn aggregates(&mut self, table: &'static Table) -> Vec<String> {
        let mut items = Vec::new();
        if self.chance(0.35) {
            items.push(format!("count(){}", self.pick(&["", "", "::text"])));
        }
        while items.is_empty() || self.chance(0.35) {
            let column = self.pick_of(table.columns);
            if column.kind == Kind::Json {
                items.push(format!("{}:{}->b.count()", self.name(), column.name));
                continue;
            }
            let (before, after) = (self.pick(CASTS), self.pick(CASTS));
            let before = if column.kind == Kind::Number { before } else { "" };
            let function = match column.kind {
                Kind::Number => self.pick(FUNCTIONS),
                _ => self.pick(&["min", "max", "count", "count", "sum"]),
            };
            items.push(format!("{}:{}{before}.{function}(){after}", self.name(), column.name));
        }
        items
    }

    /// Aggregates of what is embedded.
    fn aggregated_within(&mut self, embed: &'static Embed, parameters: &mut Vec<String>) -> String {
        let related = table(embed.table);
        let grouped = self.grouped(related);
        if !grouped.groups.is_empty() && embed.rows == Rows::Many {
            parameters.push(format!("{}.order={}", embed.alias, grouped.groups.join(",")));
        }
        if self.chance(0.3) {
            self.filters(related, &format!("{}.", embed.alias), parameters);
        }
        format!("{}({})", embed.name, grouped.items.join(","))
    }

    /// Aggregates of what is spread: of the rows above it.
    fn aggregated_spread(&mut self, embed: &'static Embed) -> String {
        let mut items = self.aggregates(table(embed.table));
        items.retain(|item| !item.starts_with("count()"));
        if items.is_empty() {
            items.push(format!("{}:{}.count()", self.name(), related_key(embed)));
        }
        let name = embed.name.split_once(':').map_or(embed.name, |(_, name)| name);
        format!("...{name}({})", items.join(","))
    }
}

/// Whether groups of it can be put in order.
fn orderly(column: &Column) -> bool {
    column.kind != Kind::Json
}
