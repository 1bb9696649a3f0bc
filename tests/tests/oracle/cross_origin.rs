//! What pages of other sites are told, and which methods there are.

use reqwest::Method;

use super::exchange::{Ask, Exchange};
use super::pair::{Pair, assert_alike};

/// The headers of CORS. `Access-Control-Expose-Headers` is Transom's own list, which holds PostgREST's.
const HEADERS: [&str; 4] = [
    "access-control-allow-origin",
    "access-control-allow-credentials",
    "access-control-allow-methods",
    "access-control-max-age",
];

fn of_page(ask: Ask) -> Ask {
    ask.header("Origin", "https://page.example")
}

fn preflight(target: &str) -> Ask {
    of_page(Ask::new(Method::OPTIONS, target))
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Headers", "Foo,Bar")
}

/// A list in a header, in the order of the alphabet.
fn names(exchange: &Exchange, ours: bool, header: &str) -> Vec<String> {
    let answer = if ours { &exchange.ours } else { &exchange.theirs };
    let names = answer.header(header).split(',').map(|name| name.trim().to_lowercase());
    let mut names: Vec<String> = names.filter(|name| !name.is_empty()).collect();
    names.sort();
    names
}

fn difference(exchange: &Exchange) -> Option<String> {
    let mut found = Vec::new();
    if exchange.differs_in_status() {
        found.push("status");
    }
    found.extend(HEADERS.into_iter().filter(|name| exchange.theirs.header(name) != exchange.ours.header(name)));
    if names(exchange, false, "access-control-allow-headers") != names(exchange, true, "access-control-allow-headers") {
        found.push("access-control-allow-headers");
    }
    let exposed = names(exchange, true, "access-control-expose-headers");
    if !names(exchange, false, "access-control-expose-headers").iter().all(|name| exposed.contains(name)) {
        found.push("access-control-expose-headers");
    }
    let shown = |(who, headers): (&str, &reqwest::header::HeaderMap)| format!("  {who}: {headers:?}");
    let both = [("PostgREST", &exchange.theirs.headers), ("Transom", &exchange.ours.headers)].map(shown).join("\n");
    (!found.is_empty()).then(|| format!("{found:?}\n{exchange}{both}"))
}

async fn compare(pair: &Pair) {
    let asks = [
        preflight("/clients"),
        preflight("/nosuch"),
        preflight("/rpc/add"),
        of_page(Ask::get("/clients?order=id")),
        Ask::get("/clients?order=id"),
        Ask::get("/clients?order=id").header("Origin", "https://other.example"),
        of_page(Ask::get("/nosuch")),
        of_page(Ask::new(Method::HEAD, "/clients")),
    ];
    let mut differences = Vec::new();
    for ask in asks {
        differences.extend(pair.ask(&ask).await.iter().find_map(difference));
    }
    assert_alike(differences);
}

#[tokio::test]
async fn pages_of_every_site_are_told_the_same() {
    compare(&Pair::reading().await).await;
}

#[tokio::test]
async fn pages_of_the_sites_that_a_setting_names_are_told_the_same() {
    let origins = "https://page.example,https://third.example";
    compare(&Pair::with(&[("server_cors_allowed_origins", origins)]).await).await;
}

#[tokio::test]
async fn the_methods_of_every_resource_are_the_same() {
    let resources = [
        "/clients",
        "/things",
        "/keyless",
        "/item_names",
        "/summary",
        "/upper_items",
        "/sizes",
        "/hidden",
        "/rpc/list_ints",
        "/rpc/bump",
        "/rpc/nosuch",
        "/nosuch",
        "/",
        "/clients?select=nosuch",
    ];
    let asks = resources.map(|target| Ask::new(Method::OPTIONS, target));
    Pair::reading().await.compare(asks.into()).await;
}
