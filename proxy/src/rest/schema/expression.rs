//! What an expression refers to, found in the text of PostgreSQL's expression trees (`pg_node_tree`).
//!
//! Pinned system objects leave no rows in `pg_depend`, so the tree itself is the only witness of a call to `now()`. The
//! text is `{NODE :field value ...}`; its fields have kept their names since PostgreSQL 9, and a field that is not found
//! where a node names it makes nothing less safe: the rows of `pg_depend` are followed as well.

use std::collections::BTreeSet;

/// Object ids that one or more expressions mention.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct References {
    pub(super) functions: BTreeSet<u32>,
    pub(super) operators: BTreeSet<u32>,
    pub(super) relations: BTreeSet<u32>,
    /// types that a value may be read into from text
    pub(super) input_types: BTreeSet<u32>,
    /// `CURRENT_DATE`, `CURRENT_USER` and the like
    pub(super) session_value: bool,
    /// a sample of a table is another one every time
    pub(super) sample: bool,
}

impl References {
    /// Adds what the tree in `text` mentions.
    pub(super) fn add_tree(&mut self, text: &str) {
        let mut tokens = text.split_ascii_whitespace().peekable();
        while let Some(token) = tokens.next() {
            if let Some((_, node)) = token.rsplit_once('{') {
                self.session_value |= node == "SQLVALUEFUNCTION";
                self.sample |= node == "TABLESAMPLECLAUSE";
            } else if let Some(set) = self.set_of(token)
                && let Some(id) = tokens.peek().and_then(|value| oid(value))
            {
                set.insert(id);
            }
        }
    }

    /// Which kind of object the field `token` names.
    fn set_of(&mut self, token: &str) -> Option<&mut BTreeSet<u32>> {
        match token {
            ":funcid" | ":opfuncid" | ":aggfnoid" | ":winfnoid" => Some(&mut self.functions),
            ":opno" => Some(&mut self.operators),
            ":relid" => Some(&mut self.relations),
            // Conversions without a function of their own go through text. Relabelings have this field too: harmless.
            ":resulttype" => Some(&mut self.input_types),
            _ => None,
        }
    }
}

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
        assert_eq!(references.functions, BTreeSet::from([1299]));
        assert_eq!(references.operators, BTreeSet::from([96]));
        assert_eq!(references.relations, BTreeSet::from([16400]));
        assert_eq!(references.input_types, BTreeSet::from([1184]));
        assert!(references.session_value && references.sample);
    }

    #[test]
    fn nonsense_is_harmless() {
        let mut references = References::default();
        references.add_tree(":funcid :funcid x {} { } :relid 99999999999999999999 }");
        assert_eq!(references, References::default());
    }
}
