//! The text of PostgreSQL's expression trees (`pg_node_tree`) as a tree: `{NODE :field value ...}`, lists in parentheses,
//! words. What a backslash precedes is part of a word.

/// A part of it, borrowed from the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tree<'t> {
    Node(Node<'t>),
    List(Vec<Tree<'t>>),
    Word(&'t str),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node<'t> {
    pub(super) tag: &'t str,
    fields: Vec<(&'t str, Vec<Tree<'t>>)>,
}

impl<'t> Node<'t> {
    /// The value of a field if it is one word, node or list; names begin with a colon.
    pub(super) fn field(&self, name: &str) -> Option<&Tree<'t>> {
        match self.values(name) {
            [only] => Some(only),
            _ => None,
        }
    }

    /// Everything that a field holds.
    pub(super) fn values(&self, name: &str) -> &[Tree<'t>] {
        self.fields.iter().find(|(field, _)| *field == name).map_or(&[], |(_, values)| values)
    }

    /// What all fields hold.
    pub(super) fn children(&self) -> impl Iterator<Item = &Tree<'t>> {
        self.fields.iter().flat_map(|(_, values)| values)
    }

    /// The value of a field that is one word.
    pub(super) fn word(&self, name: &str) -> Option<&'t str> {
        match self.field(name)? {
            Tree::Word(word) => Some(word),
            Tree::Node(_) | Tree::List(_) => None,
        }
    }

    /// The value of a field that is a list; `<>` stands for an empty one.
    pub(super) fn list(&self, name: &str) -> Option<&[Tree<'t>]> {
        match self.field(name)? {
            Tree::List(items) => Some(items),
            Tree::Word("<>") => Some(&[]),
            Tree::Node(_) | Tree::Word(_) => None,
        }
    }
}

/// Bounds how deep trees nest; what is deeper is not understood.
const DEPTH_MAX: usize = 512;

/// Reads a text. `None` if it is not such a tree.
pub(super) fn parse(text: &str) -> Option<Tree<'_>> {
    let mut tokens = Tokens { rest: text };
    let first = tokens.next()?;
    let tree = value(first, &mut tokens, DEPTH_MAX)?;
    tokens.next().is_none().then_some(tree)
}

/// The value that begins with a token.
fn value<'t>(first: &'t str, tokens: &mut Tokens<'t>, depth: usize) -> Option<Tree<'t>> {
    let depth = depth.checked_sub(1)?;
    match first {
        "{" => node(tokens, depth).map(Tree::Node),
        "(" => {
            let mut items = Vec::new();
            loop {
                match tokens.next()? {
                    ")" => return Some(Tree::List(items)),
                    token => items.push(value(token, tokens, depth)?),
                }
            }
        }
        ")" | "}" => None,
        word => Some(Tree::Word(word)),
    }
}

fn node<'t>(tokens: &mut Tokens<'t>, depth: usize) -> Option<Node<'t>> {
    let mut node = Node { tag: tokens.next()?, fields: Vec::new() };
    loop {
        match tokens.next()? {
            "}" => return Some(node),
            field if field.starts_with(':') => node.fields.push((field, Vec::new())),
            token => {
                let value = value(token, tokens, depth)?;
                node.fields.last_mut()?.1.push(value);
            }
        }
    }
}

/// Words and brackets.
pub(super) struct Tokens<'t> {
    pub(super) rest: &'t str,
}

impl<'t> Tokens<'t> {
    /// The next token if it is a number.
    pub(super) fn number<T: std::str::FromStr>(&mut self) -> Option<T> {
        self.next()?.parse().ok()
    }
}

impl<'t> Iterator for Tokens<'t> {
    type Item = &'t str;

    fn next(&mut self) -> Option<&'t str> {
        let rest = self.rest.trim_ascii_start();
        let bracket = |byte: u8| matches!(byte, b'(' | b')' | b'{' | b'}');
        let mut escaped = false;
        let end = rest.bytes().position(|byte| {
            let ends = !escaped && (bracket(byte) || byte.is_ascii_whitespace());
            escaped = !escaped && byte == b'\\';
            ends
        });
        let end = match end {
            Some(0) => 1,
            Some(end) => end,
            None => rest.len(),
        };
        let (token, rest) = rest.split_at_checked(end)?;
        self.rest = rest;
        (!token.is_empty()).then_some(token)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nodes_lists_and_words_nest() {
        let Some(Tree::List(items)) =
            parse("({OPEXPR :opno 3477 :args ({VAR :varno 1} {CONST :constvalue 5 [ 88 0 ]})})")
        else {
            panic!("a list")
        };
        let [Tree::Node(operation)] = items.as_slice() else { panic!("one node") };
        assert_eq!((operation.tag, operation.word(":opno")), ("OPEXPR", Some("3477")));
        let Some([Tree::Node(var), Tree::Node(constant)]) = operation.list(":args") else { panic!("two arguments") };
        assert_eq!((var.tag, constant.values(":constvalue").len()), ("VAR", 5));
        assert_eq!(
            parse("{Q :l <> :name a\\ b\\}}").and_then(|tree| match tree {
                Tree::Node(node) => Some((node.list(":l")?.len(), node.word(":name")?)),
                Tree::List(_) | Tree::Word(_) => None,
            }),
            Some((0, "a\\ b\\}"))
        );
    }

    #[test]
    fn what_is_no_tree_is_not_understood() {
        for text in ["", "}", "({A}", "{A} {B}", "{A x}", "{A :b )}"] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse(&"(".repeat(100_000)), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[{}() :a1\\\\é]*") {
            let _ = parse(&text);
        }
    }
}
