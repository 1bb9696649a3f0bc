//! What the generator knows of the tables in `schema.sql`.

/// A table or view, with everything that a request may say about it.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) columns: &'static [Column],
    pub(super) embeds: &'static [Embed],
    /// what puts its rows in one order alone
    pub(super) key: &'static str,
}

#[derive(Debug)]
pub(super) struct Column {
    /// as it is written in `select`
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// values to compare it with, as text
    pub(super) values: &'static [&'static str],
}

/// Which operators make sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Number,
    Text,
    Bool,
    Other,
    Array,
    Range,
    /// a JSON document; no operators but through paths
    Json,
    Search,
}

/// A related resource.
#[derive(Debug)]
pub(super) struct Embed {
    /// as it is written in `select`: `clients!client_id`
    pub(super) name: &'static str,
    /// as it is called in filters: a name that no other embedded resource answers to
    pub(super) alias: &'static str,
    pub(super) table: &'static str,
    pub(super) rows: Rows,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rows {
    One,
    Many,
}

const fn column(name: &'static str, kind: Kind, values: &'static [&'static str]) -> Column {
    Column { name, kind, values }
}

const fn one(name: &'static str, alias: &'static str, table: &'static str) -> Embed {
    Embed { name, alias, table, rows: Rows::One }
}

const fn many(name: &'static str, alias: &'static str, table: &'static str) -> Embed {
    Embed { name, alias, table, rows: Rows::Many }
}

const ID: Column = column("id", Kind::Number, &["1", "2", "3", "0", "-1"]);
const NAME: Column = column("name", Kind::Text, &["Ann", "Acme", "Anvil", "bolt", "*a*", "A*", ""]);

pub(super) static TABLES: &[Table] = &[
    Table {
        name: "things",
        key: "id",
        embeds: &[],
        columns: &[
            ID,
            column("big", Kind::Number, &["9007199254740993", "0", "-1"]),
            column("num", Kind::Number, &["12.5", "0", "-0.001", "99999.999"]),
            column("flo", Kind::Number, &["1.5", "NaN", "-Infinity", "1e300"]),
            column("yes", Kind::Bool, &["true", "false"]),
            column("name", Kind::Text, &["one", "two*", "*o*", "", "*\\n*"]),
            column("code", Kind::Text, &["a", "c%25", "d_", "*"]),
            column("fixed", Kind::Text, &["ab", "c"]),
            column("day", Kind::Other, &["2024-02-29", "1970-01-01", "infinity"]),
            column("at", Kind::Other, &["2024-02-29T12:34:56", "-infinity"]),
            column("at_tz", Kind::Other, &["2024-02-29T11:34:56.789Z", "1970-01-01"]),
            column("clock", Kind::Other, &["00:00", "12:34:56"]),
            column("span", Kind::Other, &["1 day", "0"]),
            column("uid", Kind::Other, &["11111111-1111-1111-1111-111111111111"]),
            column("doc", Kind::Json, &["x", "1"]),
            column("docb", Kind::Json, &["x", "1"]),
            column("ints", Kind::Array, &["{1,2}", "{}", "{5}"]),
            column("words", Kind::Array, &["{a}", "{\"b c\"}", "{}"]),
            column("range", Kind::Range, &["[1,3)", "[5,10)", "empty"]),
            column("days", Kind::Range, &["[2024-01-01,2024-01-20)", "(,2000-01-01)"]),
            column("mood", Kind::Other, &["sad", "ok", "happy"]),
            column("ip", Kind::Other, &["10.0.0.1", "fe80::1/64"]),
            column("pct", Kind::Number, &["0", "50", "7"]),
            column("pt", Kind::Other, &["\"(1,2)\""]),
            column("tsv", Kind::Search, &["fox", "dog", "fox%20%26%20dog", "quick"]),
        ],
    },
    Table {
        name: "clients",
        key: "id",
        columns: &[
            ID,
            NAME,
            column("note", Kind::Text, &["x", "", "*"]),
            column("parent_id", Kind::Number, &["1", "2"]),
        ],
        embeds: &[
            one("parent:clients!parent_id", "parent", "clients"),
            many("owned:projects!projects_client_id_fkey", "owned", "projects"),
            many("billed:projects!billed_to_client", "billed", "projects"),
        ],
    },
    Table {
        name: "projects",
        key: "id",
        columns: &[
            ID,
            NAME,
            column("client_id", Kind::Number, &["1", "2"]),
            column("billed_to", Kind::Number, &["1", "3"]),
        ],
        embeds: &[
            one("owner:clients!client_id", "owner", "clients"),
            one("payer:clients!billed_to_client", "payer", "clients"),
            one("details", "details", "details"),
            many("tasks", "tasks", "tasks"),
            many("open_tasks", "open_tasks", "open_tasks"),
            one("top_task", "top_task", "tasks"),
            many("open_of", "open_of", "tasks"),
        ],
    },
    Table {
        name: "details",
        key: "project_id",
        columns: &[column("project_id", Kind::Number, &["1", "3"]), column("text", Kind::Text, &["heavy", "t*"])],
        embeds: &[one("projects", "projects", "projects")],
    },
    Table {
        name: "tasks",
        key: "id",
        columns: &[
            ID,
            column("title", Kind::Text, &["plan", "build", "*l*"]),
            column("project_id", Kind::Number, &["1", "2"]),
            column("done", Kind::Bool, &["true", "false"]),
        ],
        embeds: &[
            one("projects", "projects", "projects"),
            many("users", "users", "users"),
            many("users_tasks", "users_tasks", "users_tasks"),
        ],
    },
    Table {
        name: "users",
        key: "id",
        columns: &[ID, NAME],
        embeds: &[many("tasks", "tasks", "tasks"), many("users_tasks", "users_tasks", "users_tasks")],
    },
    Table {
        name: "users_tasks",
        key: "user_id,task_id",
        columns: &[column("user_id", Kind::Number, &["1", "2"]), column("task_id", Kind::Number, &["1", "4"])],
        embeds: &[one("users", "users", "users"), one("tasks", "tasks", "tasks")],
    },
    Table {
        name: "units",
        key: "org,unit",
        columns: &[
            column("org", Kind::Text, &["a", "b"]),
            column("unit", Kind::Text, &["x", "y"]),
            column("size", Kind::Number, &["1", "2"]),
        ],
        embeds: &[many("members", "members", "members")],
    },
    Table {
        name: "members",
        key: "id",
        columns: &[ID, NAME, column("org", Kind::Text, &["a", "b"]), column("unit", Kind::Text, &["x", "y"])],
        embeds: &[one("units", "units", "units")],
    },
    Table {
        name: "project_names",
        key: "id",
        columns: &[ID, column("label", Kind::Text, &["Anvil", "*r*"]), column("client", Kind::Text, &["Acme"])],
        embeds: &[one("clients", "clients", "clients"), many("tasks", "tasks", "tasks")],
    },
    Table {
        name: "open_tasks",
        key: "id",
        columns: &[ID, column("title", Kind::Text, &["plan", "sell"])],
        embeds: &[one("projects", "projects", "projects"), many("users", "users", "users")],
    },
    Table {
        name: "sizes",
        key: "org",
        columns: &[column("org", Kind::Text, &["a"]), column("total", Kind::Number, &["3"])],
        embeds: &[],
    },
];

/// The table of that name.
pub(super) fn table(name: &str) -> &'static Table {
    TABLES.iter().find(|table| table.name == name).unwrap_or_else(|| panic!("{name} is not in the list"))
}
