use bytes::Bytes;
use http::{HeaderMap, Method};

use super::*;
use crate::config::{Api, Permission};
use crate::rest::schema::{
    Changes, Column, Dependencies, Fill, ForeignKey, Parts, RelationKind, SchemaCache, TypeFamily,
};
use crate::rest::{Inbound, Plan, Settings, plan};

fn id(name: &str) -> TableId {
    TableId { schema: "api".into(), name: name.into() }
}

/// Columns called after their type, but for numbers: `name:text`.
fn relation(name: &str, columns: &[&str], key: &[&str], told: &[&str]) -> Relation {
    let column = |text: &&str| {
        let (name, equality) = match text.split_once(':') {
            None => (*text, Some(Equality::Integer)),
            Some((name, "text")) => (name, Some(Equality::Text)),
            Some((name, "bool")) => (name, Some(Equality::Boolean)),
            Some((name, _)) => (name, None),
        };
        Column {
            name: name.into(),
            sql_type: "integer".into(),
            family: TypeFamily::Other,
            equality,
            nullable: true,
            fill: Fill::Plain,
            default: None,
        }
    };
    Relation {
        id: id(name),
        kind: RelationKind::Table,
        columns: columns.iter().map(column).collect(),
        computed: Vec::new(),
        primary_key: key.iter().map(|column| Arc::from(*column)).collect(),
        unique_keys: Vec::new(),
        reads: Dependencies { tables: vec![id(name)], ..Dependencies::default() },
        traced: Some(Traced { columns: told.iter().map(|column| Arc::from(*column)).collect(), ..Traced::default() }),
        changes_of_insert: Changes::Ask,
        changes_of_update: Changes::Ask,
    }
}

fn foreign_key(table: &str, column: &str, referenced: &str) -> ForeignKey {
    ForeignKey {
        name: format!("{table}_{column}").into(),
        table: id(table),
        columns: vec![column.into()],
        referenced: id(referenced),
        referenced_columns: vec!["id".into()],
        unique: false,
    }
}

/// Artists have albums, albums have tracks; an album can have a sequel, and be tagged. Of albums and tracks everything is
/// logged, of the others the key.
fn schema() -> SchemaCache {
    let albums = ["artist_id", "genre", "id", "live", "sequel_of"];
    let mut guarded = relation("guarded", &["id"], &["id"], &["id"]);
    guarded.traced.as_mut().unwrap().guards = vec![id("tags")];
    guarded.reads.tables.push(id("tags"));
    let mut parts = relation("parts", &["id", "x"], &["id"], &["id"]);
    parts.traced.as_mut().unwrap().partitions = vec![id("parts_1")];
    parts.reads.tables.push(id("parts_1"));
    SchemaCache::new(Parts {
        relations: vec![
            relation("artists", &["id", "name:text", "score:float"], &["id"], &["id"]),
            relation("albums", &["id", "artist_id", "genre:text", "live:bool", "sequel_of"], &["id"], &albums),
            relation("tracks", &["id", "album_id", "n"], &["id"], &["album_id", "id", "n"]),
            relation("tags", &["id", "name:text"], &["id"], &["id"]),
            relation("tagged", &["album_id", "tag_id"], &["album_id", "tag_id"], &["album_id", "tag_id"]),
            Relation { traced: None, ..relation("shown", &["id"], &[], &[]) },
            guarded,
            parts,
        ],
        foreign_keys: vec![
            foreign_key("albums", "artist_id", "artists"),
            foreign_key("albums", "sequel_of", "albums"),
            foreign_key("tracks", "album_id", "albums"),
            foreign_key("tagged", "album_id", "albums"),
            foreign_key("tagged", "tag_id", "tags"),
        ],
        ..Parts::default()
    })
}

/// The footprint as text: a table and the values of its columns, or `*` where any row matters.
fn footprint(table: &str, query: &str) -> String {
    let headers = HeaderMap::new();
    let inbound =
        Inbound { method: &Method::GET, path: table, query: Some(query), headers: &headers, body: &Bytes::new() };
    let api = Api { aggregates: Permission::Granted, ..Api::default() };
    let settings = Settings { schemas: vec!["api".to_owned()], max_rows: Some(1000), api, ..Settings::default() };
    let Plan::Read(plan) = plan(&inbound, &schema(), &settings).unwrap() else { panic!("a read") };
    let mut texts = Vec::new();
    for table in &plan.reads.tables {
        let Some(rows) = plan.footprint.rows_of(table) else {
            texts.push(format!("{}(*)", table.name));
            continue;
        };
        for set in rows {
            for tuple in &set.tuples {
                let pair = |(facet, value): (&Facet, &Value)| {
                    format!("{}={}", named(facet), value.as_deref().unwrap_or("NULL"))
                };
                let pairs: Vec<String> = set.columns.iter().zip(tuple).map(pair).collect();
                texts.push(format!("{}({})", table.name, pairs.join(",")));
            }
        }
        if let Some(page) = plan.footprint.page().filter(|page| page.table == *table) {
            texts.push(format!("{}({}=..)", table.name, named(&page.facet)));
        }
    }
    texts.join(" ")
}

fn named(facet: &Facet) -> String {
    facet.grain.bits().map_or(facet.name.to_string(), |bits| format!("{}/{}", facet.name, 1 << bits))
}

#[test]
fn bounds_leave_the_buckets_between_them() {
    for (query, expected) in [
        ("id=gte.20&id=lt.40", "albums(id/16=1) albums(id/16=2)"),
        ("id=gt.19&id=lte.39&order=genre", "albums(id/16=1) albums(id/16=2)"),
        ("and=(id.gte.020,id.lt.40)&id=gte.0", "albums(id/16=1) albums(id/16=2)"),
        ("id=lt.10", "albums(id/16=-1) albums(id/16=0)"),
        ("artist_id=gte.0&artist_id=lt.4096&id=gte.0&id=lt.16", "albums(id/16=0)"),
        ("id=gte.0&id=lt.512", "albums(id/256=0) albums(id/256=1)"),
        ("id=gte.0&id=lt.512&genre=eq.rock", "albums(genre=rock)"),
    ] {
        assert_eq!(footprint("albums", query), expected, "{query}");
    }
    for query in [
        "id=gt.42",
        "id=not.gt.42&id=lt.60",
        "or=(id.gt.1,id.lt.9)",
        "id=gte(all).{1,2}&id=gte.1",
        "genre=gt.a&genre=lt.b",
        "id=gte.0&id=lt.99999999999",
        "id=gte.-2147483648&id=lte.2147483647",
    ] {
        let rows = footprint("albums", query);
        assert!(
            rows == "albums(*)" || query.contains("lt.60") && rows.starts_with("albums(id/16=-1) "),
            "{query}: {rows}"
        );
    }
    assert_eq!(footprint("artists", "score=gt.1&score=lt.2"), "artists(*)", "no integers");
    assert_eq!(
        footprint("artists", "id=eq.5&select=*,albums(*)&albums.genre=gt.x&albums.id=lt.9"),
        "albums(artist_id=5) artists(id=5)"
    );
    assert_eq!(
        footprint("artists", "id=lt.5&select=*,albums(*)&albums.id=lt.9"),
        "albums(id/16=-1) albums(id/16=0) artists(id/16=-1) artists(id/16=0)"
    );
}

#[test]
fn a_page_in_the_order_of_a_column_has_its_end_for_a_bound() {
    for query in [
        "id=gte.20&order=id&limit=20",
        "id=lt.9000&order=id.desc&limit=20",
        "id=gt.20&order=id,genre&limit=5&offset=7&select=genre",
        "id=gt.20&genre=like.a*&order=id&limit=20&select=*,artists!inner(*)",
        "id=gte.0&id=lt.100000&order=id&limit=20",
    ] {
        let rows = footprint("albums", query);
        assert!(rows.starts_with("albums(id/16=..)"), "{query}: {rows}");
    }
    assert_eq!(footprint("albums", "id=gt.20&order=id&limit=200"), "albums(id/256=..)");
    assert_eq!(footprint("parts", "id=gte.20&order=id&limit=20"), "parts(id/16=..)");
    for query in [
        "id=gte.20&limit=20",
        "id=gte.20&order=genre,id&limit=20",
        "id=gte.20&order=id.desc&limit=20",
        "order=id&limit=20",
        "id=gte.20&order=id&limit=0",
        "id=gte.20&order=id&select=artist_id,count()&limit=20",
        "id=gte.20&order=id&limit=20&select=genre,genre",
        "id=gte.20&order=id&limit=20&select=*,albums(*)",
    ] {
        assert_eq!(footprint("albums", query), "albums(*)", "{query}");
    }
    assert_eq!(footprint("albums", "id=eq.7&order=id&limit=20"), "albums(id=7)", "a value says more");
    assert_eq!(footprint("albums", "id=gte.3&id=lt.9&order=id&limit=500"), "albums(id/16=0)", "so do two bounds");
}

#[test]
fn filters_by_equality_leave_a_footprint() {
    for (query, expected) in [
        ("id=eq.42", "albums(id=42)"),
        ("id=eq.042", "albums(id=42)"),
        ("id=in.(1,2)", "albums(id=1) albums(id=2)"),
        ("artist_id=eq.7&genre=eq.rock", "albums(artist_id=7,genre=rock)"),
        ("artist_id=in.(1,2)&live=is.true", "albums(artist_id=1,live=t) albums(artist_id=2,live=t)"),
        ("and=(artist_id.eq.7,live.eq.no)", "albums(artist_id=7,live=f)"),
        ("sequel_of=is.null", "albums(sequel_of=NULL)"),
        ("genre=eq.", "albums(genre=)"),
    ] {
        assert_eq!(footprint("albums", query), expected, "{query}");
    }
}

#[test]
fn whatever_narrows_further_changes_nothing() {
    for query in [
        "id=eq.42&genre=eq.rock",
        "id=eq.42&or=(genre.eq.a,genre.eq.b)",
        "id=eq.42&artist_id=gt.3&order=genre&limit=1&select=genre",
        "id=eq.42&id=in.(42,43)",
        "id=in.(42,43)&id=eq.42",
        "id=eq.42&genre=not.eq.rock",
    ] {
        assert_eq!(footprint("albums", query), "albums(id=42)", "{query}");
    }
}

#[test]
fn what_does_not_fix_a_value_leaves_none() {
    for query in [
        "",
        "id=gt.42",
        "id=not.eq.42",
        "or=(id.eq.1,genre.eq.a)",
        "not.and=(id.eq.1,genre.eq.a)",
        "id=eq(any).{1,2}",
        "id=in.()",
        "id=eq.0x2a",
        "genre=like.rock",
        "genre->>a=eq.rock",
        "genre=is.true",
    ] {
        assert_eq!(footprint("albums", query), "albums(*)", "{query}");
    }
    assert_eq!(footprint("artists", "name=eq.Nina"), "artists(*)", "nobody knows the old name");
    assert_eq!(footprint("artists", "score=eq.1"), "artists(*)", "equal numbers may be spelled apart");
    assert_eq!(footprint("shown", "id=eq.1"), "shown(*)", "a view");
}

#[test]
fn a_footprint_has_a_bound() {
    let list = |count: usize| (0..count).map(|number| number.to_string()).collect::<Vec<_>>().join(",");
    let rows = |query: &str| footprint("albums", query).split(' ').count();
    assert_eq!(rows(&format!("id=in.({})", list(TUPLES_MAX))), TUPLES_MAX);
    assert_eq!(footprint("albums", &format!("id=in.({})", list(TUPLES_MAX + 1))), "albums(*)");
    let both = format!("artist_id=in.({})&sequel_of=in.(1,2)", list(40));
    assert_eq!(footprint("albums", &both), "albums(sequel_of=1) albums(sequel_of=2)", "the column that is less");
}

#[test]
fn what_is_embedded_in_a_known_row_is_known_by_its_foreign_key() {
    let embeds = |query| footprint("artists", query);
    assert_eq!(embeds("id=eq.5&select=*,albums(*)"), "albums(artist_id=5) artists(id=5)");
    assert_eq!(
        embeds("id=eq.5&select=*,albums!inner(*)&albums.genre=eq.rock"),
        "albums(artist_id=5,genre=rock) artists(id=5)"
    );
    assert_eq!(embeds("select=*,albums(*)"), "albums(*) artists(*)");
    assert_eq!(embeds("name=eq.Nina&select=*,albums(*)"), "albums(*) artists(*)");
    let deeper = "id=eq.5&select=*,albums(*,tracks(*))";
    assert_eq!(embeds(deeper), "albums(artist_id=5) artists(id=5) tracks(*)", "nobody knows which albums those are");
    assert_eq!(embeds("id=eq.5&albums=is.null&select=*,albums()"), "albums(artist_id=5) artists(id=5)");
}

#[test]
fn a_known_column_tells_the_row_it_refers_to() {
    let embeds = |query| footprint("albums", query);
    assert_eq!(embeds("artist_id=eq.5&select=*,artists(*)"), "albums(artist_id=5) artists(id=5)");
    assert_eq!(embeds("id=eq.1&select=*,artists(*)"), "albums(id=1) artists(*)");
    assert_eq!(embeds("artist_id=is.null&select=*,artists(*)"), "albums(artist_id=NULL) artists(*)");
    let three = "id=eq.1&select=*,tracks(*,albums(*))";
    assert_eq!(embeds(three), "albums(id=1) tracks(album_id=1)", "the same row, seen from below");
}

#[test]
fn a_junction_is_known_from_the_side_that_is_known() {
    let embeds = footprint("albums", "id=eq.1&select=*,tags(*)");
    assert_eq!(embeds, "albums(id=1) tagged(album_id=1) tags(*)");
    assert_eq!(
        footprint("albums", "id=eq.1&select=*,tags(*)&tags.id=eq.3"),
        "albums(id=1) tagged(album_id=1) tags(id=3)"
    );
}

#[test]
fn a_table_that_is_read_twice_is_known_only_if_both_uses_are() {
    assert_eq!(footprint("albums", "id=eq.1&select=*,albums(*)"), "albums(id=1) albums(sequel_of=1)");
    assert_eq!(footprint("albums", "id=eq.1&select=*,sequel_of(*)"), "albums(*)");
}

#[test]
fn partitions_are_heard_of_by_their_parent_and_guards_as_they_are() {
    assert_eq!(footprint("parts", "id=eq.1"), "parts(id=1)");
    assert_eq!(footprint("parts", "x=eq.1"), "parts(*) parts_1(*)");
    assert_eq!(footprint("guarded", "id=eq.1"), "guarded(id=1) tags(*)");
}
