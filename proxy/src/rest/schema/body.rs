//! Functions whose text is one expression over the claims, as Supabase and most others write them:
//! `select nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub'`.
//!
//! PostgreSQL keeps the text of such a function and no tree, and its names are looked up when it runs. So this reads only
//! names that cannot mean anything else: keywords, what is built in, functions with their schema, arguments. Everything
//! else is not understood, and the function stays opaque.

mod words;

use words::{Word, words};

use super::term::Term;

/// What the text of a function is read in.
pub(super) struct Surroundings<'s> {
    pub(super) language: Language,
    /// by position; empty if it has none
    pub(super) arguments: &'s [String],
    /// a function by its schema, its name and the number of its arguments, if there is exactly one
    pub(super) function: &'s dyn Fn(&str, &str, usize) -> Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    Sql,
    Plpgsql,
}

/// Bounds how deep expressions nest.
const DEPTH_MAX: usize = 64;

/// What the function returns. `None` if that is not understood.
pub(super) fn read(text: &str, surroundings: &Surroundings<'_>) -> Option<Term> {
    let words = words(text)?;
    let mut parser = Parser { words: &words, surroundings, depth: DEPTH_MAX };
    let term = match surroundings.language {
        Language::Sql => {
            parser.keyword("select")?;
            let term = parser.expression()?;
            if parser.keyword("as").is_some() {
                parser.name()?;
            }
            term
        }
        Language::Plpgsql => {
            parser.keyword("begin")?;
            parser.keyword("return")?;
            let term = parser.expression()?;
            parser.symbol(";")?;
            parser.keyword("end")?;
            term
        }
    };
    // The last one may be left out.
    let _end = parser.symbol(";");
    parser.words.is_empty().then_some(term)
}

struct Parser<'p> {
    words: &'p [Word],
    surroundings: &'p Surroundings<'p>,
    depth: usize,
}

/// What is taken from a document: `json` or text below the key or path.
const MEMBER: [&str; 2] = ["->", "->>"];
const AT_PATH: [&str; 2] = ["#>", "#>>"];
/// Conversions that keep what a document says, and those that depend on the value alone.
const DOCUMENTS: [&str; 4] = ["json", "jsonb", "text", "varchar"];
const PLAIN: [&str; 11] =
    ["uuid", "int", "integer", "int4", "bigint", "int8", "smallint", "int2", "boolean", "bool", "numeric"];

impl Parser<'_> {
    /// One after the other, from what binds least.
    fn expression(&mut self) -> Option<Term> {
        self.depth = self.depth.checked_sub(1)?;
        let mut terms = vec![self.comparison()?];
        while self.keyword("and").or_else(|| self.keyword("or")).is_some() {
            terms.push(self.comparison()?);
        }
        self.depth += 1;
        Some(together(terms))
    }

    fn comparison(&mut self) -> Option<Term> {
        while self.keyword("not").is_some() {}
        let mut terms = vec![self.operation()?];
        if ["=", "<>", "!="].iter().any(|operator| self.symbol(operator).is_some()) {
            terms.push(self.operation()?);
        }
        if self.keyword("is").is_some() {
            let _negated = self.keyword("not");
            ["null", "true", "false"].iter().find_map(|word| self.keyword(word))?;
            return Some(Term::All(terms));
        }
        Some(together(terms))
    }

    /// Operators of one rank, from left to right.
    fn operation(&mut self) -> Option<Term> {
        let mut left = self.converted()?;
        loop {
            if MEMBER.iter().any(|operator| self.symbol(operator).is_some()) {
                left = Term::Member(Box::new(left), Box::new(self.converted()?));
            } else if AT_PATH.iter().any(|operator| self.symbol(operator).is_some()) {
                let path = match self.converted()? {
                    Term::Text(text) => array(&text).map_or(Term::NOTHING, Term::Texts),
                    other => other,
                };
                left = Term::AtPath(Box::new(left), Box::new(path));
            } else if self.symbol("||").is_some() {
                left = Term::All(vec![left, self.converted()?]);
            } else {
                return Some(left);
            }
        }
    }

    fn converted(&mut self) -> Option<Term> {
        let mut term = self.primary()?;
        while self.symbol("::").is_some() {
            let target = self.name()?;
            term = match term {
                text @ Term::Text(_) if target == "text" => text,
                term if DOCUMENTS.contains(&&*target) => Term::Same(Box::new(term)),
                term if PLAIN.contains(&&*target) => Term::All(vec![term]),
                _ => return None,
            };
        }
        Some(term)
    }

    fn primary(&mut self) -> Option<Term> {
        let (word, rest) = self.words.split_first()?;
        self.words = rest;
        match word {
            Word::Text(text) => Some(Term::Text(text.clone())),
            Word::Number => Some(Term::NOTHING),
            Word::Argument(position) => {
                let position = position.checked_sub(1)?;
                (position < self.surroundings.arguments.len()).then_some(Term::Argument(position))
            }
            Word::Symbol("(") => {
                let _subquery = self.keyword("select");
                let term = self.expression()?;
                self.symbol(")")?;
                Some(term)
            }
            Word::Symbol(_) => None,
            Word::Name(name) | Word::Quoted(name) if self.symbol(".").is_some() => self.qualified(name),
            Word::Name(name) => self.named(name),
            Word::Quoted(name) => self.argument(name),
        }
    }

    fn qualified(&mut self, schema: &str) -> Option<Term> {
        let function = self.name()?;
        let arguments = self.list()?;
        match (schema, &*function) {
            ("pg_catalog", "current_setting") => setting(arguments),
            ("pg_catalog", _) => None,
            _ => {
                let id = (self.surroundings.function)(schema, &function, arguments.len())?;
                Some(Term::Call(id, arguments))
            }
        }
    }

    fn argument(&self, name: &str) -> Option<Term> {
        self.surroundings.arguments.iter().position(|argument| argument == name).map(Term::Argument)
    }

    fn named(&mut self, name: &str) -> Option<Term> {
        match name {
            "true" | "false" | "null" => Some(Term::NOTHING),
            "current_setting" => setting(self.list()?),
            "coalesce" => self.list().map(Term::First),
            "nullif" => match self.list()?.as_slice() {
                [text, Term::Text(empty)] if empty.is_empty() => Some(Term::UnlessEmpty(Box::new(text.clone()))),
                [left, right] => Some(Term::All(vec![left.clone(), right.clone()])),
                _ => None,
            },
            name => self.argument(name),
        }
    }

    /// Arguments in parentheses.
    fn list(&mut self) -> Option<Vec<Term>> {
        self.symbol("(")?;
        let mut terms = Vec::new();
        if self.symbol(")").is_some() {
            return Some(terms);
        }
        loop {
            terms.push(self.expression()?);
            if self.symbol(")").is_some() {
                return Some(terms);
            }
            self.symbol(",")?;
        }
    }

    fn keyword(&mut self, keyword: &str) -> Option<()> {
        self.next_if(|word| matches!(word, Word::Name(name) if name == keyword))
    }

    fn symbol(&mut self, symbol: &str) -> Option<()> {
        self.next_if(|word| matches!(word, Word::Symbol(found) if *found == symbol))
    }

    fn name(&mut self) -> Option<String> {
        let (Word::Name(name) | Word::Quoted(name), rest) = self.words.split_first()? else { return None };
        self.words = rest;
        Some(name.clone())
    }

    fn next_if(&mut self, wanted: impl Fn(&Word) -> bool) -> Option<()> {
        let (first, rest) = self.words.split_first()?;
        wanted(first).then(|| self.words = rest)
    }
}

fn setting(arguments: Vec<Term>) -> Option<Term> {
    let count = arguments.len();
    let name = arguments.into_iter().next()?;
    (count <= 2).then(|| Term::Setting(Box::new(name)))
}

fn together(mut terms: Vec<Term>) -> Term {
    match terms.len() {
        1 => terms.remove(0),
        _ => Term::All(terms),
    }
}

/// The elements of a text like `{a,b}`, if they are plain words.
fn array(text: &str) -> Option<Vec<String>> {
    let inside = text.strip_prefix('{')?.strip_suffix('}')?;
    let plain = |element: &str| {
        !element.is_empty()
            && !element.eq_ignore_ascii_case("null")
            && element.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.:/".contains(&byte))
    };
    inside.split(',').map(|element| plain(element).then(|| element.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sql(text: &str) -> Option<Term> {
        let function = |schema: &str, name: &str, arguments: usize| {
            ((schema, name, arguments) == ("auth", "jwt", 0)).then_some(20_000)
        };
        let arguments = ["name".to_owned()];
        read(text, &Surroundings { language: Language::Sql, arguments: &arguments, function: &function })
    }

    fn claims() -> Term {
        Term::Setting(Box::new(Term::Text("request.jwt.claims".to_owned())))
    }

    fn text(text: &str) -> Term {
        Term::Text(text.to_owned())
    }

    fn member(document: Term, key: Term) -> Term {
        Term::Member(Box::new(document), Box::new(key))
    }

    fn same(term: Term) -> Term {
        Term::Same(Box::new(term))
    }

    #[test]
    fn operators_bind_as_in_postgres() {
        assert_eq!(
            sql("select current_setting('request.jwt.claims', true)::json->'a'->>'b' = 'x'"),
            Some(Term::All(vec![member(member(same(claims()), text("a")), text("b")), text("x")]))
        );
        assert_eq!(
            sql("SELECT NULLIF(current_setting('request.jwt.claims', true), '')::JSONB ->> name"),
            Some(member(same(Term::UnlessEmpty(Box::new(claims()))), Term::Argument(0)))
        );
        assert_eq!(
            sql("select auth.jwt() #>> '{app_metadata,team}';"),
            Some(Term::AtPath(
                Box::new(Term::Call(20_000, Vec::new())),
                Box::new(Term::Texts(vec!["app_metadata".to_owned(), "team".to_owned()]))
            ))
        );
    }

    #[test]
    fn comments_subqueries_and_plpgsql_are_read() {
        assert_eq!(sql("select -- the id\n (select ((auth.jwt())) ->> 'sub') /* uuid */ as id"), {
            Some(member(Term::Call(20_000, Vec::new()), text("sub")))
        });
        let function = |_: &str, _: &str, _: usize| None;
        let surroundings = Surroundings { language: Language::Plpgsql, arguments: &[], function: &function };
        let body = "begin return current_setting('request.jwt.claims')::json->>'sub'; end;";
        assert_eq!(read(body, &surroundings), Some(member(same(claims()), text("sub"))));
        assert_eq!(read("declare x int; begin return 1; end", &surroundings), None);
    }

    #[test]
    fn whatever_may_mean_something_else_is_not_understood() {
        for body in [
            "select name from people",
            "select count(*) from people",
            "select jwt() ->> 'sub'",
            "select other.jwt()",
            "select auth.jwt('x')",
            "select \"nullif\"(auth.jwt(), '')",
            "select 'now'::timestamptz",
            "select now()",
            "select E'a'",
            "select 'a\\'",
            "select current_user",
            "select 1; select 2",
            "select (1",
            "select $2",
            "update people set x = 1",
            "",
            "select 'open",
            "select 1 /* open",
            "select 1 ->>- 2",
        ] {
            assert_eq!(sql(body), None, "{body}");
        }
        assert_eq!(sql(&format!("select {}1", "(".repeat(100_000))), None);
    }
}
