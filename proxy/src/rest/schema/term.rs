//! Expressions as far as claims matter: which parts of the claims' JSON are taken, and which functions are called.
//!
//! A term is read from an expression tree ([`Term::of_tree`]) or from the text of a function ([`super::body`]). What it
//! depends on is decided in [`super::effects`].

use super::node_tree::{self, Node, Tree};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Term {
    /// a constant text
    Text(String),
    /// a constant array of texts
    Texts(Vec<String>),
    /// `current_setting(name, ...)`
    Setting(Box<Term>),
    /// `document -> key`, `document ->> key`
    Member(Box<Term>, Box<Term>),
    /// `document #> path`, `document #>> path`
    AtPath(Box<Term>, Box<Term>),
    /// a conversion that keeps what a JSON document says
    Same(Box<Term>),
    /// `nullif(text, '')`
    UnlessEmpty(Box<Term>),
    /// `coalesce(...)`
    First(Vec<Term>),
    /// an argument of the function whose body this is, counted from 0
    Argument(usize),
    /// a call of a function by its object id
    Call(u32, Vec<Term>),
    /// anything else: it depends on all of these
    All(Vec<Term>),
}

/// Object ids that have been the same in every version: `current_setting` with one and two arguments.
const CURRENT_SETTING: [&str; 2] = ["2077", "3294"];
/// `->` and `->>` of `json` and `jsonb` with a text.
const MEMBER: [&str; 4] = ["3962", "3963", "3211", "3477"];
/// `#>` and `#>>` of `json` and `jsonb`.
const AT_PATH: [&str; 4] = ["3966", "3967", "3213", "3206"];
/// `json`, `jsonb`, `text`, `varchar`: converted into each other a document says the same.
const DOCUMENTS: [&str; 4] = ["114", "3802", "25", "1043"];
const TEXT_TYPES: [&str; 2] = ["25", "1043"];
const TEXT_ARRAY: &str = "1009";
const EXPRESSION_SUBLINK: &str = "4";
const EXTERNAL_PARAMETER: &str = "0";

impl Term {
    /// What depends on nothing.
    pub(super) const NOTHING: Self = Self::All(Vec::new());

    /// The whole of a tree.
    pub(super) fn of_tree(tree: &Tree<'_>) -> Self {
        match tree {
            Tree::Word(_) => Self::NOTHING,
            Tree::List(items) => Self::all(items),
            Tree::Node(node) => Self::known(node).unwrap_or_else(|| Self::all(node.children())),
        }
    }

    /// What a function with this parsed body returns, if it is one `SELECT` of one expression; else everything in it.
    pub(super) fn of_body(tree: &Tree<'_>) -> Self {
        let mut inner = tree;
        // A body between BEGIN ATOMIC and END is a list of lists of statements.
        while let Tree::List(items) = inner
            && let [only] = items.as_slice()
        {
            inner = only;
        }
        match inner {
            Tree::Node(query) => selected(query).map_or_else(|| Self::of_tree(tree), Self::of_tree),
            Tree::List(_) | Tree::Word(_) => Self::of_tree(tree),
        }
    }

    /// Every function that is called in it.
    pub(super) fn calls(&self, note: &mut impl FnMut(u32)) {
        match self {
            Self::Text(_) | Self::Texts(_) | Self::Argument(_) => {}
            Self::Setting(term) | Self::Same(term) | Self::UnlessEmpty(term) => term.calls(note),
            Self::Member(document, key) | Self::AtPath(document, key) => {
                document.calls(note);
                key.calls(note);
            }
            Self::First(terms) | Self::All(terms) => terms.iter().for_each(|term| term.calls(note)),
            Self::Call(function, arguments) => {
                note(*function);
                arguments.iter().for_each(|term| term.calls(note));
            }
        }
    }

    fn all<'a, 't: 'a>(trees: impl IntoIterator<Item = &'a Tree<'t>>) -> Self {
        let terms: Vec<Self> = trees.into_iter().map(Self::of_tree).filter(|term| *term != Self::NOTHING).collect();
        Self::All(terms)
    }

    /// A node whose meaning is known here.
    fn known(node: &Node<'_>) -> Option<Self> {
        let boxed = |tree: &Tree<'_>| Box::new(Self::of_tree(tree));
        Some(match node.tag {
            "CONST" => constant(node)?,
            "FUNCEXPR" => call(node),
            "OPEXPR" => match (node.word(":opno")?, node.list(":args")?) {
                (operator, [document, key]) if MEMBER.contains(&operator) => Self::Member(boxed(document), boxed(key)),
                (operator, [document, path]) if AT_PATH.contains(&operator) => {
                    Self::AtPath(boxed(document), boxed(path))
                }
                _ => return None,
            },
            "COERCEVIAIO" | "RELABELTYPE" if DOCUMENTS.contains(&node.word(":resulttype")?) => {
                Self::Same(boxed(node.field(":arg")?))
            }
            "NULLIFEXPR" => match node.list(":args")? {
                [text, empty] if Self::of_tree(empty) == Self::Text(String::new()) => Self::UnlessEmpty(boxed(text)),
                _ => return None,
            },
            "COALESCEEXPR" => Self::First(node.list(":args")?.iter().map(Self::of_tree).collect()),
            "PARAM" if node.word(":paramkind") == Some(EXTERNAL_PARAMETER) => {
                Self::Argument(node.word(":paramid")?.parse::<usize>().ok()?.checked_sub(1)?)
            }
            "SUBLINK" if node.word(":subLinkType") == Some(EXPRESSION_SUBLINK) => match node.field(":subselect")? {
                Tree::Node(query) => Self::of_tree(selected(query)?),
                Tree::List(_) | Tree::Word(_) => return None,
            },
            _ => return None,
        })
    }
}

/// A call never gets lost: one that is not understood is one of a function that does not exist.
fn call(node: &Node<'_>) -> Term {
    let (Some(function), Some(arguments)) = (node.word(":funcid"), node.list(":args")) else {
        return Term::Call(0, Vec::new());
    };
    match arguments {
        [name, ..] if CURRENT_SETTING.contains(&function) => Term::Setting(Box::new(Term::of_tree(name))),
        arguments => Term::Call(function.parse().unwrap_or(0), arguments.iter().map(Term::of_tree).collect()),
    }
}

/// The one expression of a query that is nothing else.
fn selected<'a, 't>(query: &'a Node<'t>) -> Option<&'a Tree<'t>> {
    let absent = |field: &str| query.list(field).is_some_and(<[_]>::is_empty);
    let plain = query.tag == "QUERY"
        && query.word(":commandType") == Some("1")
        && ["rtable", "cteList", "havingQual", "limitOffset", "limitCount", "setOperations", "groupClause"]
            .iter()
            .all(|field| absent(&format!(":{field}")))
        && [":hasAggs", ":hasTargetSRFs", ":hasWindowFuncs"].iter().all(|field| query.word(field) == Some("false"));
    let Tree::Node(from) = query.field(":jointree")? else { return None };
    let unfiltered = from.list(":quals").is_some_and(<[_]>::is_empty);
    match query.list(":targetList")? {
        [Tree::Node(entry)] if plain && unfiltered => entry.field(":expr"),
        _ => None,
    }
}

/// A text or an array of texts. Of another type it depends on nothing all the same.
fn constant(node: &Node<'_>) -> Option<Term> {
    let null = node.word(":constisnull") == Some("true");
    let kind = node.word(":consttype")?;
    let texts = match kind {
        _ if null => None,
        TEXT_ARRAY => datum(node).and_then(|datum| texts(&datum)).map(Term::Texts),
        kind if TEXT_TYPES.contains(&kind) => datum(node).and_then(|datum| text(&datum).map(Term::Text)),
        _ => None,
    };
    Some(texts.unwrap_or(Term::NOTHING))
}

/// The bytes of a constant: `:constvalue 7 [ 28 0 0 0 115 117 98 ]`, signed.
fn datum(node: &Node<'_>) -> Option<Vec<u8>> {
    let [Tree::Word(length), Tree::Word("["), bytes @ .., Tree::Word("]")] = node.values(":constvalue") else {
        return None;
    };
    let byte = |tree: &Tree<'_>| match tree {
        Tree::Word(word) => word.parse::<i8>().ok().map(i8::cast_unsigned),
        Tree::Node(_) | Tree::List(_) => None,
    };
    let bytes: Vec<u8> = bytes.iter().map(byte).collect::<Option<_>>()?;
    (length.parse() == Ok(bytes.len())).then_some(bytes)
}

/// A value of variable length: its length with itself, shifted by two bits, on a little-endian server; then its bytes.
/// On any other the lengths do not match, and the constant is not understood.
fn text(datum: &[u8]) -> Option<String> {
    let (header, bytes) = datum.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*header)).ok()?;
    (length == datum.len() << 2).then(|| String::from_utf8(bytes.to_vec()).ok()).flatten()
}

/// An array of one dimension without nulls: header, dimensions, null bitmap, element type, length, lower bound, elements,
/// each aligned to four bytes.
fn texts(datum: &[u8]) -> Option<Vec<String>> {
    let word = |at: usize| -> Option<usize> {
        let bytes = datum.get(at..)?.first_chunk::<4>()?;
        usize::try_from(u32::from_le_bytes(*bytes)).ok()
    };
    let plain = word(0)? == datum.len() << 2 && word(4)? == 1 && word(8)? == 0 && word(12)? == 25;
    let count = word(16).filter(|_| plain)?;
    let mut at = 24;
    let mut texts = Vec::new();
    for _ in 0..count {
        let length = word(at)? >> 2;
        texts.push(text(datum.get(at..at.checked_add(length)?)?)?);
        at = at.checked_add(length)?.checked_next_multiple_of(4)?;
    }
    Some(texts)
}

/// Reads the text of a tree. `None` if it is not understood.
pub(super) fn read(text: &str) -> Option<Term> {
    node_tree::parse(text).map(|tree| Term::of_tree(&tree))
}

/// The same for the parsed body of a function.
pub(super) fn read_body(text: &str) -> Option<Term> {
    node_tree::parse(text).map(|tree| Term::of_body(&tree))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> String {
        let mut bytes = u32::try_from((value.len() + 4) << 2).unwrap().to_le_bytes().to_vec();
        bytes.extend(value.bytes());
        constant("25", &bytes)
    }

    fn constant(kind: &str, bytes: &[u8]) -> String {
        let words: Vec<String> = bytes.iter().map(|byte| byte.cast_signed().to_string()).collect();
        format!(
            "{{CONST :consttype {kind} :constisnull false :location 1 :constvalue {} [ {} ]}}",
            bytes.len(),
            words.join(" ")
        )
    }

    fn claims() -> String {
        format!(
            "{{COERCEVIAIO :arg {{FUNCEXPR :funcid 3294 :args ({})}} :resulttype 3802}}",
            text("request.jwt.claims")
        )
    }

    #[test]
    fn claims_are_taken_by_key_and_by_path() {
        let member = |document: &str, key: &str| format!("{{OPEXPR :opno 3477 :opfuncid 0 :args ({document} {key})}}");
        let document =
            || Box::new(Term::Same(Box::new(Term::Setting(Box::new(Term::Text("request.jwt.claims".to_owned()))))));
        let sub = Term::Member(document(), Box::new(Term::Text("sub".to_owned())));
        assert_eq!(read(&member(&claims(), &text("sub"))), Some(sub));
        // '{app_metadata,team}', as a server writes it.
        let mut array = vec![192, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 25, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 64, 0, 0, 0];
        array.extend(b"app_metadata\x20\0\0\0team");
        let path = format!("{{OPEXPR :opno 3206 :args ({} {})}}", claims(), constant("1009", &array));
        let keys = Term::Texts(vec!["app_metadata".to_owned(), "team".to_owned()]);
        assert_eq!(read(&path), Some(Term::AtPath(document(), Box::new(keys))));
        array[0] = 0;
        let path = format!("{{OPEXPR :opno 3206 :args ({} {})}}", claims(), constant("1009", &array));
        assert_eq!(read(&path), Some(Term::AtPath(document(), Box::new(Term::NOTHING))), "a length that does not fit");
    }

    #[test]
    fn calls_are_found_wherever_they_nest() {
        let tree = "({BOOLEXPR :args ({OPEXPR :opno 98 :args ({VAR :varno 1} {FUNCEXPR :funcid 20001 :args <>})} \
                    {SUBLINK :subLinkType 0 :subselect {QUERY :jointree {FROMEXPR :quals {FUNCEXPR :funcid 20002 :args \
                    ({FUNCEXPR :funcid 20003 :args <>})}}}})})";
        let mut called = Vec::new();
        read(tree).expect("a tree").calls(&mut |function| called.push(function));
        assert_eq!(called, [20_001, 20_002, 20_003]);
    }
}
