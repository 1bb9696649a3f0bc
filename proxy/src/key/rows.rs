//! Tags of rows, `public.flights(carrier=UA,id=42)`: whoever announces a changed row writes the same text as whoever read
//! it. And the names of templates, by which those who read tell those who announce which tags to write.

use std::{borrow::Cow, fmt::Write as _, sync::Arc};

use cache_core::{tag::Tag, template::Template};
use serde::{Deserialize, Serialize};

use crate::rest::{Facet, Grain, RowSet, TableId, bucket};

/// Version of the tags' texts: part of the template's name, so that a node of another release is understood or known not
/// to be.
const LAYOUT: u8 = 1;

/// Rows of a table told apart by the values of some columns.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowTemplate {
    /// the table that was read
    pub table: TableId,
    /// sorted by name
    pub columns: Vec<TemplateColumn>,
}

/// A column of a template.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TemplateColumn {
    /// its name
    pub name: Arc<str>,
    /// the id of its type. A column of another type is another column: its values are not spelled alike.
    pub type_id: u32,
    /// how finely its values are told apart
    pub grain: Grain,
}

impl TemplateColumn {
    /// The column of this name and type, of which each value is told apart.
    #[must_use]
    pub fn by_value(name: &str, type_id: u32) -> Self {
        Self { name: name.into(), type_id, grain: Grain::Value }
    }

    fn of(facet: &Facet) -> Self {
        Self { name: facet.name.clone(), type_id: facet.equality.type_id(), grain: facet.grain }
    }

    /// What stands in a tag for a value of the column, or for NULL: itself, or the number of its bucket. `None` if it has none,
    /// because it is no integer.
    #[must_use]
    pub fn told<'v>(&self, value: Option<&'v str>) -> Option<Option<Cow<'v, str>>> {
        Some(match (value, self.grain) {
            (None, _) => None,
            (Some(value), Grain::Value) => Some(value.into()),
            (Some(value), Grain::Bucket { bits }) => Some(bucket(value.parse().ok()?, bits).to_string().into()),
        })
    }
}

/// How a column is written in the name of a template. Releases that know no buckets understand those without.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum WrittenColumn<'a> {
    Bucket(Cow<'a, str>, u32, u8),
    Value(Cow<'a, str>, u32),
}

impl<'a> WrittenColumn<'a> {
    fn of(column: &'a TemplateColumn) -> Self {
        let name = Cow::Borrowed(&*column.name);
        match column.grain {
            Grain::Value => Self::Value(name, column.type_id),
            Grain::Bucket { bits } => Self::Bucket(name, column.type_id, bits),
        }
    }

    fn read(self) -> Option<TemplateColumn> {
        match self {
            Self::Value(name, type_id) => Some(TemplateColumn::by_value(&name, type_id)),
            Self::Bucket(name, type_id, bits) => {
                Some(TemplateColumn { name: name.into(), type_id, grain: Grain::of_bits(bits)? })
            }
        }
    }
}

impl RowTemplate {
    /// The template by which these rows are told apart.
    #[must_use]
    pub fn of(table: &TableId, columns: &[Facet]) -> Self {
        Self { table: table.clone(), columns: columns.iter().map(TemplateColumn::of).collect() }
    }

    /// Its name among peers.
    #[must_use]
    pub fn to_template(&self) -> Template {
        let columns: Vec<WrittenColumn<'_>> = self.columns.iter().map(WrittenColumn::of).collect();
        // An array of texts and numbers is always JSON.
        let name = serde_json::to_string(&(LAYOUT, &*self.table.schema, &*self.table.name, columns));
        Template::named(name.unwrap_or_default())
    }

    /// What the name of a template says. `None` if this release does not understand it.
    #[must_use]
    pub fn parse(template: &Template) -> Option<Self> {
        type Written<'a> = (u8, String, String, Vec<WrittenColumn<'a>>);
        let (layout, schema, name, columns): Written<'_> = serde_json::from_str(template.name()).ok()?;
        let columns = columns.into_iter().map(WrittenColumn::read).collect::<Option<Vec<TemplateColumn>>>()?;
        let table = TableId { schema: schema.into(), name: name.into() };
        (layout == LAYOUT && !columns.is_empty()).then_some(Self { table, columns })
    }
}

/// The name of a column, how finely its values are told apart, and what [stands](TemplateColumn::told) for one of them; `None`
/// is NULL.
pub type Told<'v> = (&'v str, Grain, Option<&'v str>);

/// Writes the texts of rows' tags, one after the other into the same memory.
#[derive(Debug, Default)]
pub struct RowTagWriter(String);

impl RowTagWriter {
    /// The tag of the rows of `table` that have these values in these columns, which are sorted by name, or are in these
    /// buckets of their values: `public.flights(id/16=3)` is that of the ids from 48 to 63.
    ///
    /// Values are written as they are. So two tags may have the same text, if a value contains what looks like another
    /// column: then a change of one row invalidates what was read of the other, too, and nothing else comes of it.
    pub fn tag<'v>(&mut self, table: &TableId, values: impl IntoIterator<Item = Told<'v>>) -> Tag {
        Tag::of_row(self.text(table, values))
    }

    fn text<'v>(&mut self, table: &TableId, values: impl IntoIterator<Item = Told<'v>>) -> &str {
        self.0.clear();
        // Writing to a string cannot fail.
        let _ = write!(self.0, "{table}(");
        for (number, (column, grain, value)) in values.into_iter().enumerate() {
            if number > 0 {
                self.0.push(',');
            }
            self.0.push_str(column);
            if let Grain::Bucket { bits } = grain {
                let _ = write!(self.0, "/{}", 1_u64 << bits);
            }
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
pub fn tags<'r>(table: &'r TableId, rows: &'r [RowSet]) -> impl Iterator<Item = Tag> + 'r {
    let mut writer = RowTagWriter::default();
    let tuples = rows.iter().flat_map(|set| set.tuples.iter().map(move |tuple| (&set.columns, tuple)));
    tuples.map(move |(columns, tuple)| {
        writer.tag(table, columns.iter().zip(tuple).map(|(one, value)| (&*one.name, one.grain, value.as_deref())))
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
        assert_eq!(writer.text(&flights(), [("id", Grain::Value, Some("42"))]), "public.flights(id=42)");
        let bucket = TemplateColumn { grain: Grain::Bucket { bits: 4 }, ..TemplateColumn::by_value("id", 23) };
        let told = bucket.told(Some("-77")).unwrap();
        assert_eq!(writer.text(&flights(), [("id", bucket.grain, told.as_deref())]), "public.flights(id/16=-1)");
        assert_eq!(bucket.told(Some("x")), None);
        let two = [("carrier", Grain::Value, Some("UA")), ("tailnum", Grain::Value, None)];
        assert_eq!(writer.text(&flights(), two), "public.flights(carrier=UA,tailnum is null)");
    }

    #[test]
    fn a_set_of_rows_has_a_tag_for_each_tuple() {
        let rows = RowSet {
            columns: vec![Facet { name: "id".into(), equality: Equality::Integer, grain: Grain::Value }],
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
        let columns = vec![TemplateColumn::by_value("x=1", 23), TemplateColumn::by_value("y", 25)];
        let template = RowTemplate { table: odd, columns };
        assert_eq!(RowTemplate::parse(&template.to_template()), Some(template));
        let columns = vec![TemplateColumn { grain: Grain::Bucket { bits: 4 }, ..TemplateColumn::by_value("c", 23) }];
        let bucket = RowTemplate { table: TableId { schema: "a".into(), name: "b".into() }, columns };
        assert_eq!(bucket.to_template().name(), "[1,\"a\",\"b\",[[\"c\",23,4]]]");
        assert_eq!(RowTemplate::parse(&bucket.to_template()), Some(bucket));
        for name in [
            "",
            "public.flights(id)",
            "[2,\"a\",\"b\",[[\"c\",23]]]",
            "[1,\"a\",\"b\",[]]",
            "[1,\"a\"]",
            "[1,\"a\",\"b\",[[\"c\",23,63]]]",
            "[1,\"a\",\"b\",[[\"c\",23,4,4]]]",
        ] {
            assert_eq!(RowTemplate::parse(&Template::named(name)), None, "{name}");
        }
    }
}
