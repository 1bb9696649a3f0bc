//! What an error says about relationships: the ones that could be meant, and names that look alike.

use std::collections::BTreeSet;

use super::schema::{Link, Pairs, Relationship};

/// One of several relationships that a request could mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// `orders with addresses`
    pub embedding: String,
    pub cardinality: &'static str,
    /// `billing using orders(billing_id) and addresses(id)`
    pub relationship: String,
    /// what to write to mean this one: `addresses!billing`
    pub hint: String,
}

pub(super) fn describe(one: &Relationship) -> Candidate {
    let (table, foreign) = (&one.table.name, &one.foreign.name);
    let list = |pairs: &Pairs, side: fn(&(_, _)) -> String| pairs.iter().map(side).collect::<Vec<_>>().join(", ");
    let own = |pairs: &Pairs| list(pairs, |(own, _): &(std::sync::Arc<str>, std::sync::Arc<str>)| own.to_string());
    let other = |pairs: &Pairs| list(pairs, |(_, other)| other.to_string());
    let (cardinality, hint) = match &one.link {
        Link::OneToMany(key) => ("one-to-many", &key.constraint),
        Link::ManyToOne(key) => ("many-to-one", &key.constraint),
        Link::OneToOne(key) => ("one-to-one", &key.constraint),
        Link::ManyToMany(junction) => ("many-to-many", &junction.table.name),
        Link::Computed(function) => ("computed", &function.id.name),
    };
    let relationship = match &one.link {
        Link::OneToMany(key) | Link::ManyToOne(key) | Link::OneToOne(key) => {
            let (own, other) = (own(&key.columns), other(&key.columns));
            format!("{} using {table}({own}) and {foreign}({other})", key.constraint)
        }
        Link::ManyToMany(junction) => format!(
            "{} using {}({}) and {}({})",
            junction.table.name,
            junction.source_constraint,
            other(&junction.source),
            junction.target_constraint,
            other(&junction.target)
        ),
        Link::Computed(function) => function.id.to_string(),
    };
    Candidate {
        embedding: format!("{table} with {foreign}"),
        cardinality,
        relationship,
        hint: format!("{foreign}!{hint}"),
    }
}

/// How alike two names must be: one minus the share of characters to be changed.
const LIKENESS_MIN: f64 = 0.33;

/// The candidate that looks most like `name`. As in PostgREST's fuzzy search, only names that share three characters in a row
/// are compared, or two if none share three; there only letters, digits, commas, spaces and the ends count.
pub(super) fn closest<'n>(name: &str, candidates: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let normal = |text: &str| -> String {
        let counts = |found: &char| found.is_alphanumeric() || matches!(found, ',' | ' ');
        text.to_lowercase().chars().filter(counts).collect()
    };
    let grams = |text: &str, size: usize| -> BTreeSet<Vec<char>> {
        format!("-{text}-").chars().collect::<Vec<_>>().windows(size).map(<[char]>::to_vec).collect()
    };
    let wanted = normal(name);
    let candidates: Vec<(&str, String)> =
        candidates.take(CANDIDATES_MAX).map(|candidate| (candidate, normal(candidate))).collect();
    [3, 2].into_iter().find_map(|size| {
        let own = grams(&wanted, size);
        candidates
            .iter()
            .filter(|(_, found)| !grams(found, size).is_disjoint(&own))
            .map(|(candidate, _)| {
                (strsim::normalized_levenshtein(&name.to_lowercase(), &candidate.to_lowercase()), *candidate)
            })
            .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
            .max_by(|(a, _), (b, _)| a.total_cmp(b))
            .map(|(_, candidate)| candidate)
    })
}

/// Bounds the work that one wrong name causes.
const CANDIDATES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// Each was asked of PostgREST 12.0.2.
    #[test]
    fn names_that_look_alike_are_suggested() {
        let tables = ["clients", "projects", "tasks", "users"];
        for (name, expected) in
            [("project", Some("projects")), ("client", Some("clients")), ("zzzz", None), ("secrets", Some("projects"))]
        {
            assert_eq!(closest(name, tables.into_iter()), expected, "{name}");
        }
    }
}
