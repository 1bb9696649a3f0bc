//! From what was recorded to what changed, with the tags of the rows.

use std::collections::{BTreeMap, BTreeSet};

use cache_core::tag::Tag;
use serde_json::Value;

use super::{coverage::Kin, outbox::What};
use crate::{
    feed::{
        changed::{Changed, Extent},
        relation::TAGS_PER_TABLE_MAX,
        templates::TemplateSet,
    },
    key::{RowTagWriter, RowTemplate, TemplateColumn},
    rest::TableId,
};

/// A row as it was recorded: a text, or null for NULL; anything else, or nothing, is a value that was not recorded.
type Image = BTreeMap<String, Value>;

/// What these statements changed. Who writes to a table that has parts changes rows of theirs, and who writes to a part
/// changes rows of the whole.
pub(super) fn changes(recorded: impl IntoIterator<Item = What>, kin: &Kin, templates: &TemplateSet) -> Changed {
    let mut changed = Changed::nothing();
    let mut writer = RowTagWriter::default();
    for what in recorded {
        let What::Rows { table, images } = what else { return Changed::Everything };
        // What cannot be read is no image.
        let images: Option<Vec<Image>> = images.and_then(|images| serde_json::from_str(&images).ok());
        for kin in kin.of(&table).chain([&table]) {
            let rows = images.as_ref().and_then(|images| tags(images, kin, templates, &mut writer));
            changed.add(kin.clone(), rows.map_or(Extent::Whole, Extent::Rows));
        }
    }
    changed
}

/// The tags of rows under the name of a table; `None` if one cannot be told, or if they are too many.
fn tags(
    images: &[Image],
    table: &TableId,
    templates: &TemplateSet,
    writer: &mut RowTagWriter,
) -> Option<BTreeSet<Tag>> {
    let mut tags = BTreeSet::new();
    for RowTemplate { columns, .. } in templates.of_table(table)? {
        for image in images {
            let value = |name: &str| match image.get(name) {
                Some(Value::String(text)) => Some(Some(text.as_str())),
                Some(Value::Null) => Some(None),
                _ => None,
            };
            let told = |column: &TemplateColumn| column.told(value(&column.name)?);
            let values = columns.iter().map(told).collect::<Option<Vec<_>>>()?;
            let named = columns.iter().zip(&values).map(|(one, value)| (&*one.name, one.grain, value.as_deref()));
            tags.insert(writer.tag(table, named));
        }
    }
    (tags.len() <= TAGS_PER_TABLE_MAX).then_some(tags)
}

#[cfg(test)]
mod tests {
    use cache_core::{
        coherence::Epoch,
        template::{Edition, Templates},
    };

    use super::*;

    fn table(name: &str) -> TableId {
        TableId { schema: "s".into(), name: name.into() }
    }

    fn record(name: &str, images: Option<&str>) -> What {
        What::Rows { table: table(name), images: images.map(str::to_owned) }
    }

    fn by(columns: &[(&str, &str)]) -> TemplateSet {
        let template = |(name, column): &(&str, &str)| {
            RowTemplate { table: table(name), columns: vec![TemplateColumn::by_value(column, 23)] }.to_template()
        };
        let edition = Edition { epoch: Epoch::random(), version: 0 };
        TemplateSet::of(&Templates { edition, known: columns.iter().map(template).collect() })
    }

    fn tags_of(records: Vec<What>, kin: &Kin, templates: &TemplateSet) -> BTreeSet<Tag> {
        changes(records, kin, templates).tags().into_iter().collect()
    }

    fn named(names: &[&str]) -> BTreeSet<Tag> {
        names.iter().map(|name| crate::key::tag(name).expect("the text of a tag")).collect()
    }

    #[test]
    fn old_and_new_rows_have_their_tags() {
        let images = r#"[{"id": "1", "x": null}, {"id": "2", "x": "t"}]"#;
        let (kin, templates) = (Kin::default(), by(&[("a", "id"), ("a", "x"), ("b", "id")]));
        let expected = ["s.a(*)", "s.a(id=1)", "s.a(id=2)", "s.a(x is null)", "s.a(x=t)"];
        assert_eq!(tags_of(vec![record("a", Some(images))], &kin, &templates), named(&expected));
    }

    #[test]
    fn what_was_not_recorded_is_the_whole_table() {
        let (kin, templates) = (Kin::default(), by(&[("a", "x")]));
        for images in [None, Some("no json"), Some(r#"[{"id": "1"}]"#), Some(r#"[{"x": false}]"#)] {
            assert_eq!(tags_of(vec![record("a", images)], &kin, &templates), named(&["s.a(all)"]), "{images:?}");
        }
        let rows = tags_of(vec![record("b", Some(r#"[{"x": false}]"#))], &kin, &templates);
        assert_eq!(rows, named(&["s.b(*)"]), "nobody asks for it");
    }

    #[test]
    fn a_definition_is_everything() {
        let recorded = [record("a", Some("[]")), What::Definition, record("a", None)];
        assert_eq!(changes(recorded, &Kin::default(), &by(&[])), Changed::Everything);
    }

    #[test]
    fn a_part_and_the_whole_change_together() {
        let mut kin = Kin::default();
        kin.add(table("whole"), table("part"));
        let tags = tags_of(vec![record("part", Some(r#"[{"id": "1"}]"#))], &kin, &by(&[("whole", "id")]));
        assert_eq!(tags, named(&["s.part(*)", "s.whole(*)", "s.whole(id=1)"]));
        assert_eq!(tags_of(vec![record("whole", None)], &kin, &by(&[])), named(&["s.part(all)", "s.whole(all)"]));
    }
}
