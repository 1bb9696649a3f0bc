//! Which columns of tables a view shows, found in the text of its expression tree (`pg_node_tree`).

use super::node_tree::Tokens;

/// A column of a view that is a column of another relation and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Origin {
    /// the number of the view's column
    pub(super) position: i16,
    pub(super) relation: u32,
    pub(super) column: i16,
}

/// The depth at which the fields of the outermost query's target entries stand: list, query, list, entry.
const ENTRY_DEPTH: usize = 4;

/// The origins of the columns of the outermost query in `text`, as PostgreSQL noted them when the view was made.
pub(super) fn origins(text: &str) -> Vec<Origin> {
    let mut origins = Vec::new();
    let mut depth = 0_usize;
    let mut list = "";
    let mut entry = Entry::default();
    let mut tokens = Tokens { rest: text };
    while let Some(token) = tokens.next() {
        match token {
            "(" | "{" => depth += 1,
            ")" | "}" => {
                if depth == ENTRY_DEPTH && list == ":targetList" {
                    origins.extend(std::mem::take(&mut entry).origin());
                }
                depth = depth.saturating_sub(1);
            }
            field if depth == 2 && field.starts_with(':') => list = field,
            ":resno" if depth == ENTRY_DEPTH => entry.position = tokens.number(),
            ":resorigtbl" if depth == ENTRY_DEPTH => entry.relation = tokens.number(),
            ":resorigcol" if depth == ENTRY_DEPTH => entry.column = tokens.number(),
            _ => {}
        }
    }
    origins
}

#[derive(Default)]
struct Entry {
    position: Option<i16>,
    relation: Option<u32>,
    column: Option<i16>,
}

impl Entry {
    /// Zero means "none" in these trees; a negative column is one of the system's.
    fn origin(self) -> Option<Origin> {
        let (position, relation, column) = (self.position?, self.relation?, self.column?);
        (relation != 0 && column > 0).then_some(Origin { position, relation, column })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_entries_of_the_outermost_query_count() {
        let tree = "({QUERY :commandType 1 :rtable ({RTE :subquery {QUERY :targetList ({TARGETENTRY :resno 9 \
                    :resorigtbl 9 :resorigcol 9})}}) :targetList ({TARGETENTRY :expr {VAR :varno 1 :resno 7} :resno 1 \
                    :resname a\\ b\\} :ressortgroupref 0 :resorigtbl 16400 :resorigcol 2 :resjunk false} \
                    {TARGETENTRY :expr {FUNCEXPR :args ({VAR :varno 1})} :resno 2 :resname x :resorigtbl 0 :resorigcol 0} \
                    {TARGETENTRY :resno 3 :resname <> :resorigtbl 16401 :resorigcol 1}) :returningList ({TARGETENTRY \
                    :resno 1 :resorigtbl 5 :resorigcol 5})})";
        let origin = |position, relation, column| Origin { position, relation, column };
        assert_eq!(origins(tree), [origin(1, 16400, 2), origin(3, 16401, 1)]);
    }

    #[test]
    fn nonsense_is_harmless() {
        for text in
            ["", "}}})))", "((((:resno", "{{{{:resno x} \\", "({({:resno 99999999999 :resorigtbl 1 :resorigcol 1})})"]
        {
            assert_eq!(origins(text), [], "{text}");
        }
    }
}
