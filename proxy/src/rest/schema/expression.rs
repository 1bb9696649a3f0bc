//! What an expression refers to, found in the text of PostgreSQL's expression trees (`pg_node_tree`).
//!
//! Pinned system objects leave no rows in `pg_depend`, so the tree itself is the only witness of a call to `now()`. The
//! text is `{NODE :field value ...}`; its fields have kept their names since PostgreSQL 9, and a field that is not found
//! where a node names it makes nothing less safe: the rows of `pg_depend` are followed as well.

use std::collections::BTreeSet;

use super::term::{self, Term};

/// Object ids that one or more expressions mention.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct References {
    pub(super) functions: BTreeSet<u32>,
    pub(super) operators: BTreeSet<u32>,
    pub(super) relations: BTreeSet<u32>,
    /// types that a value may be read into from text
    pub(super) input_types: BTreeSet<u32>,
    /// what is called, and which claims are taken, by expression
    pub(super) terms: Vec<Term>,
    /// `CURRENT_DATE` and the like. The current role is not among it: it is part of every cache key.
    pub(super) session_value: bool,
    /// a sample of a table is another one every time
    pub(super) sample: bool,
}

impl References {
    /// Adds what the tree in `text` mentions.
    pub(super) fn add_tree(&mut self, text: &str) {
        self.add(text, term::read(text));
    }

    /// Adds what the parsed body of a function mentions; what it returns is the last of the terms.
    pub(super) fn add_body(&mut self, text: &str) {
        self.add(text, term::read_body(text));
    }

    /// Calls that the term holds are judged with their arguments. Without one every function counts by itself.
    fn add(&mut self, text: &str, term: Option<Term>) {
        let calls = if term.is_some() { Calls::InTerm } else { Calls::ByThemselves };
        self.terms.extend(term);
        let mut tokens = text.split_ascii_whitespace().peekable();
        while let Some(token) = tokens.next() {
            if let Some((_, node)) = token.rsplit_once('{') {
                self.sample |= node == "TABLESAMPLECLAUSE";
                if node == "SQLVALUEFUNCTION" {
                    let operation = tokens.next().filter(|field| *field == ":op").and_then(|_| tokens.next());
                    self.session_value |= !operation.is_some_and(|operation| CURRENT_ROLE.contains(&operation));
                }
            } else if let Some(set) = self.set_of(token, calls)
                && let Some(id) = tokens.peek().and_then(|value| oid(value))
            {
                set.insert(id);
            }
        }
    }

    /// Every function that may be called by name.
    pub(super) fn called(&self) -> BTreeSet<u32> {
        let mut called = self.functions.clone();
        let mut note = |function| called.extend([function]);
        self.terms.iter().for_each(|term| term.calls(&mut note));
        called
    }

    /// Which kind of object the field `token` names.
    fn set_of(&mut self, token: &str, calls: Calls) -> Option<&mut BTreeSet<u32>> {
        match token {
            ":funcid" if calls == Calls::InTerm => None,
            ":funcid" | ":opfuncid" | ":aggfnoid" | ":winfnoid" => Some(&mut self.functions),
            ":opno" => Some(&mut self.operators),
            ":relid" => Some(&mut self.relations),
            // Conversions without a function of their own go through text. Relabelings have this field too: harmless.
            ":resulttype" => Some(&mut self.input_types),
            _ => None,
        }
    }
}

/// Where the calls of a tree are noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Calls {
    InTerm,
    ByThemselves,
}

/// `CURRENT_ROLE`, `CURRENT_USER`, `USER`, `SESSION_USER`, `CURRENT_CATALOG` (`SQLValueFunctionOp`): the role is in the key
/// of an entry, the role and database of the connection are in the fingerprint of the schema.
const CURRENT_ROLE: [&str; 5] = ["9", "10", "11", "12", "13"];

/// Zero means "none" in these trees.
fn oid(value: &str) -> Option<u32> {
    value.trim_end_matches(['}', ')']).parse().ok().filter(|id| *id != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_found_wherever_they_nest() {
        let mut references = References::default();
        references.add_tree(
            "({QUERY :rtable ({RANGETBLENTRY :rtekind 0 :relid 16400 :tablesample {TABLESAMPLECLAUSE :tsmhandler 3}}) \
             :targetList ({TARGETENTRY :expr {FUNCEXPR :funcid 1299 :args ({OPEXPR :opno 96 :opfuncid 0}) } } \
             {TARGETENTRY :expr {COERCEVIAIO :arg {VAR :varno 1 :vartype 25} :resulttype 1184}} \
             {SQLVALUEFUNCTION :op 0 :type 1082})})",
        );
        assert_eq!(references.called(), BTreeSet::from([1299]));
        assert_eq!(references.operators, BTreeSet::from([96]));
        assert_eq!(references.relations, BTreeSet::from([16400]));
        assert_eq!(references.input_types, BTreeSet::from([1184]));
        assert!(references.session_value && references.sample);
    }

    #[test]
    fn the_current_role_is_no_session_value_and_the_current_date_is() {
        for (operation, expected) in [("10", false), ("12", false), ("0", true), ("3", true), ("14", true), ("x", true)]
        {
            let mut references = References::default();
            references.add_tree(&format!("{{SQLVALUEFUNCTION :op {operation} :type 19}}"));
            assert_eq!(references.session_value, expected, "{operation}");
        }
    }

    #[test]
    fn a_call_counts_also_where_the_tree_is_not_understood() {
        let mut references = References::default();
        references.add_tree("({FUNCEXPR :funcid 1299");
        assert_eq!((references.called(), references.terms.len()), (BTreeSet::from([1299]), 0));
    }

    #[test]
    fn nonsense_is_harmless() {
        let mut references = References::default();
        references.add_tree(":funcid :funcid x {} { } :relid 99999999999999999999 }");
        assert_eq!(references, References::default());
    }
}
