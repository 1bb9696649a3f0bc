//! A position in the text of one parameter, and the furthest failure seen so far.

use crate::rest::error::Error;

/// Reads forward over `text`; every primitive that does not match notes what it expected and where.
pub(super) struct Cursor<'a> {
    text: &'a str,
    position: usize,
    furthest: Furthest,
}

/// What was expected at the furthest position where anything failed.
#[derive(Debug, Clone, Default)]
pub(super) struct Furthest {
    position: usize,
    expected: Vec<&'static str>,
}

/// That reading failed; the cursor knows where and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failed {
    /// the text does not match: another alternative may
    Mismatch,
    /// the text nests deeper than Transom follows: no alternative will
    TooDeep,
}

pub(super) type Parsed<T> = Result<T, Failed>;

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, position: 0, furthest: Furthest::default() }
    }

    /// What is not read yet.
    pub(super) fn rest(&self) -> &'a str {
        self.text.get(self.position..).unwrap_or_default()
    }

    pub(super) fn position(&self) -> usize {
        self.position
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Notes that `expected` was not found here.
    pub(super) fn fail<T>(&mut self, expected: &'static str) -> Parsed<T> {
        if self.position != self.furthest.position || !self.furthest.expected.contains(&expected) {
            self.add_failure(Furthest { position: self.position, expected: vec![expected] });
        }
        Err(Failed::Mismatch)
    }

    /// Reads one character that satisfies `accepts`.
    pub(super) fn one(&mut self, accepts: impl Fn(char) -> bool, expected: &'static str) -> Parsed<char> {
        match self.peek() {
            Some(found) if accepts(found) => {
                self.position += found.len_utf8();
                Ok(found)
            }
            _ => self.fail(expected),
        }
    }

    /// Reads exactly `text`, or nothing of it.
    pub(super) fn literal(&mut self, text: &str, expected: &'static str) -> Parsed<()> {
        if self.rest().starts_with(text) {
            self.position += text.len();
            Ok(())
        } else {
            self.fail(expected)
        }
    }

    /// Reads `text` without regard to ASCII case, as far as it goes.
    pub(super) fn keyword(&mut self, text: &str, expected: &'static str) -> Parsed<()> {
        text.chars().try_for_each(|wanted| self.one(|found| found.eq_ignore_ascii_case(&wanted), expected).map(|_| ()))
    }

    /// Reads as many characters as satisfy `accepts`, possibly none.
    pub(super) fn many(&mut self, accepts: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let length = rest.find(|found| !accepts(found)).unwrap_or(rest.len());
        self.position += length;
        rest.get(..length).unwrap_or_default()
    }

    pub(super) fn spaces(&mut self) {
        self.many(|found| found == ' ' || found == '\t');
    }

    /// Tries `parser`; after a mismatch the position is as before, but what it expected stays noted.
    pub(super) fn attempt<T>(&mut self, parser: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        let start = self.position;
        let parsed = parser(self);
        if parsed.is_err() {
            self.position = start;
        }
        parsed
    }

    /// Like `attempt`, but a mismatch is an answer too.
    pub(super) fn optional<T>(&mut self, parser: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<Option<T>> {
        match self.attempt(parser) {
            Ok(value) => Ok(Some(value)),
            Err(Failed::Mismatch) => Ok(None),
            Err(Failed::TooDeep) => Err(Failed::TooDeep),
        }
    }

    /// Reads items of `item` separated by a comma, at least one.
    pub(super) fn comma_separated<T>(
        &mut self,
        spacing: Spacing,
        mut item: impl FnMut(&mut Self) -> Parsed<T>,
    ) -> Parsed<Vec<T>> {
        let mut items = vec![item(self)?];
        while self.optional(|cursor| cursor.comma(spacing))?.is_some() {
            items.push(item(self)?);
        }
        Ok(items)
    }

    fn comma(&mut self, spacing: Spacing) -> Parsed<()> {
        match spacing {
            Spacing::Free => {
                self.spaces();
                self.literal(",", "\",\"")?;
                self.spaces();
                Ok(())
            }
            Spacing::Strict => self.literal(",", "\",\""),
        }
    }

    /// Tries `first`, then `second`. Once `second` has read something, only what is wrong with it matters.
    pub(super) fn either<T>(
        &mut self,
        first: impl FnOnce(&mut Self) -> Parsed<T>,
        second: impl FnOnce(&mut Self) -> Parsed<T>,
    ) -> Parsed<T> {
        match self.attempt(first) {
            Err(Failed::Mismatch) => {}
            parsed => return parsed,
        }
        let start = self.position;
        let first_failure = std::mem::take(&mut self.furthest);
        let parsed = second(self);
        if self.position == start {
            self.add_failure(first_failure);
        }
        parsed
    }

    fn add_failure(&mut self, failure: Furthest) {
        if failure.position > self.furthest.position {
            self.furthest = failure;
        } else if failure.position == self.furthest.position {
            self.furthest.expected.extend(failure.expected);
        }
    }

    /// PostgREST's words for a failure in the parameter `value`, which it calls `what`.
    pub(super) fn explain(&self, failed: Failed, what: &str, value: &str) -> Error {
        if failed == Failed::TooDeep {
            return Error::Limit { what: "nesting", limit: super::NESTING_MAX };
        }
        let (line, column) = self.line_and_column(self.furthest.position);
        let unexpected = match self.text.get(self.furthest.position..).and_then(|rest| rest.chars().next()) {
            Some(found) => format!("unexpected \"{found}\""),
            None => "unexpected end of input".to_owned(),
        };
        Error::Grammar {
            message: format!("\"failed to parse {what} ({value})\" (line {line}, column {column})"),
            details: format!("{unexpected} expecting {}", enumerate(&self.furthest.expected)),
        }
    }

    /// Parsec's count: from one, in characters, a tab reaching to the next multiple of eight.
    fn line_and_column(&self, position: usize) -> (usize, usize) {
        let read = self.text.get(..position).unwrap_or(self.text);
        read.chars().fold((1, 1), |(line, column), found| match found {
            '\n' => (line + 1, 1),
            '\t' => (line, column + 8 - (column - 1) % 8),
            _ => (line, column + 1),
        })
    }
}

/// Whether spaces may stand around a separator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spacing {
    Free,
    Strict,
}

fn enumerate(expected: &[&'static str]) -> String {
    match expected {
        [] => "something else".to_owned(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}
