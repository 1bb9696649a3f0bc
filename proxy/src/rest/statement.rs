//! SQL text and its parameters, and the writer that keeps users' values out of the text.

use std::error::Error as StdError;
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::BytesMut;
use tokio_postgres::types::{Format, IsNull, ToSql, Type};

/// A statement to prepare once and run with its parameters. The text depends on the shape of the request only.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Statement {
    pub sql: Arc<str>,
    pub params: Vec<TextParam>,
    pub yields: Yields,
}

/// What running a statement brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Yields {
    /// one row: an answer and what belongs to it
    Answer,
    /// the same, and where the page ends
    Page,
    /// the lines of an execution plan
    Lines,
}

impl Statement {
    /// The statement that gives its plan; `explain` is what stands in front of it.
    pub(super) fn explained(self, explain: &str) -> Self {
        Self { sql: format!("{explain}{}", self.sql).into(), yields: Yields::Lines, ..self }
    }

    /// The parameters as tokio-postgres takes them.
    pub fn params(&self) -> impl ExactSizeIterator<Item = &(dyn ToSql + Sync)> + Clone {
        self.params.iter().map(|param| param as &(dyn ToSql + Sync))
    }
}

/// A parameter sent as text whatever its type is, so that PostgreSQL infers the type from where it stands and reads the
/// text as it would read a literal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TextParam(pub Option<String>);

impl ToSql for TextParam {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        match &self.0 {
            None => Ok(IsNull::Yes),
            Some(text) => {
                out.extend_from_slice(text.as_bytes());
                Ok(IsNull::No)
            }
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    fn to_sql_checked(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        self.to_sql(ty, out)
    }
}

/// Builds a statement. Text comes from the code, names go through `ident`, values through `bind`: there is no other way
/// for a request to reach the SQL.
#[derive(Debug, Default)]
pub(super) struct SqlWriter {
    text: String,
    params: Vec<TextParam>,
}

impl SqlWriter {
    pub(super) fn push(&mut self, sql: &str) -> &mut Self {
        self.text.push_str(sql);
        self
    }

    /// Writes a quoted name.
    pub(super) fn ident(&mut self, name: &str) -> &mut Self {
        self.text.push('"');
        for part in name.split_inclusive('"') {
            self.text.push_str(part);
            if part.ends_with('"') {
                self.text.push('"');
            }
        }
        self.text.push('"');
        self
    }

    /// Writes a placeholder for `value`.
    pub(super) fn bind(&mut self, value: impl Into<Option<String>>) -> &mut Self {
        self.params.push(TextParam(value.into()));
        // Writing to a string cannot fail.
        let _ = write!(self.text, "${}", self.params.len());
        self
    }

    /// Writes each item with `separator` between.
    pub(super) fn join<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        separator: &str,
        mut write: impl FnMut(&mut Self, T),
    ) -> &mut Self {
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                self.push(separator);
            }
            write(self, item);
        }
        self
    }

    pub(super) fn finish(self) -> Statement {
        Statement { sql: self.text.into(), params: self.params, yields: Yields::Answer }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_quotes() {
        for (name, quoted) in [("a", "\"a\""), ("a\"b", "\"a\"\"b\""), ("\"\"", "\"\"\"\"\"\""), ("", "\"\"")] {
            let mut writer = SqlWriter::default();
            writer.ident(name);
            assert_eq!(&*writer.finish().sql, quoted);
        }
    }
}
