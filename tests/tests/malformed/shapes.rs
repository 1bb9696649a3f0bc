//! The text of a statement depends on the shape of the request alone: values are bound, whatever they are. The one
//! exception is the size of a usual first page, a number out of a short list.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::{HeaderMap, Method};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::{Strategy, prop_assert, prop_assert_eq};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use transom::rest::{Inbound, Plan, SchemaCache, Settings, load_schema, plan};
use transom_tests::Postgres;

/// Parameters with `@` in the place of each value, and `#` where a number must stand.
const PARAMETERS: &[&str] = &[
    "s=eq.@",
    "s=neq.@",
    "s=gt.@",
    "s=like.@",
    "s=ilike.@",
    "s=match.@",
    "s=imatch.@",
    "s=not.eq.@",
    "s=isdistinct.@",
    "s=fts.@",
    "s=wfts.@",
    "s=plfts.@",
    "s=in.(%22@%22,%22@%22)",
    "id=eq.@",
    "d=lt.@",
    "u=eq.@",
    "jb->%22@%22=eq.@",
    "jb->>%22@%22=eq.@",
    "jb->%22@%22->>%22@%22=like.@",
    "jb=cs.@",
    "a=cs.@",
    "a=ov.@",
    "r=sl.@",
    "or=(s.eq.%22@%22,id.gt.%22@%22)",
    "and=(s.like.%22@%22,not.or(c.eq.%22@%22,b.is.true))",
    "s=eq(any).@",
    "s=like(all).@",
    "ts=gt.@",
    "order=id.desc",
    "select=id,s,jb->x",
    "limit=#",
    "offset=#",
];

/// Pages of this size and beyond are not usual.
const UNUSUAL_PAGE: usize = 1_001;

struct Planner {
    schema: SchemaCache,
    settings: Settings,
}

impl Planner {
    /// The statement of the request that has these values, and the values as they were bound.
    fn statement(&self, shape: &[&str], values: &[String]) -> (String, Vec<Option<String>>) {
        let mut values = values.iter().cycle();
        let mut query = String::new();
        for piece in shape.join("&").split_inclusive(['@', '#']) {
            query.push_str(piece.trim_end_matches(['@', '#']));
            let value = values.next().expect("a cycle does not end");
            if piece.ends_with('@') {
                query.push_str(&utf8_percent_encode(value, NON_ALPHANUMERIC).to_string());
            } else if piece.ends_with('#') {
                query.push_str(&(UNUSUAL_PAGE + value.len()).to_string());
            }
        }
        let (headers, body) = (HeaderMap::new(), Bytes::new());
        let inbound =
            Inbound { method: &Method::GET, path: "kinds", query: Some(&query), headers: &headers, body: &body };
        match plan(&inbound, &self.schema, &self.settings) {
            Ok(Plan::Read(plan)) => {
                let bound = plan.statement.params.iter().map(|param| param.0.as_deref().map(str::to_owned)).collect();
                (plan.statement.sql.to_string(), bound)
            }
            other => panic!("{query}: {other:?}"),
        }
    }
}

/// Text that the grammar takes as a value inside quotes, with a mark that no statement has by itself.
fn values() -> impl Strategy<Value = Vec<String>> {
    let quoted = |text: String| format!("zq{}", text.replace(['\\', '"', '\0'], "_"));
    proptest::collection::vec("\\PC{0,12}|[-'$;*%,(){}.:]{1,8}|select|null|1".prop_map(quoted), 12)
}

fn planner() -> Planner {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let schema = runtime.block_on(async {
        let database = Postgres::shared().await.database().await;
        database.execute(super::SCHEMA).await;
        load_schema(&database.client().await, &["public".to_owned()]).await.expect("the catalogs can be read")
    });
    Planner { schema, settings: Settings { schemas: vec!["public".to_owned()], ..Settings::default() } }
}

#[test]
fn sizes_of_pages_make_few_statements() {
    let planner = planner();
    let statements = |shape: fn(usize) -> String| -> BTreeSet<String> {
        (1..2_000).map(|size| planner.statement(&[&shape(size)], &[String::new()]).0).collect()
    };
    // Up to 50, then each fiftieth up to 1000, and one for all others.
    assert_eq!(statements(|size| format!("limit={size}")).len(), 50 + 19 + 1);
    assert_eq!(statements(|size| format!("limit={size}&offset=1")).len(), 1);
}

#[test]
fn values_never_reach_the_text_of_a_statement() {
    let planner = planner();
    let config = Config { failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let shape = proptest::collection::vec(proptest::sample::select(PARAMETERS), 1..6);
    let property = |(shape, one, other): (Vec<&str>, Vec<String>, Vec<String>)| {
        let (sql, bound) = planner.statement(&shape, &one);
        let (same, _) = planner.statement(&shape, &other);
        prop_assert_eq!(&sql, &same);
        prop_assert!(!sql.contains("zq"), "{}", sql);
        if shape.iter().any(|parameter| parameter.contains('@')) {
            prop_assert!(bound.iter().flatten().any(|value| value.contains("zq")), "{:?}", bound);
        }
        Ok(())
    };
    runner.run(&(shape, values(), values()), property).unwrap_or_else(|error| panic!("{error}"));
}
