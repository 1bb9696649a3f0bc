use super::*;
use crate::rest::request::Nulls;

fn row(total: Option<i64>, page: i64) -> Answer {
    Answer { total, page, body: Bytes::from_static(b"[1]"), location: None, end: None, said: Said::default() }
}

fn header<'a>(rendered: &'a Rendered, name: &str) -> Option<&'a str> {
    rendered.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.to_str().unwrap())
}

fn read_shape(offset: i128, body: Body) -> ReadShape {
    ReadShape {
        format: Format::Array(Nulls::Kept),
        body,
        content: Content::Rows,
        offset,
        profile: None,
        applied: String::new(),
    }
}

fn write_shape(kind: WriteKind, returns: Option<Return>) -> RowsShape {
    RowsShape {
        kind,
        format: Format::Array(Nulls::Kept),
        returns,
        count: Some(Count::Exact),
        merges: false,
        max_affected: None,
        profile: Some("api".to_owned()),
        applied: "count=exact".to_owned(),
        table: "a b".to_owned(),
        location: vec!["id".to_owned(), "k&".to_owned()],
    }
}

/// Each was asked of PostgREST 12.0.2.
#[test]
fn ranges_have_the_status_of_postgrest() {
    for (offset, total, page, status, range) in [
        (0, None, 5, 200, "0-4/*"),
        (0, None, 0, 200, "*/*"),
        (100, None, 0, 200, "*/*"),
        (100, Some(5), 0, 416, "*/5"),
        (5, Some(5), 0, 206, "*/5"),
        (1, Some(5), 2, 206, "1-2/5"),
        (0, Some(5), 5, 200, "0-4/5"),
        (0, Some(0), 0, 200, "*/0"),
        (0, Some(5), 0, 206, "*/5"),
    ] {
        let rendered = read_shape(offset, Body::Sent).answer(row(total, page)).unwrap();
        assert_eq!((rendered.status.as_u16(), header(&rendered, "content-range")), (status, Some(range)));
    }
}

#[test]
fn an_unsatisfiable_range_says_so_and_head_says_nothing() {
    let rendered = read_shape(100, Body::Sent).answer(row(Some(5), 0)).unwrap();
    let expected = r#"{"code":"PGRST103","details":"An offset of 100 was requested, but there are only 5 rows.","hint":null,"message":"Requested range not satisfiable"}"#;
    assert_eq!(rendered.body, expected);
    let rendered = read_shape(100, Body::Omitted).answer(row(Some(5), 0)).unwrap();
    assert_eq!((rendered.status.as_u16(), rendered.body.is_empty()), (416, true));
}

#[test]
fn a_singular_answer_needs_one_row() {
    let mut shape = read_shape(0, Body::Sent);
    shape.format = Format::Singular(Nulls::Kept);
    assert!(shape.answer(row(None, 1)).is_ok());
    for rows in [0, 2] {
        assert_eq!(shape.answer(row(None, rows)), Err(Error::Singularity { rows }));
    }
}

#[test]
fn writes_answer_by_what_is_to_be_returned() {
    use WriteKind::{Delete, Insert, Update};
    for (kind, returns, status, range, body) in [
        (Insert, None, 201, "*/2", ""),
        (Insert, Some(Return::Representation), 201, "*/2", "[1]"),
        (Update, Some(Return::Minimal), 204, "0-1/2", ""),
        (Update, Some(Return::Representation), 200, "0-1/2", "[1]"),
        (Delete, Some(Return::HeadersOnly), 204, "*/2", ""),
        (Delete, Some(Return::Representation), 200, "*/2", "[1]"),
    ] {
        let rendered = write_shape(kind, returns).answer(row(None, 2)).unwrap();
        assert_eq!((rendered.status.as_u16(), header(&rendered, "content-range")), (status, Some(range)));
        assert_eq!(rendered.body, body);
        assert_eq!(header(&rendered, "content-profile").is_some(), !body.is_empty());
    }
}

#[test]
fn the_location_of_a_row_is_a_filter_on_its_key() {
    let mut row = row(None, 1);
    row.location = Some(vec![Some("x,\"y z".to_owned()), None]);
    let rendered = write_shape(WriteKind::Insert, Some(Return::HeadersOnly)).answer(row).unwrap();
    assert_eq!(header(&rendered, "location"), Some("/a%20b?id=eq.x%2C%22y%20z&k%26=is.null"));
}
