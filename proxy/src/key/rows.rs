//! Tags of rows, `public.flights(carrier=UA,id=42)`: whoever announces a changed row writes the same text as whoever read
//! it. And the names of templates, by which those who read tell those who announce which tags to write.

use std::{fmt::Write as _, sync::Arc};

use cache_core::{tag::Tag, template::Template};

use crate::rest::{RowSet, TableId};

/// Version of the tags' texts: part of the template's name, so that a node of another release is understood or known not
/// to be.
const LAYOUT: u8 = 1;

/// Rows of a table told apart by the values of some columns.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowTemplate {
    /// the table that was read
    pub table: TableId,
    /// name and type id of each column, sorted by name. A column of another type is another column: its values are not
    /// spelled alike.
    pub columns: Vec<(Arc<str>, u32)>,
}

impl RowTemplate {
    /// The template by which these rows are told apart.
    #[must_use]
    pub fn of(table: &TableId, rows: &RowSet) -> Self {
        let columns = rows.columns.iter().map(|(name, equality)| (name.clone(), equality.type_id())).collect();
        Self { table: table.clone(), columns }
    }

    /// Its name among peers.
    #[must_use]
    pub fn to_template(&self) -> Template {
        let columns: Vec<(&str, u32)> = self.columns.iter().map(|(name, id)| (&**name, *id)).collect();
        // An array of texts and numbers is always JSON.
        let name = serde_json::to_string(&(LAYOUT, &*self.table.schema, &*self.table.name, columns));
        Template::named(name.unwrap_or_default())
    }

    /// What the name of a template says. `None` if this release does not understand it.
    #[must_use]
    pub fn parse(template: &Template) -> Option<Self> {
        type Written = (u8, String, String, Vec<(String, u32)>);
        let (layout, schema, name, columns): Written = serde_json::from_str(template.name()).ok()?;
        let columns: Vec<(Arc<str>, u32)> = columns.into_iter().map(|(name, id)| (name.into(), id)).collect();
        let table = TableId { schema: schema.into(), name: name.into() };
        (layout == LAYOUT && !columns.is_empty()).then_some(Self { table, columns })
    }
}

/// Writes the texts of rows' tags, one after the other into the same memory.
#[derive(Debug, Default)]
pub struct RowTagWriter(String);

impl RowTagWriter {
    /// The tag of the rows of `table` that have these values in these columns, which are sorted by name.
    ///
    /// Values are written as they are. So two tags may have the same text, if a value contains what looks like another
    /// column: then a change of one row invalidates what was read of the other, too, and nothing else comes of it.
    pub fn tag<'v>(&mut self, table: &TableId, values: impl IntoIterator<Item = (&'v str, Option<&'v str>)>) -> Tag {
        Tag::of_row(self.text(table, values))
    }

    fn text<'v>(&mut self, table: &TableId, values: impl IntoIterator<Item = (&'v str, Option<&'v str>)>) -> &str {
        self.0.clear();
        // Writing to a string cannot fail.
        let _ = write!(self.0, "{table}(");
        for (number, (column, value)) in values.into_iter().enumerate() {
            if number > 0 {
                self.0.push(',');
            }
            self.0.push_str(column);
            match value {
                Some(value) => {
                    self.0.push('=');
                    self.0.push_str(value);
                }
                None => self.0.push_str(" is null"),
            }
        }
        self.0.push(')');
        &self.0
    }
}

/// The tag with this text, if it looks like one. Values may hold anything, so it is not read any further than that.
#[must_use]
pub fn tag(text: &str) -> Option<Tag> {
    if text == "*" {
        return Some(Tag::everything());
    }
    let (table, rows) = text.strip_suffix(')')?.split_once('(')?;
    let (schema, name) = table.split_once('.')?;
    if schema.is_empty() || name.is_empty() {
        return None;
    }
    if matches!(rows, "*" | "all") {
        return Some(Tag::named(text));
    }
    let (column, _) = rows.split_once('=').or_else(|| rows.split_once(" is null"))?;
    (!column.is_empty()).then(|| Tag::of_row(text))
}

/// The tags of the rows that an answer depends on.
pub(super) fn tags<'r>(table: &'r TableId, rows: &'r [RowSet]) -> impl Iterator<Item = Tag> + 'r {
    let mut writer = RowTagWriter::default();
    let tuples = rows.iter().flat_map(|set| set.tuples.iter().map(move |tuple| (&set.columns, tuple)));
    tuples.map(move |(columns, tuple)| {
        writer.tag(table, columns.iter().zip(tuple).map(|((name, _), value)| (&**name, value.as_deref())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rest::Equality;

    fn flights() -> TableId {
        TableId { schema: "public".into(), name: "flights".into() }
    }

    #[test]
    fn a_tag_names_the_values() {
        let mut writer = RowTagWriter::default();
        assert_eq!(writer.text(&flights(), [("id", Some("42"))]), "public.flights(id=42)");
        let two = [("carrier", Some("UA")), ("tailnum", None)];
        assert_eq!(writer.text(&flights(), two), "public.flights(carrier=UA,tailnum is null)");
    }

    #[test]
    fn a_set_of_rows_has_a_tag_for_each_tuple() {
        let rows = RowSet {
            columns: vec![("id".into(), Equality::Integer)],
            tuples: vec![vec![Some("1".into())], vec![None]],
        };
        let expected = ["public.flights(id=1)", "public.flights(id is null)"].map(Tag::of_row);
        assert_eq!(tags(&flights(), &[rows]).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_texts_of_tags_are_known_from_others() {
        for text in
            ["*", "a.b(*)", "a.b(all)", "a.b(id=1)", "a.b(id=)", "a.b(x=1,y is null)", "a.b(x is null)", "a.b(x=()))"]
        {
            assert!(tag(text).is_some(), "{text}");
        }
        for text in ["", "a", "a.b", "a.b()", "b(id=1)", ".b(*)", "a.(*)", "a.b(id)", "a.b(=1)", "a.b(*", "a.b(*) "] {
            assert_eq!(tag(text), None, "{text}");
        }
    }

    #[test]
    fn a_template_is_understood_by_its_name() {
        let odd = TableId { schema: "a\"b".into(), name: "c,(d".into() };
        let template = RowTemplate { table: odd, columns: vec![("x=1".into(), 23), ("y".into(), 25)] };
        assert_eq!(RowTemplate::parse(&template.to_template()), Some(template));
        for name in ["", "public.flights(id)", "[2,\"a\",\"b\",[[\"c\",23]]]", "[1,\"a\",\"b\",[]]", "[1,\"a\"]"] {
            assert_eq!(RowTemplate::parse(&Template::named(name)), None, "{name}");
        }
    }
}
