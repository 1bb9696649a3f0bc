//! Calls of functions made up by chance.

use reqwest::Method;

use super::exchange::Ask;
use super::generator::Generator;
use super::tables::{Table, table};

/// A function in `schema.sql`.
struct Function {
    name: &'static str,
    parameters: &'static [Parameter],
    returns: Returns,
}

struct Parameter {
    name: &'static str,
    /// as JSON; with GET a string loses its quotation marks, and an array has braces
    values: &'static [&'static str],
    need: Need,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    Required,
    Default,
}

enum Returns {
    /// one value, or none
    One,
    /// rows of a table
    Rows(&'static str),
    /// rows of columns of its own, of which the first puts them in order
    Columns(&'static [&'static str]),
}

const fn required(name: &'static str, values: &'static [&'static str]) -> Parameter {
    Parameter { name, values, need: Need::Required }
}

const fn optional(name: &'static str, values: &'static [&'static str]) -> Parameter {
    Parameter { name, values, need: Need::Default }
}

const NUMBERS: &[&str] = &["1", "2", "3", "0", "-1", "\"x\"", "null"];
const LISTS: &[&str] = &["[1,2]", "[]", "[3]", "[null]"];
const TEXTS: &[&str] = &["[\"a\",\"b\"]", "[\"a b\"]", "[]"];

static FUNCTIONS: &[Function] = &[
    Function { name: "add", parameters: &[required("a", NUMBERS), optional("b", NUMBERS)], returns: Returns::One },
    Function { name: "over", parameters: &[required("a", NUMBERS), optional("b", &["1", "2"])], returns: Returns::One },
    Function { name: "join_all", parameters: &[optional("words", TEXTS)], returns: Returns::One },
    Function { name: "total", parameters: &[required("numbers", LISTS)], returns: Returns::One },
    Function { name: "label", parameters: &[required("id", NUMBERS), optional("tags", TEXTS)], returns: Returns::One },
    Function { name: "nothing", parameters: &[], returns: Returns::One },
    Function { name: "null_int", parameters: &[], returns: Returns::One },
    Function { name: "inout_arg", parameters: &[required("n", NUMBERS)], returns: Returns::One },
    Function { name: "one_out", parameters: &[], returns: Returns::One },
    Function { name: "an_array", parameters: &[required("a", LISTS)], returns: Returns::One },
    Function {
        name: "a_json",
        parameters: &[required("doc", &["{\"a\":[1]}", "[]", "1", "\"x\"", "null"])],
        returns: Returns::One,
    },
    Function {
        name: "mood_of",
        parameters: &[required("mood", &["\"sad\"", "\"ok\"", "\"mad\""])],
        returns: Returns::One,
    },
    Function { name: "odd%20name", parameters: &[required("an arg", NUMBERS)], returns: Returns::One },
    Function { name: "who", parameters: &[], returns: Returns::One },
    Function { name: "bump", parameters: &[], returns: Returns::One },
    Function { name: "list_ints", parameters: &[optional("n", NUMBERS)], returns: Returns::One },
    Function { name: "get_tasks", parameters: &[required("project", NUMBERS)], returns: Returns::Rows("tasks") },
    Function {
        name: "tasks_of",
        parameters: &[optional("done", &["true", "false", "null"]), optional("from_id", NUMBERS)],
        returns: Returns::Rows("tasks"),
    },
    Function { name: "one_client", parameters: &[required("id", NUMBERS)], returns: Returns::Rows("clients") },
    Function { name: "clients_now", parameters: &[], returns: Returns::Rows("clients") },
    Function { name: "my_notes", parameters: &[], returns: Returns::Rows("notes") },
    Function { name: "as_table", parameters: &[required("n", NUMBERS)], returns: Returns::Columns(&["num", "txt"]) },
    Function {
        name: "out_args",
        parameters: &[required("a", NUMBERS)],
        returns: Returns::Columns(&["double", "half"]),
    },
    Function { name: "get_point", parameters: &[], returns: Returns::Columns(&["x", "y"]) },
];

impl Generator {
    /// One call, by a method that reads or by `POST`; none of them changes anything.
    pub(super) fn call(&mut self) -> Ask {
        if self.chance(0.1) {
            return self.unnamed();
        }
        let function = self.pick_of(FUNCTIONS);
        let (method, arguments) = (if self.chance(0.4) { Method::POST } else { Method::GET }, self.arguments(function));
        let mut parameters = self.of_result(function, &arguments);
        let one_row = matches!(function.name, "one_client" | "out_args" | "get_point");
        let method = if method == Method::GET && !one_row && self.chance(0.1) { Method::HEAD } else { method };
        if method != Method::POST {
            parameters.extend(arguments.iter().map(|(name, value)| format!("{name}={}", in_query(value))));
            let ask = Ask::new(method, target(function.name, &parameters));
            return self.headers(ask);
        }
        let ask = Ask::new(method, target(function.name, &parameters));
        let body: Vec<String> = arguments.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        let ask = match self.random_below(12) {
            0 => {
                let form: Vec<String> = arguments
                    .iter()
                    .map(|(name, value)| format!("{}={}", name.replace(' ', "+"), in_query(value)))
                    .collect();
                ask.header("Content-Type", "application/x-www-form-urlencoded").body(form.join("&"))
            }
            1 if arguments.is_empty() => ask,
            _ => ask.json(format!("{{{}}}", body.join(","))),
        };
        self.headers(ask)
    }

    /// One argument without a name: the whole body.
    fn unnamed(&mut self) -> Ask {
        let (name, content_type) = self.pick(&[
            ("whole", "application/json"),
            ("whole", "application/json"),
            ("shout", "text/plain"),
            ("size_of", "application/octet-stream"),
            ("whole", "text/plain"),
            ("shout", "application/json"),
        ]);
        let body = self.pick(&["{\"a\":1}", "[1,null]", "loud", "", "\u{fc}\n", "\"x\"", "null"]);
        let ask = Ask::new(Method::POST, format!("/rpc/{name}")).header("Content-Type", content_type).body(body);
        self.headers(ask)
    }

    /// Some of them, as JSON.
    fn arguments(&mut self, function: &Function) -> Vec<(&'static str, &'static str)> {
        let mut arguments = Vec::new();
        for parameter in function.parameters {
            let given = match parameter.need {
                Need::Required => self.chance(0.95),
                Need::Default => self.chance(0.5),
            };
            if given {
                arguments.push((parameter.name, self.pick(parameter.values)));
            }
        }
        if self.chance(0.04) {
            arguments.push(("nosuch", "1"));
        }
        arguments
    }

    /// What is asked of the rows that come back.
    fn of_result(&mut self, function: &Function, arguments: &[(&'static str, &'static str)]) -> Vec<String> {
        let own = |parameter: &String| {
            let named = |name: &str| parameter.starts_with(&format!("{name}="));
            arguments.iter().any(|(name, _)| named(name)) || function.parameters.iter().any(|known| named(known.name))
        };
        match function.returns {
            Returns::One => Vec::new(),
            Returns::Rows(name) => {
                let table: &'static Table = table(name);
                let mut parameters = self.parameters(table);
                // Only what is selected can be filtered and ordered by, and of two complaints either may be made.
                let selected = parameters.iter().any(|one| one.starts_with("select=") && !one.starts_with("select=*"));
                let of_embedded = |one: &str| one.split('=').next().is_some_and(|name| name.contains('.'));
                parameters.retain(|one| !own(one) && (!selected || one.starts_with("select=") || of_embedded(one)));
                parameters
            }
            Returns::Columns(columns) => {
                let mut parameters = Vec::new();
                if self.chance(0.4) {
                    parameters.push(format!("select={}", self.pick(columns)));
                }
                if self.chance(0.4) {
                    parameters.push(format!("{}=gt.1", columns[0]));
                }
                parameters.push(format!("order={}{}", columns[0], self.pick(&["", ".desc"])));
                parameters
            }
        }
    }
}

/// A value as GET takes it.
fn in_query(json: &str) -> String {
    let text = match json.strip_prefix('"').and_then(|json| json.strip_suffix('"')) {
        Some(text) => text.replace("\\\"", "\""),
        None if json.starts_with('[') => json.replace('[', "{").replace(']', "}"),
        None => json.to_owned(),
    };
    text.replace('%', "%25").replace(' ', "%20").replace('+', "%2B")
}

fn target(name: &str, parameters: &[String]) -> String {
    if parameters.is_empty() { format!("/rpc/{name}") } else { format!("/rpc/{name}?{}", parameters.join("&")) }
}
