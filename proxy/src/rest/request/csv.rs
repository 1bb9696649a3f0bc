//! CSV as a body (RFC 4180).

use serde_json::{Map, Value};

use crate::rest::Error;

/// The lines of `text` as JSON objects, and their keys: as many of the names in the first line as the second has fields. An unquoted or quoted `NULL` is null; empty
/// lines are skipped.
pub(super) fn objects(text: &str) -> Result<(Vec<String>, Value), Error> {
    let mut lines = lines(text)?.into_iter();
    let mut header = lines.next().filter(|_| text.contains('\n')).ok_or_else(not_enough)?;
    let mut lines = lines.filter(|line| !matches!(line.as_slice(), [only] if only.is_empty())).peekable();
    // As in PostgREST: what is too much is dropped, and what the first line lacks nothing has.
    let width = lines.peek().map_or(0, Vec::len).min(header.len());
    let mut objects = Vec::new();
    for line in lines {
        if line.len().min(header.len()) != width {
            return Err(Error::InvalidBody("All lines must have same number of fields".to_owned()));
        }
        let value = |field: String| if field == "NULL" { Value::Null } else { Value::String(field) };
        objects.push(Value::Object(header.iter().cloned().zip(line.into_iter().map(value)).collect::<Map<_, _>>()));
    }
    header.truncate(width);
    Ok((header, Value::Array(objects)))
}

fn not_enough() -> Error {
    Error::InvalidBody("parse error (not enough input) at \"\"".to_owned())
}

fn lines(text: &str) -> Result<Vec<Vec<String>>, Error> {
    let mut lines = Vec::new();
    let mut line = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (field, behind) = field(rest)?;
        line.push(field);
        let ended = behind.strip_prefix("\r\n").or_else(|| behind.strip_prefix(['\n', '\r']));
        match (ended, behind.strip_prefix(',')) {
            (Some(next), _) => {
                lines.push(std::mem::take(&mut line));
                rest = next;
            }
            // A comma at the very end has an empty field behind it.
            (None, Some("")) => {
                line.push(String::new());
                rest = "";
            }
            (None, Some(next)) => rest = next,
            (None, None) if behind.is_empty() => rest = "",
            (None, None) => return Err(misplaced(behind)),
        }
    }
    if !line.is_empty() {
        lines.push(line);
    }
    Ok(lines)
}

/// The first field of `text`, and what stands behind it.
fn field(text: &str) -> Result<(String, &str), Error> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let end = text.find(['"', ',', '\n', '\r']).unwrap_or(text.len());
        let (field, behind) = text.split_at(end);
        return if behind.starts_with('"') { Err(misplaced(behind)) } else { Ok((field.to_owned(), behind)) };
    };
    let mut field = String::new();
    loop {
        // A quotation that does not end takes all that is left.
        let Some((part, behind)) = rest.split_once('"') else {
            field.push_str(rest.trim_end_matches(['\n', '\r']));
            return Ok((field, ""));
        };
        field.push_str(part);
        match behind.strip_prefix('"') {
            Some(behind) => {
                field.push('"');
                rest = behind;
            }
            None => return Ok((field, behind)),
        }
    }
}

fn misplaced(at: &str) -> Error {
    Error::InvalidBody(format!("parse error (Failed reading: satisfy) at {at:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Result<String, String> {
        match objects(text) {
            Ok((_, json)) => Ok(json.to_string()),
            Err(Error::InvalidBody(message)) => Err(message),
            Err(other) => panic!("{other:?}"),
        }
    }

    /// Each was asked of PostgREST 12.0.2.
    #[test]
    fn lines_become_objects() {
        for (text, expected) in [
            ("a,b\n1,x\n", r#"[{"a":"1","b":"x"}]"#),
            ("a,b\r\n1,\"x \"\"y\"\", z\"\r\n2,NULL", r#"[{"a":"1","b":"x \"y\", z"},{"a":"2","b":null}]"#),
            ("a,b\n5,\"NULL\"\n\n6,\n", r#"[{"a":"5","b":null},{"a":"6","b":""}]"#),
            (" a \n b ", r#"[{" a ":" b "}]"#),
            ("a\n", "[]"),
            ("a,b\n5,\"ab\n", r#"[{"a":"5","b":"ab"}]"#),
            ("a\n1,2\n", r#"[{"a":"1"}]"#),
            ("a,b\n1,", r#"[{"a":"1","b":""}]"#),
            ("a,b\n1\n2\n", r#"[{"a":"1"},{"a":"2"}]"#),
        ] {
            assert_eq!(json(text), Ok(expected.to_owned()), "{text:?}");
        }
        for (text, expected) in [
            ("", "parse error (not enough input) at \"\""),
            ("a,b", "parse error (not enough input) at \"\""),
            ("a,b\n5,x\n6", "All lines must have same number of fields"),
            ("a,b\n5,a\"b\n", "parse error (Failed reading: satisfy) at \"\\\"b\\n\""),
        ] {
            assert_eq!(json(text), Err(expected.to_owned()), "{text:?}");
        }
    }
}
