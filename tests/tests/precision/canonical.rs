//! The text that a reader makes of a value is the one that Postgres prints for it, or there is none.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use transom::rest::Equality;
use transom_tests::Postgres;

const SPELLINGS: usize = 1_500;

/// Numbers near the bounds of their types, with signs, zeros, spaces and what else a client may send.
fn numbers() -> impl Strategy<Value = String> {
    let near = prop::sample::select(vec![0_i128, 7, 32_767, 32_768, 2_147_483_647, 9_223_372_036_854_775_807]);
    let number = (near, -2_i128..3, prop::sample::select(vec!["", "-", "+", " ", "--", "0", "-00", "+0"]));
    let number = number.prop_map(|(near, off, before)| format!("{before}{}", near + off));
    (number, prop::sample::select(vec!["", "", "", " ", ".0", "e1", "_0", "\t"])).prop_map(|(one, behind)| one + behind)
}

fn booleans() -> impl Strategy<Value = String> {
    let words = ["true", "tru", "t", "yes", "ye", "on", "o", "1", "false", "f", "no", "off", "of", "0", "2", ""];
    (prop::sample::select(words.to_vec()), prop::sample::select(vec!["", " "]), any::<bool>()).prop_map(
        |(word, space, upper)| format!("{space}{}", if upper { word.to_uppercase() } else { word.to_owned() }),
    )
}

fn ids() -> impl Strategy<Value = String> {
    prop_oneof![
        "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}",
        "[0-9a-f]{32}",
        "\\{[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\\}",
        "[0-9a-g-]{36}",
    ]
}

#[tokio::test]
async fn a_value_has_the_text_that_postgres_prints() {
    let database = Postgres::shared().await.database().await;
    let client = database.client().await;
    client.batch_execute("create type mood as enum ('sad', 'Happy', ' odd ')").await.expect("it is new");
    let moods = || prop::sample::select(vec!["sad", "Happy", "happy", " odd ", "odd", ""]).prop_map(str::to_owned);
    let cases: [(Equality, &str, BoxedStrategy<String>); 7] = [
        (Equality::SmallInteger, "int2", numbers().boxed()),
        (Equality::Integer, "int4", numbers().boxed()),
        (Equality::BigInteger, "int8", numbers().boxed()),
        (Equality::Boolean, "bool", booleans().boxed()),
        (Equality::Uuid, "uuid", ids().boxed()),
        (Equality::Varchar, "varchar", "[^\0]{0,6}".boxed()),
        (Equality::Enumeration(0), "mood", moods().boxed()),
    ];
    let mut runner = TestRunner::deterministic();
    for (equality, name, spelling) in cases {
        let (mut certain, mut uncertain) = (0, 0);
        // As the change stream prints it: by the type's output function.
        let printed = client.prepare(&format!("select format('%s', $1::text::{name})")).await.expect("it is a type");
        for _ in 0..SPELLINGS {
            let text = spelling.new_tree(&mut runner).expect("it makes values").current();
            let Some(canonical) = equality.canonical(&text) else {
                uncertain += 1;
                continue;
            };
            let Ok(row) = client.query_one(&printed, &[&text]).await else {
                // Where Postgres refuses the value there is no answer to be stored.
                continue;
            };
            certain += 1;
            assert_eq!(row.get::<_, &str>(0), canonical, "{text:?} as {name}");
        }
        assert!(certain > SPELLINGS / 10, "{name}: {certain} are certain, {uncertain} are not");
    }
}
