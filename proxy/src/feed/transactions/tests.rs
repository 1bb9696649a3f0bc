use cache_core::{
    coherence::Epoch,
    template::{Edition, Templates},
};

use super::super::lineage::Rows;
use super::super::pgoutput::Key;
use super::super::pgoutput::tests::{relation, row, tuple};
use super::super::relation::TAGS_PER_TABLE_MAX;
use super::*;
use crate::key::RowTemplate;

const ID: (&str, u32, Key) = ("id", 23, Key::Part);

fn known(id: u8, name: &str) -> Vec<u8> {
    relation(id, name, b'd', &[ID])
}

fn insert(id: u8, value: &str) -> Vec<u8> {
    row(b'I', id, &[tuple(b'N', &[Some(value)])])
}

fn table(name: &str) -> TableId {
    TableId { schema: "s".into(), name: name.into() }
}

fn by_id(names: &[&str]) -> TemplateSet {
    let template = |name: &&str| {
        RowTemplate { table: table(name), columns: vec![crate::key::TemplateColumn::by_value("id", 23)] }.to_template()
    };
    let edition = Edition { epoch: Epoch::random(), version: 0 };
    TemplateSet::of(&Templates { edition, known: names.iter().map(template).collect() })
}

fn learned(names: &[&str]) -> Transactions {
    let mut transactions = Transactions::default();
    learn(&mut transactions, names);
    transactions
}

fn learn(transactions: &mut Transactions, names: &[&str]) {
    let set = by_id(names);
    let gained = set.gained(transactions.templates());
    transactions.learn(set, &gained);
}

fn messages(transactions: &mut Transactions, messages: &[Vec<u8>]) {
    messages.iter().for_each(|message| transactions.message(message).expect("well formed"));
}

/// Tables, and how many tags of rows each has; `None` if it changed as a whole.
fn commit(transactions: &mut Transactions) -> Vec<(String, Option<usize>)> {
    match transactions.commit(100, 0).expect("it began").changed {
        Changed::Everything => vec![("everything".to_owned(), None)],
        Changed::Tables(tables) => {
            let rows = |extent| match extent {
                Extent::Rows(tags) => Some(tags.len()),
                Extent::Whole => None,
            };
            tables.into_iter().map(|(table, extent)| (table.to_string(), rows(extent))).collect()
        }
    }
}

fn changes(transactions: &mut Transactions, all: &[Vec<u8>]) -> Vec<(String, Option<usize>)> {
    transactions.begin(7);
    messages(transactions, all);
    commit(transactions)
}

#[test]
fn a_transaction_names_each_table_once() {
    let mut transactions = learned(&["b"]);
    let all = [known(1, "a"), insert(1, "1"), known(2, "b"), insert(2, "1"), insert(2, "2"), insert(2, "1")];
    assert_eq!(changes(&mut transactions, &all), [("s.a".to_owned(), Some(0)), ("s.b".to_owned(), Some(2))]);
    let again = changes(&mut transactions, &[insert(2, "1")]);
    assert_eq!(again, [("s.b".to_owned(), Some(1))], "the name is said once per session");
    assert_eq!(changes(&mut transactions, &[]), []);
}

#[test]
fn truncated_and_redefined_tables_changed_as_a_whole() {
    let mut transactions = learned(&["a"]);
    let truncate = vec![b'T', 0, 0, 0, 1, 0, 0, 0, 0, 1];
    let whole = [("s.a".to_owned(), None)];
    assert_eq!(changes(&mut transactions, &[known(1, "a"), insert(1, "1"), truncate, insert(1, "2")]), whole);
    assert_eq!(changes(&mut transactions, &[known(1, "a"), insert(1, "1")]), [("s.a".to_owned(), Some(1))]);
    assert_eq!(changes(&mut transactions, &[relation(1, "a", b'f', &[ID]), insert(1, "1")]), whole);
}

#[test]
fn a_partition_changes_its_ancestors_too() {
    let mut transactions = learned(&["parent"]);
    transactions.begin(7);
    messages(&mut transactions, &[known(1, "leaf")]);
    assert_eq!(transactions.strangers(), BTreeSet::from([1]));
    transactions.lineage(1, Lineage { ancestors: vec![table("parent")], rows: Rows::Own });
    messages(&mut transactions, &[insert(1, "1"), insert(1, "2")]);
    assert_eq!(commit(&mut transactions), [("s.leaf".to_owned(), Some(0)), ("s.parent".to_owned(), Some(2))]);
    assert!(transactions.strangers().is_empty());
}

#[test]
fn what_has_no_name_counts_as_everything() {
    assert_eq!(changes(&mut Transactions::default(), &[insert(9, "1")])[0].0, "everything");
}

#[test]
fn many_rows_are_a_whole_table() {
    let mut transactions = learned(&["a"]);
    let most: Vec<Vec<u8>> = (0..TAGS_PER_TABLE_MAX).map(|number| insert(1, &number.to_string())).collect();
    let all = [&[known(1, "a")][..], &most].concat();
    assert_eq!(changes(&mut transactions, &all), [("s.a".to_owned(), Some(TAGS_PER_TABLE_MAX))]);
    let more = [&all[..], &[insert(1, "more")]].concat();
    assert_eq!(changes(&mut transactions, &more), [("s.a".to_owned(), None)]);
}

#[test]
fn many_tables_with_many_rows_have_a_bound_together() {
    let names: Vec<String> = (0..20).map(|number| format!("t{number:02}")).collect();
    let mut transactions = learned(&names.iter().map(String::as_str).collect::<Vec<_>>());
    transactions.begin(7);
    for (id, name) in (0..).zip(&names) {
        messages(&mut transactions, &[known(id, name)]);
        (0..TAGS_PER_TABLE_MAX).for_each(|number| messages(&mut transactions, &[insert(id, &number.to_string())]));
    }
    let changed = transactions.commit(100, 0).expect("it began").changed;
    assert_eq!(changed.size(), TAGS_MAX);
}

#[test]
fn a_template_that_is_learned_in_the_middle_makes_what_came_before_a_whole_table() {
    let mut transactions = learned(&["b"]);
    transactions.begin(7);
    messages(&mut transactions, &[known(1, "a"), known(2, "b"), insert(1, "1"), insert(2, "1")]);
    learn(&mut transactions, &["a", "b"]);
    messages(&mut transactions, &[insert(1, "2"), insert(2, "2")]);
    assert_eq!(commit(&mut transactions), [("s.a".to_owned(), None), ("s.b".to_owned(), Some(2))]);
    assert_eq!(changes(&mut transactions, &[insert(1, "3")]), [("s.a".to_owned(), Some(1))]);
}

#[test]
fn the_tags_are_those_that_a_reader_carries() {
    let mut transactions = learned(&["a"]);
    transactions.begin(7);
    messages(&mut transactions, &[known(1, "a"), insert(1, "42")]);
    let tags = transactions.commit(100, 0).expect("it began").changed.tags();
    assert_eq!(tags, ["s.a(*)", "s.a(id=42)"].map(|text| crate::key::tag(text).expect("the text of a tag")));
}

#[test]
fn a_commit_carries_the_last_name_that_was_left_in_it_and_no_other() {
    let [forged, written] = [1, 2].map(WriteId::from_u128);
    let mut transactions = Transactions::default();
    transactions.sign(forged);
    transactions.begin(7);
    transactions.sign(forged);
    transactions.sign(written);
    assert_eq!(transactions.commit(100, 0).expect("it began").write, Some(written));
    transactions.begin(8);
    assert_eq!(transactions.commit(101, 0).expect("it began").write, None);
}

#[test]
fn a_changed_definition_is_announced_as_everything_with_its_commit() {
    let mut transactions = Transactions::default();
    transactions.redefined();
    assert!(!transactions.is_open(), "outside a transaction it means nothing");
    transactions.begin(7);
    messages(&mut transactions, &[known(1, "a")]);
    transactions.redefined();
    messages(&mut transactions, &[insert(1, "1")]);
    assert_eq!(transactions.commit(100, 0).expect("it began").changed, Changed::Everything);
}
