//! `transom purge`: asks a node to invalidate entries, on every node of its namespace.

use clap::ArgMatches;
use http::Method;
use serde_json::{Map, Value};

use super::failure::Failure;
use super::{ask, serve};

pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let admin = matches.get_one::<String>("admin").expect("it has a default");
    let address = ask::authority(admin).map_err(Failure::Usage)?;
    let question = question(matches).to_string();
    let answer =
        serve::runtime(1)?.block_on(ask::send(&address, Method::POST, "/purge", question)).map_err(Failure::Runtime)?;
    if !answer.status.is_success() {
        return Err(Failure::Runtime(format!("the node refused ({}): {}", answer.status, answer.body.trim_end())));
    }
    println!("{}", answer.body.trim_end());
    Ok(())
}

/// What the admin listener is asked for: see `POST /purge`.
fn question(matches: &ArgMatches) -> Value {
    let mut question = Map::new();
    for (argument, key) in [("table", "tables"), ("tag", "tags"), ("url", "urls")] {
        if let Some(values) = matches.get_many::<String>(argument) {
            question.insert(key.to_owned(), values.cloned().collect());
        }
    }
    for flag in ["all", "soft"] {
        if matches.get_flag(flag) {
            question.insert(flag.to_owned(), true.into());
        }
    }
    Value::Object(question)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::args;

    fn asked(arguments: &[&str]) -> Value {
        let matches = args::command().try_get_matches_from([&["transom", "purge"], arguments].concat()).unwrap();
        question(matches.subcommand_matches("purge").unwrap())
    }

    #[test]
    fn arguments_become_the_question_of_the_contract() {
        assert_eq!(asked(&["--all"]), json!({"all": true}));
        assert_eq!(
            asked(&["--table", "public.flights", "--soft"]),
            json!({"tables": ["public.flights"], "soft": true})
        );
        assert_eq!(
            asked(&["--tag", "a", "--tag", "b", "--url", "/rest/v1/flights?id=eq.1"]),
            json!({"tags": ["a", "b"], "urls": ["/rest/v1/flights?id=eq.1"]})
        );
    }
}
