//! Which functions make an answer depend on more than the rows of tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::expression::References;

/// A function as `pg_proc` has it.
#[derive(Debug, Clone)]
pub(super) struct Function {
    pub(super) name: Arc<str>,
    pub(super) volatility: Volatility,
    pub(super) origin: Origin,
    pub(super) body: Body,
}

/// What is known of what a function does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Body {
    /// nothing; if it is declared immutable that is believed
    Unknown,
    /// nothing, but whatever it is declared, its text mentions settings
    Suspicious,
    /// What it mentions. The last of the terms is what it returns.
    Known(References),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Volatility {
    Immutable,
    Stable,
    Volatile,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Builtin,
    User,
}

/// What the database says about the objects that expressions mention.
#[derive(Debug, Default)]
pub(super) struct Objects {
    pub(super) functions: BTreeMap<u32, Function>,
    /// the function behind an operator
    pub(super) operators: BTreeMap<u32, u32>,
    /// the function that reads a type from text
    pub(super) type_inputs: BTreeMap<u32, u32>,
}

/// Object ids below this belong to the system (`FirstNormalObjectId`).
pub(super) const FIRST_USER_OID: u32 = 16384;

/// Stable functions whose result depends on their arguments and on settings that are the same for every request of a
/// role: time zone, date style, locale, text search configuration. They are stable rather than immutable only because
/// such a setting could differ. Whatever reads the clock, the session or the catalogs is not here. Sorted.
const HARMLESS: &[&str] = &[
    "anytextcat",
    "array_in",
    "array_out",
    "array_to_json",
    "array_to_string",
    "cash_in",
    "cash_out",
    "concat",
    "concat_ws",
    "convert",
    "convert_from",
    "convert_to",
    "current_database",
    "date_out",
    "date_part",
    "date_trunc",
    "domain_in",
    "enum_in",
    "enum_out",
    "extract",
    "format",
    "generate_series",
    "in_range",
    "interval_in",
    "interval_out",
    "interval_pl_timestamptz",
    "json_agg",
    "json_build_array",
    "json_build_object",
    "json_object_agg",
    "json_to_record",
    "json_to_recordset",
    "jsonb_agg",
    "jsonb_build_array",
    "jsonb_build_object",
    "jsonb_object_agg",
    "jsonb_path_exists_tz",
    "jsonb_path_match_tz",
    "jsonb_path_query_array_tz",
    "jsonb_path_query_first_tz",
    "jsonb_path_query_tz",
    "jsonb_populate_record",
    "jsonb_populate_recordset",
    "jsonb_to_record",
    "jsonb_to_recordset",
    "make_timestamptz",
    "multirange_in",
    "multirange_out",
    "overlaps",
    "phraseto_tsquery",
    "plainto_tsquery",
    "quote_literal",
    "quote_nullable",
    "range_in",
    "range_out",
    "record_in",
    "record_out",
    "row_to_json",
    "textanycat",
    "time_out",
    "timestamp_out",
    "timestamptz_mi_interval",
    "timestamptz_out",
    "timestamptz_pl_interval",
    "timezone",
    "to_char",
    "to_json",
    "to_jsonb",
    "to_number",
    "to_tsquery",
    "to_tsvector",
    "ts_headline",
    "websearch_to_tsquery",
];

/// Whether a stable function that is built in depends on its arguments alone, as far as requests can tell.
pub(super) fn is_harmless(name: &str) -> bool {
    // Comparisons between dates and timestamps with time zone depend on the time zone alone.
    const OPERATORS: [&str; 7] = ["_eq_", "_ne_", "_lt_", "_le_", "_gt_", "_ge_", "_cmp_"];
    let is_time = |name: &str| matches!(name, "date" | "timestamp" | "timestamptz");
    let compares_times = OPERATORS
        .iter()
        .any(|operator| name.split_once(operator).is_some_and(|(left, right)| is_time(left) && is_time(right)));
    // A conversion between time types is named after its result. From text it would go through `..._in` instead.
    let converts_times = matches!(name, "date" | "time" | "timetz" | "timestamp" | "timestamptz");
    compares_times || converts_times || HARMLESS.binary_search(&name).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_and_what_reads_the_clock_is_not_on_it() {
        assert!(HARMLESS.is_sorted());
        for harmful in [
            "now",
            "age",
            "current_setting",
            "statement_timestamp",
            "timestamptz_in",
            "date_in",
            "version",
            "session_user",
            "pg_typeof",
            "row_security_active",
            "table_to_xml",
            "to_regclass",
        ] {
            assert!(!is_harmless(harmful), "{harmful}");
        }
        for harmless in ["to_char", "date_lt_timestamptz", "timestamptz_cmp_date", "timestamptz", "array_in"] {
            assert!(is_harmless(harmless), "{harmless}");
        }
    }
}
