use std::collections::BTreeSet;

use cache_core::{
    coherence::Epoch,
    tag::Tag,
    template::{Edition, Templates},
};
use proptest::prelude::*;

use super::super::pgoutput::tests::{relation, row, tuple};
use super::super::pgoutput::{Message, parse};
use super::*;

const ID: (&str, u32, Key) = ("id", 23, Key::Part);
const NOTE: (&str, u32, Key) = ("note", 25, Key::Beside);

fn table(name: &str) -> TableId {
    TableId { schema: "s".into(), name: name.into() }
}

fn templates(all: &[(&str, &[(&str, u32)])]) -> TemplateSet {
    let template = |(name, columns): &(&str, &[(&str, u32)])| {
        let columns = columns.iter().map(|(name, id)| TemplateColumn::by_value(name, *id)).collect();
        RowTemplate { table: table(name), columns }.to_template()
    };
    let edition = Edition { epoch: Epoch::random(), version: 0 };
    TemplateSet::of(&Templates { edition, known: all.iter().map(template).collect() })
}

fn known(identity: u8, columns: &[(&str, u32, Key)], set: &TemplateSet) -> Relation {
    let bytes = relation(1, "t", identity, columns);
    let Ok(Message::Relation { definition, .. }) = parse(&bytes) else { panic!("a relation") };
    Relation::new(table("t"), definition, set).unwrap()
}

/// The texts of the tags of a change under the relation's own name, of those that are asked about; `None` if it counts as
/// the whole table.
fn tags(relation: &Relation, change: &[u8], asked: &[&str]) -> Option<Vec<String>> {
    let mut extents = vec![Extent::rows(); relation.tables().len()];
    let Ok(Message::Row { images, .. }) = parse(change) else { panic!("a row") };
    relation.add_row(images, &mut extents, &mut RowTagWriter::default(), &mut 1_000).expect("well formed");
    let Extent::Rows(tags) = extents.swap_remove(0) else { return None };
    let found: Vec<String> = asked
        .iter()
        .map(|text| (*text).to_owned())
        .filter(|text| tags.contains(&crate::key::tag(text).expect("the text of a tag")))
        .collect();
    assert_eq!(found.len(), tags.len(), "no other tags");
    Some(found)
}

fn n(values: &[Option<&str>]) -> Vec<u8> {
    tuple(b'N', values)
}

const ALL: [&str; 6] =
    ["s.t(id=1)", "s.t(id=2)", "s.t(note=a)", "s.t(note=b)", "s.t(note is null)", "s.t(id=1,note=a)"];

#[test]
fn a_key_is_known_before_and_after() {
    let set = templates(&[("t", &[("id", 23)])]);
    let relation = known(b'd', &[ID, NOTE], &set);
    let a = [Some("1"), Some("a")];
    let change = |letter, tuples: &[Vec<u8>]| tags(&relation, &row(letter, 1, tuples), &ALL).unwrap();
    assert_eq!(change(b'I', &[n(&a)]), ["s.t(id=1)"]);
    assert_eq!(change(b'U', &[n(&a)]), ["s.t(id=1)"], "no old image: the key is as it was");
    assert_eq!(change(b'U', &[tuple(b'K', &[Some("2"), None]), n(&a)]), ["s.t(id=1)", "s.t(id=2)"]);
    assert_eq!(change(b'D', &[tuple(b'K', &[Some("2"), None])]), ["s.t(id=2)"]);
}

#[test]
fn beside_the_key_nothing_is_known_of_the_old_row() {
    let set = templates(&[("t", &[("note", 25)])]);
    let relation = known(b'd', &[ID, NOTE], &set);
    let a = [Some("1"), Some("a")];
    let change = |letter, tuples: &[Vec<u8>]| tags(&relation, &row(letter, 1, tuples), &ALL);
    assert_eq!(change(b'I', &[n(&a)]), Some(vec!["s.t(note=a)".to_owned()]), "a new row has no old one");
    assert_eq!(change(b'U', &[n(&a)]), None);
    assert_eq!(change(b'U', &[tuple(b'K', &[Some("2"), None]), n(&a)]), None);
    assert_eq!(change(b'D', &[tuple(b'K', &[Some("2"), None])]), None, "what looks like NULL is not told");
}

#[test]
fn a_full_identity_tells_all_and_nulls_too() {
    let set = templates(&[("t", &[("note", 25)]), ("t", &[("id", 23), ("note", 25)])]);
    let all_keys = [ID, ("note", 25, Key::Part)];
    let relation = known(b'f', &all_keys, &set);
    let change = |letter, tuples: &[Vec<u8>]| {
        tags(&relation, &row(letter, 1, tuples), &[ALL.as_slice(), &["s.t(id=1,note is null)"]].concat())
    };
    let (null, a) = ([Some("1"), None], [Some("1"), Some("a")]);
    let both = ["s.t(note=a)", "s.t(note is null)", "s.t(id=1,note=a)", "s.t(id=1,note is null)"].map(str::to_owned);
    assert_eq!(change(b'U', &[tuple(b'O', &null), n(&a)]), Some(both.to_vec()));
    assert_eq!(change(b'U', &[n(&a)]), None, "under a full identity the old row is never left out");
    let untold = [Some("1"), Some("!")];
    let same = ["s.t(note=a)", "s.t(id=1,note=a)"].map(str::to_owned);
    assert_eq!(change(b'U', &[tuple(b'O', &a), n(&untold)]), Some(same.to_vec()), "a large value that did not change");
}

#[test]
fn a_large_key_that_did_not_change_is_told_once_or_not_at_all() {
    let set = templates(&[("t", &[("note", 25)])]);
    let relation = known(b'i', &[("id", 23, Key::Beside), ("note", 25, Key::Part)], &set);
    let change = |tuples: &[Vec<u8>]| tags(&relation, &row(b'U', 1, tuples), &ALL);
    let untold = n(&[Some("1"), Some("!")]);
    assert_eq!(change(&[tuple(b'K', &[None, Some("a")]), untold.clone()]), Some(vec!["s.t(note=a)".to_owned()]));
    assert_eq!(change(&[untold]), None);
}

#[test]
fn columns_that_are_not_there_or_of_another_type_make_it_the_whole_table() {
    for set in [templates(&[("t", &[("id", 25)])]), templates(&[("t", &[("gone", 23)])])] {
        let relation = known(b'd', &[ID, NOTE], &set);
        assert_eq!(tags(&relation, &row(b'I', 1, &[n(&[Some("1"), None])]), &ALL), None);
    }
    let relation = known(b'd', &[ID], &templates(&[("other", &[("gone", 23)])]));
    assert_eq!(tags(&relation, &row(b'I', 1, &[n(&[Some("1")])]), &ALL), Some(Vec::new()));
}

#[test]
fn the_key_of_a_root_says_nothing_of_its_partitions_keys() {
    let set = templates(&[("t", &[("id", 23)])]);
    let mut relation = known(b'd', &[ID, NOTE], &set);
    relation.place(Lineage { ancestors: Vec::new(), rows: Rows::OfPartitions }, &set);
    let a = n(&[Some("1"), Some("a")]);
    let change = |letter, tuples: &[Vec<u8>]| tags(&relation, &row(letter, 1, tuples), &ALL);
    assert_eq!(change(b'I', std::slice::from_ref(&a)).map(|tags| tags.len()), Some(1));
    assert_eq!(change(b'U', std::slice::from_ref(&a)), None);
    assert_eq!(change(b'D', &[tuple(b'K', &[Some("1"), None])]), None);
    let old = tuple(b'O', &[Some("2"), Some("a")]);
    assert_eq!(change(b'U', &[old, a]).map(|tags| tags.len()), Some(2));
}

#[test]
fn a_value_that_is_no_text_makes_it_the_whole_table() {
    let relation = known(b'd', &[ID, NOTE], &templates(&[("t", &[("note", 25)])]));
    let mut change = row(b'I', 1, &[n(&[Some("1"), Some("a")])]);
    *change.last_mut().unwrap() = 0xff;
    assert_eq!(tags(&relation, &change, &ALL), None);
}

proptest! {
    /// Whatever the values are: both sides of the announcement are what a reader of these values carries.
    #[test]
    fn rows_have_the_tags_of_those_who_read_them(
        old in prop::option::of("[^\0!]{0,8}"),
        new in prop::option::of("[^\0!]{0,8}"),
    ) {
        let set = templates(&[("t", &[("note", 25)])]);
        let relation = known(b'f', &[("note", 25, Key::Part)], &set);
        let change = row(b'U', 1, &[tuple(b'O', &[old.as_deref()]), n(&[new.as_deref()])]);
        let Ok(Message::Row { images, .. }) = parse(&change) else { panic!("a row") };
        let mut extents = vec![Extent::rows()];
        relation.add_row(images, &mut extents, &mut RowTagWriter::default(), &mut 10).unwrap();
        let rows = |value: Option<String>| crate::rest::RowSet {
            columns: vec![crate::rest::Facet {
                name: "note".into(),
                equality: crate::rest::Equality::Text,
                grain: crate::rest::Grain::Value,
            }],
            tuples: vec![vec![value.map(Into::into)]],
        };
        let read = crate::rest::Footprint::from_iter([(table("t"), vec![rows(old), rows(new)])]);
        let any = crate::key::tags_of_read(Tag::named("url"), &[], &read).collect::<BTreeSet<_>>();
        let carried: BTreeSet<Tag> =
            crate::key::tags_of_read(Tag::named("url"), &[table("t")], &read).filter(|tag| !any.contains(tag)).collect();
        let announced = BTreeSet::from_iter([crate::key::whole_table(&table("t"))].into_iter().chain(match extents.remove(0) {
            Extent::Rows(tags) => tags,
            Extent::Whole => BTreeSet::new(),
        }));
        prop_assert_eq!(announced, carried);
    }
}
