//! The words of an SQL expression.

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Word {
    /// a name or keyword, in lower case
    Name(String),
    /// a name in double quotes, which is no keyword
    Quoted(String),
    Text(String),
    Number,
    /// `$1`
    Argument(usize),
    Symbol(&'static str),
}

/// Longer ones first.
const SYMBOLS: [&str; 14] = ["->>", "#>>", "->", "#>", "::", "||", "<>", "!=", "=", "(", ")", ",", ".", ";"];
/// Characters of which operators are made: two operators never touch.
const OPERATOR_CHARACTERS: &str = "+-*/<>=~!@#%^&|`?";

/// Takes a text apart. `None` if there is anything in it that is not understood.
pub(super) fn words(text: &str) -> Option<Vec<Word>> {
    let mut words = Vec::new();
    let mut rest = skip_blank(text)?;
    while let Some(first) = rest.chars().next() {
        let (word, after) = match first {
            '\'' => quoted(rest, '\'')
                .filter(|(text, _)| !text.contains('\\'))
                .map(|(text, rest)| (Word::Text(text), rest))?,
            '"' => quoted(rest, '"').map(|(name, rest)| (Word::Quoted(name), rest))?,
            '$' => {
                let (digits, after) = span(&rest[1..], |c| c.is_ascii_digit());
                (Word::Argument(digits.parse().ok()?), after)
            }
            '0'..='9' => {
                let (_, after) = span(rest, |c| c.is_ascii_digit());
                (Word::Number, after)
            }
            'a'..='z' | 'A'..='Z' | '_' => {
                let (name, after) = span(rest, |c| c.is_ascii_alphanumeric() || c == '_');
                (Word::Name(name.to_ascii_lowercase()), after)
            }
            _ => symbol(rest)?,
        };
        // A number or a name that runs into a letter, and a text with a prefix like E'', are something else.
        let glued = after.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '$' | '\'' | '"'));
        if glued && !matches!(word, Word::Symbol(_)) {
            return None;
        }
        words.push(word);
        rest = skip_blank(after)?;
    }
    Some(words)
}

fn symbol(text: &str) -> Option<(Word, &str)> {
    let symbol = SYMBOLS.into_iter().find(|symbol| text.starts_with(symbol))?;
    let after = &text[symbol.len()..];
    let operator = symbol.starts_with(|c| OPERATOR_CHARACTERS.contains(c));
    let touches = operator && !after.starts_with("--") && after.starts_with(|c| OPERATOR_CHARACTERS.contains(c));
    (!touches).then_some((Word::Symbol(symbol), after))
}

/// What stands between two quotes, where a doubled one stands for itself; and what follows.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut inside = String::new();
    let mut rest = text.strip_prefix(quote)?;
    loop {
        let (part, after) = rest.split_once(quote)?;
        inside.push_str(part);
        match after.strip_prefix(quote) {
            Some(more) => {
                inside.push(quote);
                rest = more;
            }
            None => return Some((inside, after)),
        }
    }
}

fn span(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

/// Skips spaces and comments. `None` if a comment does not end, or nests.
fn skip_blank(text: &str) -> Option<&str> {
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        if let Some(comment) = rest.strip_prefix("--") {
            rest = comment.split_once('\n').map_or("", |(_, after)| after);
        } else if let Some(comment) = rest.strip_prefix("/*") {
            let (inside, after) = comment.split_once("*/")?;
            if inside.contains("/*") {
                return None;
            }
            rest = after;
        } else {
            return Some(rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_are_told_apart() {
        let name = |name: &str| Word::Name(name.to_owned());
        assert_eq!(
            words("A.\"B c\"('it''s',$12)::int->>-- x\n1"),
            Some(vec![
                name("a"),
                Word::Symbol("."),
                Word::Quoted("B c".to_owned()),
                Word::Symbol("("),
                Word::Text("it's".to_owned()),
                Word::Symbol(","),
                Word::Argument(12),
                Word::Symbol(")"),
                Word::Symbol("::"),
                name("int"),
                Word::Symbol("->>"),
                Word::Number,
            ])
        );
        for text in ["1a", "e'x'", "'a''", "/* /* */ */", "a ? b", "$x", "1.5e3", "a->>+b", "x#y"] {
            assert_eq!(words(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a-c'\"$0-9.:()<>=|#é/*; \n-]*") {
            let _ = words(&text);
        }
    }
}
