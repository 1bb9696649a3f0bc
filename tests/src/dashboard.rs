//! The queries of a Grafana dashboard, as Grafana would send them.

use std::path::Path;

use serde_json::Value;

use crate::repository;

/// A query and where it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PanelQuery {
    /// The title of the panel, or the name of the variable.
    pub panel: String,
    /// PromQL with every variable filled in.
    pub expression: String,
}

/// What Grafana fills in: the longer name first, where one begins with the other. The interval fits a Prometheus that
/// scrapes a few times a second.
const VARIABLES: [(&str, &str); 4] =
    [("$__rate_interval", "2s"), ("$__interval", "1s"), ("$__range", "10s"), ("$instance", ".*")];

/// Every query of the dashboard at `path` in the repository, those of its variables included.
///
/// # Panics
/// If the file is not a dashboard, or a query names a variable that nobody fills in.
#[must_use]
pub fn dashboard_queries(path: impl AsRef<Path>) -> Vec<PanelQuery> {
    let text = std::fs::read(repository().join(path)).expect("the dashboard is in the repository");
    let dashboard: Value = serde_json::from_slice(&text).expect("the dashboard is JSON");
    let mut queries = Vec::new();
    for variable in list(&dashboard["templating"]["list"]) {
        if let Some(query) = variable["query"]["query"].as_str() {
            queries.push(query_of(&variable["name"], &label_values(query)));
        }
    }
    panel_queries(&dashboard["panels"], &mut queries);
    queries
}

/// A collapsed row holds its panels within.
fn panel_queries(panels: &Value, queries: &mut Vec<PanelQuery>) {
    for panel in list(panels) {
        for target in list(&panel["targets"]) {
            queries.push(query_of(&panel["title"], target["expr"].as_str().expect("a target has an expression")));
        }
        panel_queries(&panel["panels"], queries);
    }
}

fn query_of(panel: &Value, expression: &str) -> PanelQuery {
    let fill = |text: String, (name, value): (&str, &str)| text.replace(name, value);
    let expression = VARIABLES.into_iter().fold(expression.to_owned(), fill);
    let panel = panel.as_str().expect("a panel has a title").to_owned();
    assert!(!expression.contains('$'), "{panel}: unknown variable in {expression}");
    PanelQuery { panel, expression }
}

/// Grafana's own function, not PromQL: `label_values(metric, label)`.
fn label_values(query: &str) -> String {
    let inner = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
    let (metric, label) = inner.and_then(|inner| inner.split_once(", ")).expect("the variable asks for label values");
    format!("count by ({label}) ({metric})")
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
