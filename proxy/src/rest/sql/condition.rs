//! Filters and logic trees as SQL.

use super::query::write_count;
use super::source::Source;
use crate::rest::ast::{Condition, Filter, Logic, Operation, Operator, Polarity, Quantifier, TextQuery, Truth};
use crate::rest::statement::SqlWriter;
use crate::rest::tree::tested_embed;

/// What stands behind the test whether something embedded is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// the query joins it
    Joined,
    /// the query only counts, and has to look for it
    Sought,
}

/// Writes ` WHERE ...`, or nothing.
pub(super) fn write_where(sql: &mut SqlWriter, source: Source<'_>, conditions: &[&Condition]) {
    if !conditions.is_empty() {
        sql.push(" WHERE ");
        write_conditions(sql, source, conditions, Presence::Joined);
    }
}

/// Writes the conditions with `AND` between them.
pub(super) fn write_conditions(sql: &mut SqlWriter, source: Source<'_>, conditions: &[&Condition], presence: Presence) {
    sql.join(conditions, " AND ", |sql, condition| write_condition(sql, source, condition, presence));
}

/// Recurses as deep as the grammar let the tree nest.
fn write_condition(sql: &mut SqlWriter, source: Source<'_>, condition: &Condition, presence: Presence) {
    match condition {
        Condition::Filter(filter) => match tested_embed(source.embeds(), filter) {
            // A row of lists is there even if they are empty.
            Some((node, _)) if presence == Presence::Sought || node.is_spread_as_lists() => {
                let absent = filter.polarity == Polarity::Plain;
                sql.push(if absent { "NOT EXISTS (" } else { "EXISTS (" });
                write_count(sql, node, Some(source));
                sql.push(")");
            }
            Some((_, branch)) => {
                let absent = filter.polarity == Polarity::Plain;
                sql.ident(&branch.handle).push(if absent { " IS NOT" } else { " IS" }).push(" DISTINCT FROM NULL");
            }
            None => write_filter(sql, source, filter),
        },
        Condition::Group { polarity, logic, children } => {
            write_polarity(sql, *polarity);
            let separator = match logic {
                Logic::And => " AND ",
                Logic::Or => " OR ",
            };
            sql.push("(")
                .join(children, separator, |sql, child| write_condition(sql, source, child, presence))
                .push(")");
        }
    }
}

fn write_filter(sql: &mut SqlWriter, source: Source<'_>, filter: &Filter) {
    write_polarity(sql, filter.polarity);
    write_subject(sql, source, filter);
    match &filter.operation {
        Operation::Compare { operator, quantifier, value } => {
            sql.push(" ").push(operator_sql(*operator)).push(" ");
            let value = if matches!(operator, Operator::Like | Operator::Ilike) {
                // `*` stands for `%`, which URLs would have to escape.
                value.replace('*', "%")
            } else {
                value.clone()
            };
            match quantifier {
                None => sql.bind(value),
                Some(Quantifier::Any) => sql.push("ANY(").bind(value).push(")"),
                Some(Quantifier::All) => sql.push("ALL(").bind(value).push(")"),
            };
        }
        Operation::In(values) => {
            sql.push(" = ANY(").bind(array_literal(values)).push(")");
        }
        Operation::Is(truth) => {
            sql.push(match truth {
                Truth::Null => " IS NULL",
                Truth::Unknown => " IS UNKNOWN",
                Truth::True => " IS TRUE",
                Truth::False => " IS FALSE",
            });
        }
        Operation::IsDistinct(value) => {
            sql.push(" IS DISTINCT FROM ").bind(value.clone());
        }
        Operation::FullText { query, language, value } => {
            sql.push(" @@ ").push(text_query_sql(*query)).push("(");
            if let Some(language) = language {
                sql.bind(language.clone()).push(", ");
            }
            sql.bind(value.clone()).push(")");
        }
    }
}

/// Writes what is compared. Of JSON it is the texts in it that are searched: 12.0.2 has no such operator.
fn write_subject(sql: &mut SqlWriter, source: Source<'_>, filter: &Filter) {
    match &filter.operation {
        Operation::FullText { language, .. } if source.is_json(&filter.field) => {
            sql.push("to_tsvector(");
            if let Some(language) = language {
                sql.bind(language.clone()).push(", ");
            }
            source.write_field(sql, &filter.field);
            sql.push(")");
        }
        _ => source.write_field(sql, &filter.field),
    }
}

fn write_polarity(sql: &mut SqlWriter, polarity: Polarity) {
    if polarity == Polarity::Negated {
        sql.push("NOT ");
    }
}

fn operator_sql(operator: Operator) -> &'static str {
    match operator {
        Operator::Eq => "=",
        Operator::Neq => "<>",
        Operator::Gt => ">",
        Operator::Gte => ">=",
        Operator::Lt => "<",
        Operator::Lte => "<=",
        Operator::Like => "like",
        Operator::Ilike => "ilike",
        Operator::Match => "~",
        Operator::Imatch => "~*",
        Operator::Contains => "@>",
        Operator::Contained => "<@",
        Operator::Overlaps => "&&",
        Operator::StrictlyLeft => "<<",
        Operator::StrictlyRight => ">>",
        Operator::NotExtendsRight => "&<",
        Operator::NotExtendsLeft => "&>",
        Operator::Adjacent => "-|-",
    }
}

fn text_query_sql(query: TextQuery) -> &'static str {
    match query {
        TextQuery::Boolean => "to_tsquery",
        TextQuery::Plain => "plainto_tsquery",
        TextQuery::Phrase => "phraseto_tsquery",
        TextQuery::Websearch => "websearch_to_tsquery",
    }
}

/// An array with every element quoted. One empty element is how the grammar reads `in.()`: no elements.
fn array_literal(values: &[String]) -> String {
    if matches!(values, [only] if only.is_empty()) {
        return "{}".to_owned();
    }
    let mut literal = String::from("{");
    for (index, value) in values.iter().enumerate() {
        literal.push_str(if index == 0 { "\"" } else { ",\"" });
        for found in value.chars() {
            if matches!(found, '"' | '\\') {
                literal.push('\\');
            }
            literal.push(found);
        }
        literal.push('"');
    }
    literal.push('}');
    literal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn array_elements_are_quoted() {
        let literal =
            |values: &[&str]| array_literal(&values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>());
        assert_eq!(literal(&["1", "x\"y\\", "null", "a,b"]), r#"{"1","x\"y\\","null","a,b"}"#);
        assert_eq!(literal(&[""]), "{}");
        assert_eq!(literal(&["", ""]), r#"{"",""}"#);
    }
}
