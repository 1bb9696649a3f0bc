use super::*;
use crate::rest::ast::{Arrow, Field, JsonOperand, JsonStep, Operation, Operator, Polarity};

fn message(result: Result<impl std::fmt::Debug, Error>) -> String {
    match result.unwrap_err() {
        Error::Grammar { message, .. } => message,
        other => format!("{other:?}"),
    }
}

/// Each pair was asked of PostgREST 12.0.2.
#[test]
fn filters_fail_at_the_column_of_postgrest() {
    for (value, column) in [
        ("noop.1", 1),
        ("eq", 3),
        ("1", 1),
        ("", 1),
        ("eqq.1", 3),
        ("not.noop.1", 5),
        ("not.eq", 7),
        ("not", 4),
        ("in.1,2", 4),
        ("in.(1,2", 8),
        ("is.nul", 7),
        ("is.not_nul", 5),
        ("fts(english.x", 12),
        ("fts", 4),
        ("eq(foo).{1}", 4),
        ("ov(any).{red}", 3),
        ("neq(any).{1,2}", 4),
    ] {
        let expected = format!("\"failed to parse filter ({value})\" (line 1, column {column})");
        assert_eq!(message(parse_filter("id", value)), expected);
    }
}

#[test]
fn select_fails_at_the_column_of_postgrest() {
    for (value, column) in [
        ("id,", 4),
        ("id!x", 3),
        ("id::", 5),
        ("id::varchar(3)", 12),
        ("a(", 3),
        ("id.foo()", 4),
        ("id.sum(", 7),
        ("data->", 7),
        ("x:*", 3),
        ("a\"b", 2),
        ("\"a", 3),
        ("id,na\nme!", 6),
    ] {
        let expected = format!("\"failed to parse select parameter ({value})\" (line 1, column {column})");
        assert_eq!(message(parse_select(value)), expected);
    }
}

#[test]
fn order_fails_at_the_column_of_postgrest() {
    for (value, column) in
        [("id.foo", 4), ("id.desc.foo", 9), ("id.descc", 8), ("", 1), ("id,", 4), (" id.desc , name", 9)]
    {
        let expected = format!("\"failed to parse order ({value})\" (line 1, column {column})");
        assert_eq!(message(parse_order("order", value)), expected);
    }
}

#[test]
fn logic_fails_at_the_column_of_postgrest() {
    for (value, column) in
        [("()", 4), ("(id.eq.1", 11), ("(id.noop.1)", 7), ("(id.in.1,2)", 10), ("(id.eq.1,)", 12), ("(not.id.eq.1)", 8)]
    {
        let expected = format!("\"failed to parse logic tree ({value})\" (line 1, column {column})");
        assert_eq!(message(parse_logic("or", value)), expected);
    }
}

#[test]
fn what_follows_a_complete_value_is_ignored() {
    assert_eq!(parse_select("id)").unwrap(), parse_select("id").unwrap());
    assert_eq!(parse_filter("id)", "in.(1,2)x").unwrap(), parse_filter("id", "in.(1,2)").unwrap());
    assert_eq!(parse_logic("or", "(id.eq.1)x").unwrap(), parse_logic("or", "(id.eq.1)").unwrap());
    for nothing in ["", ":id", ":", "*!x", "(\"id\")"] {
        assert_eq!(parse_select(nothing).unwrap(), [SelectItem::Star], "{nothing}");
    }
}

#[test]
fn json_paths_tell_keys_from_indexes() {
    let step = |arrow, operand| JsonStep { arrow, operand };
    let (_, filter) = parse_filter("data->a-b->>-1", "eq.x").unwrap();
    assert_eq!(
        filter.field,
        Field {
            column: "data".into(),
            path: vec![
                step(Arrow::Json, JsonOperand::Key("a-b".into())),
                step(Arrow::Text, JsonOperand::Index("-1".into())),
            ],
        }
    );
    let (_, filter) = parse_filter("data->0x", "eq.x").unwrap();
    assert_eq!(filter.field.path, [step(Arrow::Json, JsonOperand::Key("0x".into()))]);
}

#[test]
fn values_in_trees_may_be_quoted_or_arrays() {
    let (_, tree) = parse_logic("not.and", r#"(a.eq."x,\"y)",b.cs.{1,2},c.not.in.("p,q",r))"#).unwrap();
    let Condition::Group { polarity: Polarity::Negated, children, .. } = tree else { panic!("{tree:?}") };
    let operations: Vec<_> = children
        .into_iter()
        .map(|child| match child {
            Condition::Filter(filter) => filter.operation,
            Condition::Group { .. } => panic!(),
        })
        .collect();
    let compare = |operator, value: &str| Operation::Compare { operator, quantifier: None, value: value.into() };
    assert_eq!(
        operations,
        [
            compare(Operator::Eq, "x,\"y)"),
            compare(Operator::Contains, "{1,2}"),
            Operation::In(vec!["p,q".into(), "r".into()]),
        ]
    );
}

/// 12.0.2 refuses it; later versions have it.
#[test]
fn what_is_not_null_is_negated_null() {
    for value in ["is.not_null", "is.NOT_NULL"] {
        assert_eq!(parse_filter("id", value).unwrap(), parse_filter("id", "not.is.null").unwrap(), "{value}");
    }
    assert_eq!(parse_filter("id", "not.is.not_null").unwrap(), parse_filter("id", "is.null").unwrap());
}

#[test]
fn nesting_is_bounded() {
    let deep = format!("{}id.eq.1{}", "(and".repeat(100_000), ")".repeat(100_000));
    assert!(matches!(parse_logic("or", &deep), Err(Error::Limit { .. })));
    assert!(matches!(parse_select(&"a(".repeat(100_000)), Err(Error::Limit { .. })));
}
