//! The answer in the rows that a statement yields.

use std::error::Error as StdError;

use bytes::Bytes;
use tokio_postgres::types::{FromSql, Type};

use super::{
    Failure,
    connection::{Answers, Place},
    wire::Row,
};
use crate::rest::{Answer, Said, Yields};

/// The column of the body.
const BODY: usize = 2;
/// The column of what not all have.
const TAIL: usize = 5;

/// What a statement that yields this came to.
///
/// # Errors
/// If its rows are not what it yields.
pub(super) fn answer(answers: &Answers, place: Place, yields: Yields) -> Result<Answer, Failure> {
    match yields {
        Yields::Answer => answer_in(&answers.one(place)?, &answers.yields(place).raw(BODY)),
        Yields::Page => page_in(&answers.one(place)?, &answers.yields(place).raw(BODY)),
        Yields::Lines => lines(&answers.rows(place)?),
    }
}

/// The lines of an execution plan; in JSON it is one.
fn lines(rows: &[Row]) -> Result<Answer, Failure> {
    let mut body = Vec::new();
    for row in rows {
        body.extend_from_slice(row.get::<Raw<'_>>(0, &Type::BYTEA)?.0);
        body.push(b'\n');
    }
    Ok(Answer { total: None, page: 0, body: body.into(), said: Said::default(), location: None, end: None })
}

/// Reads the one row by position: `total_result_set`, `page_total`, `body`, `response_headers`, `response_status`, and for
/// writes `location`.
fn answer_in(row: &Row, body: &Type) -> Result<Answer, Failure> {
    let location = if row.len() > TAIL { row.get(TAIL, &Type::TEXT_ARRAY)? } else { None };
    Ok(Answer { location, ..parts_in(row, body)? })
}

/// The same of a page, in which `page_end` comes last.
fn page_in(row: &Row, body: &Type) -> Result<Answer, Failure> {
    Ok(Answer { end: row.get(TAIL, &Type::INT8)?, ..parts_in(row, body)? })
}

/// What all have.
fn parts_in(row: &Row, body: &Type) -> Result<Answer, Failure> {
    Ok(Answer {
        total: row.get(0, &Type::INT8)?,
        page: row.get(1, &Type::INT8)?,
        // Copied, lest a small answer keep all that was read with it.
        body: row.get::<Option<Raw<'_>>>(BODY, body)?.map_or_else(Bytes::new, |raw| Bytes::copy_from_slice(raw.0)),
        said: Said { headers: row.get(3, &Type::TEXT)?, status: row.get(4, &Type::TEXT)? },
        location: None,
        end: None,
    })
}

/// A value of any type as PostgreSQL sends it, which for texts, `json`, `xml` and `bytea` is the bytes themselves.
struct Raw<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(of: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        // A version comes first (`jsonb_send`).
        Ok(Self(if *of == Type::JSONB { raw.get(1..).unwrap_or_default() } else { raw }))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// The number of rows in the outermost node of a plan in JSON, in the column of this type.
///
/// # Errors
/// If there is no such column.
pub(super) fn planned_rows(row: &Row, of: &Type) -> Result<Option<i64>, Failure> {
    let plan = row.get::<Raw<'_>>(0, of)?.0;
    Ok(rows_of_plan(plan))
}

fn rows_of_plan(plan: &[u8]) -> Option<i64> {
    let plan: serde_json::Value = serde_json::from_slice(plan).ok()?;
    plan.get(0)?.get("Plan")?.get("Plan Rows")?.as_i64()
}
