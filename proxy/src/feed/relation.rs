//! A relation of the change stream, and the tags of its rows.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::{
    changed::Extent,
    lineage::{Lineage, Rows},
    pgoutput::{Change, Datum, Definition, Identity, Images, Key, Malformed, Old, Tuple},
    templates::TemplateSet,
};
use crate::{
    key::{RowTagWriter, RowTemplate, TemplateColumn},
    rest::TableId,
};

/// Tags of one table in one transaction at most; more rows than that changed the table as a whole.
pub(super) const TAGS_PER_TABLE_MAX: usize = 4_096;

/// A relation as its last message and the catalogs have it.
#[derive(Debug)]
pub(super) struct Relation {
    pub(super) definition: Definition,
    /// the bytes of that message
    pub(super) told: Box<[u8]>,
    lineage: Lineage,
    /// itself, and the partitioned tables it is a part of: each row is announced under all their names
    targets: Vec<Target>,
}

#[derive(Debug)]
struct Target {
    table: TableId,
    /// `None` if there are some for which no tag can be written
    templates: Option<Vec<Places>>,
}

/// The columns of a template, and where they stand in the relation.
type Places = SmallVec<[(TemplateColumn, usize); 4]>;
type Values<'m> = SmallVec<[Option<Cow<'m, str>>; 4]>;

impl Relation {
    /// A relation of which the catalogs have not been asked yet.
    pub(super) fn new(table: TableId, told: &[u8], set: &TemplateSet) -> Result<Self, Malformed> {
        let definition = Definition::of(told)?;
        let lineage = Lineage::alone();
        let targets = vec![Target { table, templates: None }];
        let mut relation = Self { definition, told: told.into(), lineage, targets };
        relation.learn(set);
        Ok(relation)
    }

    /// The names under which its rows are announced.
    pub(super) fn tables(&self) -> impl ExactSizeIterator<Item = &TableId> {
        self.targets.iter().map(|target| &target.table)
    }

    /// What the catalogs say of it.
    pub(super) fn place(&mut self, lineage: Lineage, set: &TemplateSet) {
        self.targets.truncate(1);
        self.targets.extend(lineage.ancestors.iter().map(|table| Target { table: table.clone(), templates: None }));
        self.lineage = lineage;
        self.learn(set);
    }

    /// From now on these are the templates.
    pub(super) fn learn(&mut self, set: &TemplateSet) {
        for target in &mut self.targets {
            let places = |template: &RowTemplate| {
                let place = |column: &TemplateColumn| {
                    let is_it =
                        |one: &super::pgoutput::Attribute| *one.name == *column.name && one.type_id == column.type_id;
                    Some((column.clone(), self.definition.attributes.iter().position(is_it)?))
                };
                template.columns.iter().map(place).collect::<Option<Places>>()
            };
            target.templates = set.of_table(&target.table).and_then(|templates| templates.map(places).collect());
        }
    }

    /// Adds the tags of a row's images to what changed of each table of [`tables`](Self::tables).
    pub(super) fn add_row(
        &self,
        images: Images<'_>,
        extents: &mut [Extent],
        writer: &mut RowTagWriter,
        room: &mut usize,
    ) -> Result<(), Malformed> {
        let mut change = None;
        for (target, extent) in self.targets.iter().zip(extents) {
            let Extent::Rows(tags) = extent else { continue };
            let Some(templates) = &target.templates else {
                *extent = Extent::Whole;
                continue;
            };
            if templates.is_empty() {
                continue;
            }
            let change = match &mut change {
                Some(change) => change,
                none @ None => none.insert(Change::of(images)?),
            };
            let before = tags.len();
            let told = templates.iter().all(|places| {
                let sides = self.sides(change, places);
                sides
                    .map(|sides| {
                        for values in sides {
                            let named = places.iter().zip(&values);
                            let told = named.map(|((one, _), value)| (&*one.name, one.grain, value.as_deref()));
                            tags.insert(writer.tag(&target.table, told));
                        }
                    })
                    .is_some()
            });
            let added = tags.len() - before;
            if told && tags.len() <= TAGS_PER_TABLE_MAX && added <= *room {
                *room -= added;
            } else {
                *room += before;
                *extent = Extent::Whole;
            }
        }
        Ok(())
    }

    /// The values in these columns before and after a change, where there was or is a row; `None` if one is not told.
    fn sides<'m>(&self, change: &Change<'m>, places: &Places) -> Option<SmallVec<[Values<'m>; 2]>> {
        let old = |old: &Old<'m>, new: Option<&Tuple<'m>>| {
            places.iter().map(|(one, place)| told(one, self.before(old, new, *place)?)).collect::<Option<Values<'m>>>()
        };
        let mut sides = SmallVec::new();
        match change {
            Change::Insert { new } => {
                sides.push(places.iter().map(|(one, place)| told(one, *new.get(*place)?)).collect::<Option<_>>()?);
            }
            Change::Delete { old: before } => sides.push(old(before, None)?),
            Change::Update { old: before, new } => {
                sides.push(old(before, Some(new))?);
                // Else it has what it had.
                if *before != Old::Unchanged {
                    let value = |(one, place): &(TemplateColumn, usize)| match *new.get(*place)? {
                        Datum::Untold => told(one, self.before(before, None, *place)?),
                        datum => told(one, datum),
                    };
                    sides.push(places.iter().map(value).collect::<Option<_>>()?);
                }
            }
        }
        Some(sides)
    }

    /// The value of a column before a change, if it is told.
    fn before<'m>(&self, old: &Old<'m>, new: Option<&Tuple<'m>>, place: usize) -> Option<Datum<'m>> {
        let is_key = self.lineage.rows == Rows::Own && self.definition.attributes.get(place)?.key == Key::Part;
        match old {
            Old::Row(row) => row.get(place).copied(),
            // A column of a key is never NULL: what looks so is no column of the key that was logged.
            Old::Key(key) if is_key => key.get(place).copied().filter(|datum| *datum != Datum::Null),
            // If all of it is its key, all of it is logged.
            Old::Unchanged if is_key && self.definition.identity == Identity::Key => new?.get(place).copied(),
            Old::Key(_) | Old::Unchanged => None,
        }
    }
}

/// What stands in a tag for a value of a column; `None` if it is not told, or not in the encoding that requests are in.
fn told<'m>(column: &TemplateColumn, datum: Datum<'m>) -> Option<Option<Cow<'m, str>>> {
    match datum {
        Datum::Null => column.told(None),
        Datum::Text(bytes) => column.told(Some(std::str::from_utf8(bytes).ok()?)),
        Datum::Untold | Datum::Binary => None,
    }
}

#[cfg(test)]
mod tests;
