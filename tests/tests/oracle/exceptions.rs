//! Every difference that is meant, in one place. Each is a row of `docs/postgrest.md`, and each is asserted to be needed:
//! its example differs, and for no other reason.

use percent_encoding::percent_decode_str;
use reqwest::Method;
use serde_json::Value;

use transom_tests::Response;

use super::exchange::{Ask, Exchange};

/// A difference that is meant.
pub(super) struct Exception {
    pub(super) name: &'static str,
    /// a question that shows it
    pub(super) example: fn() -> Ask,
    /// makes our answer theirs, if this is all that keeps them apart
    pub(super) settle: fn(&mut Exchange),
}

const AMBIGUOUS: &str = "/projects?select=id,clients!client_id(id),payer:clients!billed_to_client(id)&clients.id=eq.1\
                         &payer.id=gt.0&order=id";

pub(super) const ALL: &[Exception] = &[
    Exception {
        name: "embedded JSON has the order of `select`, and no spaces",
        example: || Ask::get("/projects?select=name,id,clients!client_id(name,id)&order=id"),
        settle: embedded_json,
    },
    Exception {
        name: "so does that in CSV, and its columns have that order too",
        example: || Ask::get("/projects?select=id,clients!client_id(name,id)&order=id").header("Accept", "text/csv"),
        settle: embedded_json_in_csv,
    },
    Exception {
        name: "so Postgres complains about `json` where it would about `jsonb`",
        example: || Ask::get("/projects?select=details(projects(id)),open_of(id)"),
        settle: json_complained_about,
    },
    Exception {
        name: "a computed relationship beside an embedded resource in which its table is embedded again",
        example: || Ask::get("/projects?select=id,details(projects(id)),top_task(id)&top_task.id=gt.0&order=id"),
        settle: shadowed_row,
    },
    Exception {
        name: "CSV of returned rows has the names of key columns that were not selected, and not their values",
        example: || {
            let ask = Ask::new(Method::PATCH, "/serials?id=eq.1&select=n").json("{\"n\":1}");
            ask.header("Prefer", "return=representation").header("Accept", "text/csv")
        },
        settle: names_without_values,
    },
    Exception {
        name: "two embedded resources that one name in a parameter fits: the first in `select`",
        example: || Ask::get(AMBIGUOUS),
        settle: ambiguous_name,
    },
    Exception {
        name: "`Content-Location` with a parameter given twice",
        example: || Ask::get("/users?id=gt.1&id=lt.3&order=id"),
        settle: repeated_parameter,
    },
    Exception {
        name: "`Content-Type` stands twice in the error about the number of rows",
        example: || Ask::get("/users").header("Accept", "application/vnd.pgrst.object+json"),
        settle: two_content_types,
    },
    Exception {
        name: "`Content-Location` is percent-encoded",
        example: || Ask::get("/a%20table?%C3%BCn%C3%AF=eq.%C3%BC").header("Accept-Profile", "odd"),
        settle: encoded_location,
    },
    Exception {
        name: "a path with a further slash",
        example: || Ask::get("/things/1"),
        settle: |exchange| worded_alone(exchange, "PGRST125"),
    },
    Exception {
        name: "a write to a table that does not exist",
        example: || Ask::new(Method::POST, "/nosuch").json("{\"id\":1}"),
        settle: |exchange| worded_alone(exchange, "PGRST205"),
    },
    Exception {
        name: "wording of grammar errors",
        example: || Ask::get("/clients?select=id,,name"),
        settle: |exchange| without(exchange, "PGRST100", "details"),
    },
    Exception {
        name: "hint of Postgres at another resource of the statement that has the column",
        example: || {
            Ask::get(
                "/clients?select=name,parent:parent_id(parent:parent_id(id),\
                 children:clients!parent_id(parent:parent_id(other:parent_id)))&parent.children.order=parent(id)",
            )
        },
        settle: |exchange| without(exchange, "42703", "hint"),
    },
    Exception {
        name: "hint of an error about the server's own settings",
        example: || Ask::get("/clients").header("Authorization", "Bearer x"),
        settle: |exchange| without(exchange, "PGRST300", "hint"),
    },
    Exception {
        name: "an empty `Accept`",
        example: || Ask::get("/clients").header("Accept", ""),
        settle: |exchange| {
            let empty = exchange.ask.headers.iter().any(|(name, value)| *name == "Accept" && value.is_empty());
            if empty && exchange.theirs.status == 415 && matches!(exchange.ours.status, 200 | 204) {
                exchange.ours = exchange.theirs.clone();
            }
        },
    },
    Exception {
        name: "`select` beside `return=headers-only`",
        example: || {
            let ask = Ask::new(Method::PATCH, "/items?id=eq.999&select=nosuch").json("{\"name\":\"x\"}");
            ask.header("Prefer", "return=headers-only")
        },
        settle: |exchange| {
            let only = exchange.ask.headers.iter().any(|(_, value)| value.contains("return=headers-only"));
            if only && is_error(&exchange.theirs, "42703") && exchange.ours.status == 204 {
                exchange.ours = exchange.theirs.clone();
            }
        },
    },
    Exception {
        name: "`HEAD` of a function that returns one row, which a filter leaves out",
        example: || Ask::new(Method::HEAD, "/rpc/one_client?id=1&name=eq.x"),
        settle: |exchange| {
            let Exchange { ask, theirs, ours } = &exchange;
            let of_none = theirs.header("content-range") == "*/0" && ours.header("content-range") == "0-0/*";
            if ask.method == Method::HEAD && ask.target.starts_with("/rpc/") && of_none {
                exchange.adopt("content-range");
            }
        },
    },
    Exception {
        name: "a spread of what there may be many of",
        example: || Ask::get("/clients?select=id,...projects!client_id(name)"),
        settle: |exchange| {
            if is_error(&exchange.theirs, "PGRST119") && exchange.ours.status == 200 {
                exchange.ours = exchange.theirs.clone();
            }
        },
    },
];

/// Settles all but the one of that name.
pub(super) fn settle_all_but(name: &str, exchange: &mut Exchange) {
    for exception in ALL.iter().filter(|exception| exception.name != name) {
        (exception.settle)(exchange);
    }
}

/// Settles everything that is meant.
pub(super) fn settle(exchange: &mut Exchange) {
    settle_all_but("", exchange);
}

fn embedded_json(exchange: &mut Exchange) {
    if !exchange.ask.target.contains('(') {
        return;
    }
    if let (Some(theirs), Some(ours)) = (json(&exchange.theirs.body), json(&exchange.ours.body))
        && theirs == ours
    {
        exchange.ours.body.clone_from(&exchange.theirs.body);
    }
}

fn repeated_parameter(exchange: &mut Exchange) {
    let fused = fused(exchange.ours.header("content-location"));
    if exchange.theirs.header("content-location") == fused {
        exchange.adopt("content-location");
    }
}

/// `/t?a=1&a=2&b=3` as PostgREST writes it: `/t?a=1,2&b=3`.
fn fused(location: &str) -> String {
    let Some((path, query)) = location.split_once('?') else { return location.to_owned() };
    let mut parameters: Vec<(&str, String)> = Vec::new();
    for (name, value) in query.split('&').filter_map(|parameter| parameter.split_once('=')) {
        match parameters.last_mut() {
            Some((last, values)) if *last == name => values.extend([",", value]),
            _ => parameters.push((name, value.to_owned())),
        }
    }
    let query: Vec<String> = parameters.iter().map(|(name, values)| format!("{name}={values}")).collect();
    format!("{path}?{}", query.join("&"))
}

fn two_content_types(exchange: &mut Exchange) {
    let theirs: Vec<_> = exchange.theirs.headers.get_all("content-type").iter().collect();
    if exchange.theirs.status == 406
        && theirs.len() == 2
        && exchange.ours.headers.get("content-type").is_some_and(|ours| theirs.contains(&ours))
    {
        exchange.adopt("content-type");
    }
}

fn embedded_json_in_csv(exchange: &mut Exchange) {
    let csv = |answer: &Response| answer.header("content-type").starts_with("text/csv");
    if exchange.ask.target.contains('(')
        && csv(&exchange.theirs)
        && csv(&exchange.ours)
        && lines(&exchange.theirs.text()) == lines(&exchange.ours.text())
    {
        exchange.ours.body.clone_from(&exchange.theirs.body);
    }
}

/// The fields of each line of CSV, in no order: the names in the first line do not always stand above their values there.
fn lines(csv: &str) -> Vec<Vec<String>> {
    let read = |field: String| match serde_json::from_str::<Value>(&unquoted(&field)) {
        Ok(json) => json.to_string(),
        Err(_) => field,
    };
    let sorted = |line: Vec<String>| {
        let mut line: Vec<String> = line.into_iter().map(read).collect();
        line.sort_unstable();
        line
    };
    fields(csv).into_iter().map(sorted).collect()
}

fn unquoted(field: &str) -> String {
    match field.strip_prefix('"').and_then(|field| field.strip_suffix('"')) {
        Some(inner) => inner.replace("\"\"", "\"").replace("\\\\", "\\"),
        None => field.to_owned(),
    }
}

/// The fields of CSV, line by line and with their quotation marks.
fn fields(csv: &str) -> Vec<Vec<String>> {
    let mut lines = vec![vec![String::new()]];
    let mut quoted = false;
    for char in csv.chars() {
        match char {
            '\n' if !quoted => lines.push(vec![String::new()]),
            ',' if !quoted => lines.last_mut().expect("one is always begun").push(String::new()),
            char => {
                quoted ^= char == '"';
                let line = lines.last_mut().expect("one is always begun");
                line.last_mut().expect("one is always begun").push(char);
            }
        }
    }
    lines
}

fn json_complained_about(exchange: &mut Exchange) {
    if exchange.theirs.text().replace("type jsonb", "type json") == exchange.ours.text() {
        exchange.ours.body.clone_from(&exchange.theirs.body);
    }
}

/// The computed relationships of the schema.
const COMPUTED: [&str; 2] = ["top_task", "open_of"];

/// The nested resource takes the name of the row that the function is given, for whatever comes after it: which that is depends
/// on the parameters there.
fn shadowed_row(exchange: &mut Exchange) {
    let Exchange { ask, theirs, ours } = &exchange;
    let failed = |answer: &Response| {
        answer.status == 400 && (is_error(answer, "42846") || ask.method == Method::HEAD && answer.body.is_empty())
    };
    // With no or several rows where one was asked for, 406.
    let worked = |answer: &Response| matches!(answer.status, 200 | 206 | 406);
    let one_failed = failed(ours) && worked(theirs) || worked(ours) && failed(theirs);
    if one_failed && COMPUTED.iter().any(|function| ask.target.contains(function)) {
        exchange.ours = exchange.theirs.clone();
    }
}

fn names_without_values(exchange: &mut Exchange) {
    let Exchange { ask, theirs, ours } = &exchange;
    let (their_text, our_text) = (theirs.text(), ours.text());
    let (Some((their_names, their_rows)), Some((our_names, our_rows))) =
        (their_text.split_once('\n'), our_text.split_once('\n'))
    else {
        return;
    };
    let named = |name: &str| their_names.split(',').any(|theirs| theirs == name);
    if ask.method != Method::GET && their_rows == our_rows && our_names.split(',').all(named) {
        exchange.ours.body = exchange.theirs.body.clone();
    }
}

/// Which one PostgREST takes depends on the parameters that came before.
fn ambiguous_name(exchange: &mut Exchange) {
    if exchange.ask.target == AMBIGUOUS {
        exchange.ours.body.clone_from(&exchange.theirs.body);
    }
}

/// Theirs has the path as it is, and reads what it encodes as Latin-1.
fn encoded_location(exchange: &mut Exchange) {
    let ours = exchange.ours.header("content-location").to_owned();
    let decoded: String = percent_decode_str(&ours).decode_utf8_lossy().into_owned();
    let theirs = exchange.theirs.header("content-location");
    let theirs: String = percent_decode_str(theirs).decode_utf8_lossy().into_owned();
    let latin: Option<Vec<u8>> = theirs.chars().map(|char| u8::try_from(u32::from(char)).ok()).collect();
    if theirs == decoded || latin.is_some_and(|bytes| bytes == decoded.as_bytes()) {
        exchange.adopt("content-location");
    }
}

/// An error that has an empty object for a body there.
fn worded_alone(exchange: &mut Exchange, code: &str) {
    if exchange.theirs.text() == "{}" && is_error(&exchange.ours, code) {
        exchange.ours.body.clone_from(&exchange.theirs.body);
    }
}

/// One field of this error does not count.
fn without(exchange: &mut Exchange, code: &str, field: &str) {
    if !(is_error(&exchange.theirs, code) && is_error(&exchange.ours, code)) {
        return;
    }
    let cleared = |answer: &Response| {
        let mut body = json(&answer.body)?;
        body.as_object_mut()?.insert(field.to_owned(), Value::Null);
        Some(body)
    };
    if cleared(&exchange.theirs) == cleared(&exchange.ours) {
        exchange.ours.body.clone_from(&exchange.theirs.body);
    }
}

fn is_error(answer: &Response, code: &str) -> bool {
    json(&answer.body).is_some_and(|body| body["code"] == code)
}

fn json(body: &[u8]) -> Option<Value> {
    serde_json::from_slice(body).ok()
}
