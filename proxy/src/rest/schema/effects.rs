//! What an expression depends on beside the rows of tables: claims, what functions read, or a reason not to cache.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Opaque;
use super::claims_read::{ClaimsRead, Path};
use super::expression::References;
use super::opacity::{Body, FIRST_USER_OID, Objects, Origin, Volatility, is_harmless};
use super::term::Term;

impl Objects {
    /// What something that mentions `references` depends on beside the rows of the relations that it names.
    pub(super) fn effects_of(&self, references: &References) -> Effects {
        let mut judge = Judge { objects: self, effects: Effects::default(), calls: 0 };
        judge.whole(references, DEPTH_MAX);
        judge.effects
    }
}

/// What an expression depends on beside the rows that are in it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Effects {
    /// the first reason why it must not be cached
    pub(super) opaque: Option<Opaque>,
    pub(super) claims: ClaimsRead,
    /// what it reads, also in functions
    pub(super) relations: BTreeSet<u32>,
}

/// Bounds how deep functions call each other, and how many calls are followed.
const DEPTH_MAX: usize = 32;
const CALLS_MAX: u32 = 4_096;
/// What PostgREST sets to the claims as JSON. It is never empty: there is a role in it.
const CLAIMS: &str = "request.jwt.claims";
/// What older versions of it set instead, claim by claim. Nobody sets it here, so it is always absent.
const OLD_CLAIMS: &str = "request.jwt.claim";

/// The value of a term, as far as it matters.
enum Value {
    /// what it depends on is noted
    Noted,
    /// The part of the claims at this path, or null. Not noted yet: whoever takes a part of it depends on that part alone.
    Part(Path),
}

struct Judge<'o> {
    objects: &'o Objects,
    effects: Effects,
    /// how many bodies of functions were entered
    calls: u32,
}

/// The arguments of a call, as far as they are constant texts; whatever else they depend on is noted.
type Arguments<'t> = [Option<&'t str>];

impl<'o> Judge<'o> {
    fn whole(&mut self, references: &'o References, depth: usize) {
        let value = self.returned(references, &[], depth);
        self.note(value);
    }

    /// The value of the last term; everything else is noted.
    fn returned(&mut self, references: &'o References, arguments: &Arguments<'_>, depth: usize) -> Value {
        if references.session_value {
            self.opaque(Opaque::Function("current_*".into()));
        }
        if references.sample {
            self.opaque(Opaque::Function("tablesample".into()));
        }
        if references.relations.iter().any(|id| *id < FIRST_USER_OID) {
            self.opaque(Opaque::SystemCatalog);
        }
        self.effects.relations.extend(&references.relations);
        let behind = |map: &BTreeMap<u32, u32>, id: &u32| map.get(id).copied().unwrap_or(*id);
        let operators = references.operators.iter().map(|id| behind(&self.objects.operators, id));
        let inputs = references.input_types.iter().map(|id| behind(&self.objects.type_inputs, id));
        let functions: Vec<u32> = references.functions.iter().copied().chain(operators).chain(inputs).collect();
        functions.into_iter().for_each(|function| self.call(function, &[], depth));
        let mut last = Value::Noted;
        for term in &references.terms {
            let value = self.value(term, arguments, depth);
            let before = std::mem::replace(&mut last, value);
            self.note(before);
        }
        last
    }

    fn value(&mut self, term: &'o Term, arguments: &Arguments<'_>, depth: usize) -> Value {
        match term {
            Term::Text(_) | Term::Texts(_) | Term::Argument(_) => Value::Noted,
            Term::Setting(name) => self.setting(name, arguments, depth),
            Term::Same(inner) | Term::UnlessEmpty(inner) => self.value(inner, arguments, depth),
            Term::Member(document, key) => match (self.value(document, arguments, depth), text(key, arguments)) {
                (Value::Part(mut path), Some(key)) => {
                    path.push(key.into());
                    Value::Part(path)
                }
                (document, _) => {
                    self.note(document);
                    self.noted(key, arguments, depth)
                }
            },
            Term::AtPath(document, keys) => match (self.value(document, arguments, depth), &**keys) {
                (Value::Part(mut path), Term::Texts(keys)) => {
                    path.extend(keys.iter().map(|key| Arc::from(key.as_str())));
                    Value::Part(path)
                }
                (document, keys) => {
                    self.note(document);
                    self.noted(keys, arguments, depth)
                }
            },
            Term::First(terms) => self.first(terms, arguments, depth),
            Term::Call(function, given) => {
                for term in given {
                    let value = self.value(term, arguments, depth);
                    self.note(value);
                }
                let texts: Vec<Option<&str>> = given.iter().map(|term| text(term, arguments)).collect();
                self.call_for(*function, &texts, depth)
            }
            Term::All(terms) => {
                for term in terms {
                    let value = self.value(term, arguments, depth);
                    self.note(value);
                }
                Value::Noted
            }
        }
    }

    fn noted(&mut self, term: &'o Term, arguments: &Arguments<'_>, depth: usize) -> Value {
        let value = self.value(term, arguments, depth);
        self.note(value);
        Value::Noted
    }

    fn setting(&mut self, name: &'o Term, arguments: &Arguments<'_>, depth: usize) -> Value {
        let Some(setting) = text(name, arguments).map(str::to_ascii_lowercase) else {
            self.opaque(Opaque::Function("current_setting".into()));
            return self.noted(name, arguments, depth);
        };
        match setting.as_str() {
            CLAIMS => return Value::Part(Path::new()),
            OLD_CLAIMS | "role" => {}
            old if old.strip_prefix(OLD_CLAIMS).is_some_and(|claim| claim.starts_with('.')) => {}
            _ => self.opaque(Opaque::Function("current_setting".into())),
        }
        Value::Noted
    }

    /// Which of them is taken depends on whether those before are null. The claims as a whole never are, and what is noted
    /// counts already; so a part that nothing but such terms come before can be taken apart further.
    fn first(&mut self, terms: &'o [Term], arguments: &Arguments<'_>, depth: usize) -> Value {
        let mut part = None;
        for (position, term) in terms.iter().enumerate() {
            match (self.value(term, arguments, depth), &part) {
                (Value::Noted, _) => {}
                (Value::Part(path), None) if path.is_empty() || position + 1 == terms.len() => part = Some(path),
                (other, _) => self.note(other),
            }
        }
        part.map_or(Value::Noted, Value::Part)
    }

    fn call(&mut self, function: u32, arguments: &Arguments<'_>, depth: usize) {
        let value = self.call_for(function, arguments, depth);
        self.note(value);
    }

    fn call_for(&mut self, id: u32, arguments: &Arguments<'_>, depth: usize) -> Value {
        let Some(function) = self.objects.functions.get(&id) else {
            // It was dropped meanwhile, or this version of PostgreSQL writes its trees in another way.
            self.opaque(Opaque::Function("unknown function".into()));
            return Value::Noted;
        };
        let harmless = match (function.origin, function.volatility, &function.body) {
            (Origin::User, Volatility::Stable | Volatility::Immutable, Body::Known(body))
                if depth > 0 && self.calls < CALLS_MAX =>
            {
                self.calls += 1;
                let before = std::mem::take(&mut self.effects.claims);
                let value = self.returned(body, arguments, depth - 1);
                let constant = matches!(value, Value::Noted) && self.effects.claims == ClaimsRead::default();
                self.effects.claims.merge(before);
                if constant || function.volatility == Volatility::Stable {
                    return value;
                }
                // Declared immutable by mistake: a plan may hold what it returned to somebody else.
                self.note(value);
                false
            }
            (Origin::Builtin, Volatility::Immutable, _) => true,
            // Believed, unless its text gives it away.
            (Origin::User, Volatility::Immutable, Body::Unknown) => true,
            (Origin::Builtin, Volatility::Stable, _) => is_harmless(&function.name),
            (_, Volatility::Volatile, _) | (Origin::User, _, _) => false,
        };
        if !harmless {
            self.opaque(Opaque::Function(Arc::clone(&function.name)));
        }
        Value::Noted
    }

    fn note(&mut self, value: Value) {
        if let Value::Part(path) = value {
            self.effects.claims.add(path);
        }
    }

    fn opaque(&mut self, reason: Opaque) {
        self.effects.opaque.get_or_insert(reason);
    }
}

/// The text of a constant, or of an argument that is one.
fn text<'t>(term: &'t Term, arguments: &Arguments<'t>) -> Option<&'t str> {
    match term {
        Term::Text(text) => Some(text),
        Term::Argument(position) => arguments.get(*position).copied().flatten(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::opacity::Function;
    use super::*;

    #[test]
    fn an_unknown_function_is_not_trusted() {
        let mut references = References::default();
        references.functions.insert(99_999);
        assert!(matches!(Objects::default().effects_of(&references).opaque, Some(Opaque::Function(_))));
    }

    const JWT: u32 = 20_001;
    const CLAIM: u32 = 20_002;
    const DICE: u32 = 20_003;
    const LOOP: u32 = 20_004;
    const LIAR: u32 = 20_005;
    const MISTAKE: u32 = 20_006;

    fn text_term(text: &str) -> Term {
        Term::Text(text.to_owned())
    }

    fn setting(name: &str) -> Term {
        Term::Setting(Box::new(text_term(name)))
    }

    fn member(document: Term, key: Term) -> Term {
        Term::Member(Box::new(document), Box::new(key))
    }

    fn objects() -> Objects {
        let mut objects = Objects::default();
        let mut add = |id, volatility, body| {
            let function = Function { name: "f".into(), volatility, origin: Origin::User, body };
            objects.functions.insert(id, function);
        };
        let known = |term| Body::Known(References { terms: vec![term], ..References::default() });
        let jwt = Term::First(vec![
            Term::UnlessEmpty(Box::new(setting("request.jwt.claim"))),
            Term::UnlessEmpty(Box::new(setting("request.jwt.claims"))),
            text_term("{}"),
        ]);
        add(JWT, Volatility::Stable, known(Term::Same(Box::new(jwt))));
        add(CLAIM, Volatility::Stable, known(member(Term::Call(JWT, Vec::new()), Term::Argument(0))));
        add(DICE, Volatility::Volatile, known(Term::NOTHING));
        add(LOOP, Volatility::Stable, known(Term::Call(LOOP, Vec::new())));
        add(LIAR, Volatility::Immutable, Body::Suspicious);
        add(MISTAKE, Volatility::Immutable, known(Term::Call(JWT, Vec::new())));
        objects
    }

    fn effects(term: Term) -> (Vec<String>, bool) {
        let references = References { terms: vec![term], ..References::default() };
        let effects = objects().effects_of(&references);
        (effects.claims.paths().map(|path| path.join(".")).collect(), effects.opaque.is_some())
    }

    #[test]
    fn only_what_is_taken_of_the_claims_counts() {
        let jwt = || Term::Call(JWT, Vec::new());
        let app = || member(jwt(), text_term("app"));
        let keys = Term::Texts(vec!["a".to_owned(), "b".to_owned()]);
        for (term, expected) in [
            (Term::NOTHING, vec![]),
            (setting("request.jwt.claim.sub"), vec![]),
            (setting("ROLE"), vec![]),
            (jwt(), vec![""]),
            (member(app(), text_term("team")), vec!["app.team"]),
            (Term::AtPath(Box::new(app()), Box::new(keys)), vec!["app.a.b"]),
            (Term::AtPath(Box::new(app()), Box::new(Term::NOTHING)), vec!["app"]),
            (member(app(), Term::NOTHING), vec!["app"]),
            (Term::Call(CLAIM, vec![text_term("sub")]), vec!["sub"]),
            (Term::Call(CLAIM, vec![Term::NOTHING]), vec![""]),
            (Term::Call(CLAIM, vec![Term::Call(CLAIM, vec![text_term("x")])]), vec![""]),
            (Term::All(vec![app(), Term::Call(CLAIM, vec![text_term("sub")])]), vec!["app", "sub"]),
            // Whether a part is there decides what comes after it.
            (member(Term::First(vec![app(), jwt()]), text_term("x")), vec!["app", "x"]),
            (member(Term::First(vec![Term::NOTHING, app()]), text_term("x")), vec!["app.x"]),
        ] {
            assert_eq!(effects(term.clone()), (expected.into_iter().map(str::to_owned).collect(), false), "{term:?}");
        }
    }

    #[test]
    fn other_settings_and_functions_that_are_not_known_are_opaque() {
        for term in [
            setting("request.headers"),
            setting("request.jwt.claimsx"),
            setting("app.secret"),
            Term::Setting(Box::new(Term::NOTHING)),
            Term::Call(DICE, Vec::new()),
            Term::Call(LOOP, Vec::new()),
            Term::Call(LIAR, Vec::new()),
            Term::Call(MISTAKE, Vec::new()),
            Term::All(vec![Term::Call(JWT, Vec::new()), Term::Call(MISTAKE, Vec::new())]),
            member(Term::Call(99, Vec::new()), text_term("sub")),
        ] {
            assert!(effects(term.clone()).1, "{term:?}");
        }
    }
}
