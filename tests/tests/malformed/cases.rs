//! The cases, written by hand, and the fragments that chance puts together.

/// One wrong request.
#[derive(Clone)]
pub(super) struct Case {
    pub(super) method: &'static str,
    pub(super) path: Vec<u8>,
    pub(super) headers: String,
    pub(super) body: Vec<u8>,
    /// whether HTTP itself may refuse it, without a body
    pub(super) by_http: bool,
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let short = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(120)]).into_owned();
        write!(f, "{} {} {:?} {}", self.method, short(&self.path), self.headers, short(&self.body))
    }
}

/// HTTP itself refuses a bare `>`, so arrows go encoded.
fn arrows(path: &str) -> String {
    path.replace('>', "%3E")
}

fn get(path: impl Into<Vec<u8>>) -> Case {
    Case { method: "GET", path: path.into(), headers: String::new(), body: Vec::new(), by_http: false }
}

fn with(headers: &str, path: &str) -> Case {
    Case { headers: format!("{headers}\r\n"), ..get(path) }
}

fn send(method: &'static str, path: &str, body: impl Into<Vec<u8>>) -> Case {
    let headers = "content-type: application/json\r\n".to_owned();
    Case { method, headers, body: body.into(), ..get(path) }
}

/// Query strings on `airlines (carrier text, name text)`.
#[rustfmt::skip] // A table reads by its lines.
const QUERIES: &[&str] = &[
    // select
    "select=name,", "select=name,,carrier", "select=name::", "select=name::nonsense",
    "select=name::int", "select=nonsense", "select=*,nonsense", "select=name->", "select=name->>",
    "select=%22name", "select=x:nonsense", "select=none(id)", "select=none(", "select=none(id", "select=...none(id)",
    "select=name::int4::", "select=none!inner(id)", "select=name::text[", "select=%C3",
    // filters
    "carrier=", "carrier=eq", "carrier=nonsense.x", "carrier=.eq.x", "carrier=not.x", "carrier=not.eq", "carrier=UA",
    "carrier=not.not.eq.x", "carrier=EQ.x", "carrier=eq:x", "carrier=in.x", "carrier=in.(", "carrier=in.(a",
    "carrier=in.a)", "carrier=in.(%22a", "carrier=in", "carrier=is.x", "carrier=is.", "carrier=is.nul", "carrier=is.true",
    "carrier=eq(any.{a}", "carrier=eq(some).{a}", "carrier=eq(any).a", "carrier=eq(all).{a", "carrier=neq(any).{a}",
    "carrier=eq().a", "carrier=in(any).(a)", "carrier=fts(.x", "carrier=fts(none).x", "name=fts.a%20b", "name=fts().x",
    "name=fts(english).a%20b", "carrier=match.(", "carrier=imatch.%5B", "carrier=match.*", "carrier=match.a%7B9999%7D",
    "carrier=match.%5C", "carrier=cs.x", "carrier=cd.%7Ba%7D", "carrier=ov.%7Ba%7D", "carrier=sl.(1,2)", "carrier=sr.x",
    "carrier=nxr.x", "carrier=nxl.x", "carrier=adj.x", "nonsense=eq.x", "none.x=eq.a", "%22carrier=eq.x",
    "carrier->=eq.x", "=eq.x", "carrier=isdistinct", "carrier=like", "carrier=ilike(any).x", "%20=eq.x", "*=eq.x",
    "carrier=between.a", "carrier=@@.x", "carrier=plfts(none).x", "carrier=phfts(none).x", "carrier=wfts(none).x",
    // logic
    "and=", "and=()", "and=(", "and=)", "and=x", "and=(carrier.eq.a", "and=(carrier)", "and=(carrier.eq)",
    "or=(carrier.eq.a,)", "or=(,carrier.eq.a)", "or=carrier.eq.a", "or=(carrier.none.a)", "and=(or(carrier.eq.a)",
    "and=(not(carrier.eq.a))", "not.and=x", "and=(nor(carrier.eq.a))", "or=(carrier.in.(a,b)", "or=(carrier.in.a)",
    "xor=(carrier.eq.a)", "or=(nonsense.eq.a)", "or=(carrier.is.x)", "and=((carrier.eq.a))", "not.or=()",
    "or=(and(),or())", "none.or=(x.eq.1)",
    // order
    "order=", "order=nonsense", "order=name.", "order=,name", "order=name,", "order=.asc", "order=none(id)",
    "order=none(", "order=(", "order=name,,carrier", "order=%22name", "order=name->", "order=*", "none.order=id",
    // limit and offset
    "limit=-1", "limit=99999999999999999999", "offset=99999999999999999999", "limit=-5&offset=3", "none.limit=1",
    // bytes
    "carrier=eq.%FF", "%FF=eq.a", "carrier=eq.%00", "select=%00", "order=%FF", "and=(carrier.eq.%FF)", "limit=%FF",
    "%00", "carrier=eq.a%00b", "carrier=eq.%C3%28", "carrier=in.(%ED%A0%80)", "name=like.%F8%88%80%80%80",
];

/// Query strings on `kinds`.
#[rustfmt::skip]
const VALUES_OF_KINDS: &[&str] = &[
    "id=eq.x", "id=eq.", "id=eq.1.5", "id=eq.99999999999", "id=gt.true", "id=in.(1,x)", "id=in.(1,,2)", "id=is.true",
    "id=like.1", "id=match.1", "id=fts.x", "id=cs.1", "id=eq(any).%7B1,x%7D", "id=eq(any).%7B1", "id=isdistinct.x",
    "n=eq.1..2", "n=eq.one", "n=eq.--1", "f=eq.1e999", "f=eq.x", "f=lt.", "b=eq.maybe", "b=is.perhaps", "b=eq.2",
    "u=eq.x", "u=eq.00000000-0000-0000-0000-00000000000", "u=like.x", "d=eq.2013-02-30", "d=eq.x", "d=gt.13-13-13",
    "ts=eq.x", "ts=lt.2013-01-01T25:00:00Z", "ts=gt.9999999-01-01", "t=eq.25:00", "t=eq.x", "iv=eq.x", "iv=gt.1%20year%20x",
    "ip=eq.1.2.3", "ip=eq.999.1.1.1", "ip=cs.x", "j=eq.%7B%7D", "j=gt.1", "jb=eq.%7B", "jb=cs.x", "jb=cs.%7B%22a%22:",
    "jb->a=eq.x", "jb->=eq.1", "jb->>=eq.1", "jb->a->=eq.1", "jb->%22a=eq.1", "a=cs.1", "a=cs.%7B1,x%7D", "a=ov.%7B1",
    "a=eq.1", "r=cs.x", "r=ov.(1,2", "r=sl.%5B2,1%5D", "r=adj.1", "v=fts.a%20b", "v=fts(none).a", "y=eq.%5Cxzz", "e=eq.ugly",
    "e=gt.", "p=eq.x", "bits=eq.2222", "x=eq.%3Ca/%3E", "s=gt(any).x", "c=cs.x", "select=s::int", "select=jb::int",
    "select=id::uuid", "select=b::date", "select=a::nonsense[]", "order=j", "order=x", "order=jb->", "id=eq.1&id=eq.x",
    "jb->99999999999=eq.1", "select=jb->-99999999999",
];

/// Paths that lead nowhere.
#[rustfmt::skip]
const PATHS: &[&str] = &[
    "/", "/rest", "/rest/v1", "/rest/v2/airlines", "/rest/v1/airlines/1", "/rest/v1/%00", "/rest/v1/%FF", "/rest/v1/none",
    "/rest/v1/pg_catalog.pg_class", "/rest/v1/airlines%20", "/rest/v1/AIRLINES", "/rest/v1/rpc/none", "/rest/v1/rpc/",
    "/rest/v1/airlines;drop%20table", "/rest/v1/%22airlines%22", "/rest/v1/..%2Fairlines", "/rest/v1/air'lines",
    "/rest/v1/public.airlines", "/rest/v1airlines", "//rest/v1/airlines", "/rest/v1/%E2%98%83", "/rest/v1/a%0D%0Ab",
];

/// Headers that ask for the impossible, and of what.
#[rustfmt::skip]
const HEADERS: &[(&str, &str)] = &[
    ("range: 5-2", "/rest/v1/airlines"),
    ("range: 50-\r\nprefer: count=exact", "/rest/v1/airlines"),
    ("prefer: handling=strict, nonsense", "/rest/v1/airlines"),
    ("prefer: handling=strict, return=everything", "/rest/v1/airlines"),
    ("prefer: handling=strict, count=most", "/rest/v1/airlines"),
    ("accept: application/xml", "/rest/v1/airlines"),
    ("accept: text/html, image/png", "/rest/v1/airlines"),
    ("accept: nonsense", "/rest/v1/airlines"),
    ("accept: application/vnd.pgrst.object+json", "/rest/v1/airlines"),
    ("accept: application/vnd.pgrst.object+json", "/rest/v1/airlines?carrier=eq.none"),
    ("accept-profile: nonsense", "/rest/v1/airlines"),
    ("accept-profile: pg_catalog", "/rest/v1/pg_class"),
    ("accept-profile: Public", "/rest/v1/airlines"),
    ("accept-profile: other", "/rest/v1/airlines"),
    ("transom-min-token: nonsense", "/rest/v1/airlines"),
    ("transom-min-token: 1:2:3", "/rest/v1/airlines"),
];

/// Bodies of a `POST` to `airlines`.
#[rustfmt::skip]
const BODIES: &[&str] = &[
    "", " ", "{", "[", "]", "{]", "[{]", "{\"carrier\"}", "{\"carrier\":}", "{\"carrier\":\"a\"", "nonsense", "nul",
    "{'carrier':'a'}", "{\"carrier\":\"a\",}", "[1]", "[[]]", "[null]", "[{},1]", "[{\"carrier\":\"a\"},{\"name\":\"b\"}]",
    "[{\"carrier\":\"a\",\"name\":\"b\"},{\"carrier\":\"c\"}]", "{\"carrier\":\"a\"} x", "{\"carrier\":\"a\"}{}", "[,]", "\"\\u12",
    "{\"nonsense\":1}", "{\"carrier\":\"\\u0000\",\"name\":\"x\"}", "{\"\\u0000\":1}", "{\"carrier\":\"\\ud800\",\"name\":\"x\"}",
    "{\"carrier\":null,\"name\":\"x\"}", "{\"carrier\":\"QQ\"}", "{\"\":1}", "{\"carrier\":01}", "{\"carrier\":+1}", "{\"carrier\":NaN}",
];

/// Bodies of a `POST` to `kinds`.
#[rustfmt::skip]
const BODIES_OF_KINDS: &[&str] = &[
    "{\"id\":\"x\"}", "{\"id\":1.5}", "{\"id\":99999999999}", "{\"id\":2,\"b\":\"maybe\"}", "{\"id\":2,\"u\":\"x\"}",
    "{\"id\":2,\"d\":\"2013-02-30\"}", "{\"id\":2,\"e\":\"ugly\"}", "{\"id\":2,\"p\":-1}", "{\"id\":2,\"a\":5}", "{\"id\":2,\"a\":[\"x\"]}",
    "{\"id\":2,\"r\":\"[2,1]\"}", "{\"id\":2,\"c\":\"toolong\"}", "{\"id\":2,\"bits\":\"2\"}", "{\"id\":2,\"ip\":\"x\"}", "{\"id\":1}",
    "{\"id\":[]}", "{\"id\":{}}", "{\"id\":null}", "{\"id\":2,\"x\":\"<a>\"}", "{\"id\":2,\"iv\":\"x\"}",
];

/// Everything that must be refused.
pub(super) fn all() -> Vec<Case> {
    let airlines = QUERIES.iter().map(|query| get(arrows(&format!("/rest/v1/airlines?{query}"))));
    let kinds = VALUES_OF_KINDS.iter().map(|query| get(arrows(&format!("/rest/v1/kinds?{query}"))));
    let paths = PATHS.iter().map(|path| get(*path));
    let headers = HEADERS.iter().map(|(headers, path)| with(headers, path));
    let bodies = BODIES.iter().map(|body| send("POST", "/rest/v1/airlines", *body));
    let kind_bodies = BODIES_OF_KINDS.iter().map(|body| send("POST", "/rest/v1/kinds", *body));
    airlines
        .chain(kinds)
        .chain(paths)
        .chain(headers)
        .chain(bodies)
        .chain(kind_bodies)
        .chain(large())
        .chain(odd())
        .collect()
}

fn large() -> Vec<Case> {
    let nested = |depth: usize| format!("{}id.eq.1{}", "and(".repeat(depth), ")".repeat(depth));
    let by_http = |case: Case| Case { by_http: true, ..case };
    vec![
        get(format!("/rest/v1/kinds?and=({})", nested(40))),
        get(format!("/rest/v1/kinds?and=({})", nested(10_000))),
        get(format!("/rest/v1/kinds?and={}", "(".repeat(10_000))),
        get(format!("/rest/v1/kinds?select={}id{}", "a(".repeat(10_000), ")".repeat(10_000))),
        get(format!("/rest/v1/kinds?select=id::{}", "(".repeat(10_000))),
        get(format!("/rest/v1/kinds?select={}", vec!["none"; 10_000].join(","))),
        get(format!("/rest/v1/kinds?select={}", vec!["id"; 2_000].join(","))),
        get(format!("/rest/v1/kinds?select=jb{}", "-%3Ea".repeat(10_000))),
        get(format!("/rest/v1/kinds?order={}", "none,".repeat(10_000))),
        get(format!("/rest/v1/kinds?{}", "id=eq.1&".repeat(600))),
        get(format!("/rest/v1/kinds?or=({})", vec!["id.eq.1"; 2_000].join(","))),
        get(format!("/rest/v1/kinds?id=in.({})", vec!["x"; 30_000].join(","))),
        by_http(get(format!("/rest/v1/kinds?s=eq.{}", "x".repeat(100_000)))),
        by_http(get(format!("/rest/v1/{}", "x".repeat(100_000)))),
        get(format!("/rest/v1/{}", "x".repeat(60_000))),
        with(&format!("accept: {}", "text/html,".repeat(1_000)), "/rest/v1/kinds"),
        send("POST", "/rest/v1/kinds", format!("{{\"id\":7,\"j\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000))),
        send("POST", "/rest/v1/kinds", "[".repeat(100_000)),
        send("POST", "/rest/v1/kinds", "{\"id\":".repeat(100_000)),
    ]
}

fn odd() -> Vec<Case> {
    let by_http = |case: Case| Case { by_http: true, ..case };
    let typed = |content_type: &str, body: &str| Case {
        headers: format!("content-type: {content_type}\r\n"),
        ..send("POST", "/rest/v1/airlines", body)
    };
    vec![
        by_http(get(b"/rest/v1/airlines?carrier=eq.\xff\xfe".to_vec())),
        by_http(get(b"/rest/v1/air\0lines".to_vec())),
        by_http(get(b"/rest/v1/airlines?carrier=eq.\x01".to_vec())),
        by_http(get(b"*".to_vec())),
        by_http(get(b"nonsense".to_vec())),
        send("POST", "/rest/v1/airlines", b"{\"carrier\":\"\xff\"}".to_vec()),
        send("POST", "/rest/v1/airlines?columns=nonsense", "{\"carrier\":\"a\"}"),
        send("POST", "/rest/v1/airlines?columns=(", "{\"carrier\":\"a\"}"),
        send("POST", "/rest/v1/airlines?columns=", "{\"carrier\":\"a\"}"),
        send("POST", "/rest/v1/airlines?columns=carrier,,name", "{\"carrier\":\"a\"}"),
        send("POST", "/rest/v1/airlines?columns=carrier,name", "{\"carrier\":"),
        send("POST", "/rest/v1/airlines?columns=carrier,name", "5"),
        send("POST", "/rest/v1/airlines?columns=carrier,name", "[5]"),
        Case {
            headers: "prefer: return=representation\r\n".to_owned(),
            ..send("POST", "/rest/v1/airlines?select=nonsense", "{\"carrier\":\"a\",\"name\":\"a\"}")
        },
        send("PATCH", "/rest/v1/airlines?carrier=none.UA", "{\"name\":\"a\"}"),
        send("PATCH", "/rest/v1/airlines?carrier=eq.UA", "{\"nonsense\":\"a\"}"),
        send("PATCH", "/rest/v1/airlines?carrier=eq.UA", "{"),
        send("PATCH", "/rest/v1/airlines?carrier=eq.UA&limit=1", "{\"name\":\"a\"}"),
        send("PATCH", "/rest/v1/none?carrier=eq.UA", "{\"name\":\"a\"}"),
        send("PATCH", "/rest/v1/kinds?id=eq.1", "{\"id\":\"x\"}"),
        send("DELETE", "/rest/v1/airlines?carrier=none.UA", ""),
        send("DELETE", "/rest/v1/airlines?nonsense=eq.UA", ""),
        send("DELETE", "/rest/v1/airlines?limit=1", ""),
        send("DELETE", "/rest/v1/none", ""),
        send("TRACE", "/rest/v1/airlines", ""),
        send("NONSENSE", "/rest/v1/airlines", ""),
        typed("application/xml", "<a/>"),
        typed("text/plain", "x"),
        typed("nonsense", "{}"),
        typed("multipart/form-data", "x"),
        typed("text/csv", "carrier,name\nonly-one"),
        typed("application/x-www-form-urlencoded", "nonsense=1"),
        typed("application/x-www-form-urlencoded", "carrier=%FF"),
        typed("application/x-www-form-urlencoded", "carrier=%00"),
    ]
}

#[rustfmt::skip]
pub(super) const COLUMNS: &[&str] = &[
    "id", "n", "f", "b", "u", "d", "ts", "t", "iv", "ip", "j", "jb", "a", "r", "v", "y", "e", "p", "bits", "x", "s", "c",
    "jb-%3Ea", "jb-%3E%3Ea", "jb-%3Ea-%3E0", "j-%3Ea", "a-%3E0", "s-%3Ex", "carrier", "name", "none", "%22s%22", "kinds.id",
];

#[rustfmt::skip]
pub(super) const OPERATORS: &[&str] = &[
    "eq", "neq", "gt", "gte", "lt", "lte", "like", "ilike", "match", "imatch", "in", "is", "isdistinct", "fts", "plfts",
    "phfts", "wfts", "fts(english)", "cs", "cd", "ov", "sl", "sr", "nxr", "nxl", "adj", "eq(any)", "eq(all)", "like(any)",
    "gt(all)", "ilike(any)", "nonsense", "eq(", "",
];

#[rustfmt::skip]
pub(super) const VALUES: &[&str] = &[
    "1", "0", "-1", "1.5", "x", "", "*", "a*b", "true", "null", "unknown", "2013-01-01", "now", "infinity", "NaN", "1e400",
    "99999999999999999999", "(1,2)", "(x)", "()", "(%22a%22,b)", "%7B1,2%7D", "%7B%7D", "%7B%22a%22:1%7D", "[1,2]", "[1,2)",
    "%5B1,", "empty", "(", ")", "%25", "%5C", "%27", "%22", "--", ";", "$1", "%241", "a%20b", "a%26b", "a|b", "!a", "a:*",
    "00000000-0000-0000-0000-000000000000", "1.2.3.4", "1.2.3.0/24", "good", "101", "%C3%A9", "%F0%9F%A6%80", "\\x00", "1%20day",
];

#[rustfmt::skip]
pub(super) const GRAMMAR: &[&str] = &[
    "select=", "order=", "limit=", "offset=", "and=", "or=", "not.and=", "not.or=", "columns=", "select", "=", "&", ",", ".", "(",
    ")", "::", "::text", "::int", "::date", ":", "-%3E", "-%3E%3E", "!", "...", "*", "%22", "not.", "and(", "or(", "not.and(", "eq.",
    "in.(", "is.null", "desc", ".asc", ".desc", ".nullsfirst", ".nullslast", "1", "-1", "0", "%00", "%FF", "%", "%2", "%zz", "+",
    "%20", ";", "'", "$", "{", "}", "[", "]", "\\", "/", "?", "@", "~", "^", "|", "--", "/*", "count()", ".sum()", "none(id)",
];

#[rustfmt::skip]
pub(super) const JSON: &[&str] = &[
    "{", "}", "[", "]", ",", ":", "\"id\":", "\"s\":", "\"a\":", "\"j\":", "\"none\":", "1", "-1", "1e999", "\"x\"", "null", "true",
    "[1,2]", "{\"id\":900}", "{\"id\":1}", "{\"s\":\"\\u0000\"}", "{\"s\":\"x\"}", "\\", "\u{e9}", " ",
];
