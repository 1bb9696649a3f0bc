//! What makes two requests the same: the raw key (same bytes) and the cache key (same question), and what an answer
//! depends on, as tags.

mod forms;
mod rows;

use std::borrow::Cow;

use cache_core::{key::CacheKey, tag::Tag};
use http::{HeaderMap, HeaderName, Method};
use percent_encoding::percent_decode_str;
use smallvec::SmallVec;

pub use self::forms::Forms;
pub use self::rows::{RowTagWriter, RowTemplate, TemplateColumn, Told, tag, tags as tags_of_rows};
use crate::{
    auth::Principal,
    rest::{Footprint, ReadPlan, TableId},
};

/// Version of the layout of a cache key: part of the key, so that two releases never share an entry by accident.
const LAYOUT: u8 = 3;

/// The number of a request header that may change what is asked. Everything else (`User-Agent`, cookies, ...) cannot.
fn significance(name: &HeaderName) -> Option<u8> {
    match name.as_str() {
        "accept" => Some(0),
        "range" => Some(1),
        "authorization" => Some(2),
        "prefer" => Some(3),
        "range-unit" => Some(4),
        "accept-profile" => Some(5),
        _ => None,
    }
}

/// The bytes of a request that decide what it asks: method, target, significant headers. Built on the stack.
pub type RawKey = SmallVec<[u8; 512]>;

/// The raw key of a request.
#[must_use]
pub fn raw(method: &Method, target: &str, headers: &HeaderMap) -> RawKey {
    let mut key = RawKey::new();
    key.extend_from_slice(method.as_str().as_bytes());
    key.push(b' ');
    key.extend_from_slice(target.as_bytes());
    // In one pass, in the order in which they came: a client that changes the order is answered all the same.
    for (name, value) in headers {
        let Some(number) = significance(name) else { continue };
        // A line break cannot be part of a target or of a header value, so parts cannot run into each other.
        key.extend_from_slice(&[b'\n', number]);
        key.extend_from_slice(value.as_bytes());
    }
    key
}

/// The cache key: everything the answer may depend on besides the data (C6). `claims` are those that it depends on. It begins
/// with its form, which is kept once for all keys of that form; and so is what its plans have in common.
#[must_use]
pub fn cache(
    namespace: &str,
    fingerprint: u128,
    principal: &Principal,
    claims: Option<&str>,
    plan: &mut ReadPlan,
    forms: &Forms,
) -> CacheKey {
    let mut form = Vec::with_capacity(plan.statement.sql.len() + 256);
    form.push(LAYOUT);
    form.extend_from_slice(&fingerprint.to_le_bytes());
    part(&mut form, Some(namespace));
    part(&mut form, principal.role.as_deref());
    part(&mut form, plan.zone);
    part(&mut form, Some(&format!("{:?}", plan.shape)));
    part(&mut form, Some(&plan.statement.sql));
    let mut rest = Vec::new();
    part(&mut rest, claims);
    for param in &plan.statement.params {
        part(&mut rest, param.0.as_deref());
    }
    CacheKey::beginning(forms.kept(form, plan), rest)
}

/// Length first, so that parts cannot run into each other; absent is not empty.
fn part(key: &mut Vec<u8>, text: Option<&str>) {
    let length = text.map_or(u32::MAX, |text| u32::try_from(text.len()).unwrap_or(u32::MAX - 1));
    key.extend_from_slice(&length.to_le_bytes());
    key.extend_from_slice(text.unwrap_or_default().as_bytes());
}

/// The tags of an answer: everything, its URL, and for each table it was read from the table as a whole and the rows that
/// matter: any, if the footprint does not say which.
pub fn tags_of_read<'a>(url: Tag, tables: &'a [TableId], footprint: &'a Footprint) -> impl Iterator<Item = Tag> + 'a {
    let rows = |table| match footprint.rows_of(table) {
        None => (Some(any_row(table)), None),
        Some(rows) => (None, Some(rows::tags(table, rows))),
    };
    let tables = tables.iter().flat_map(move |table| {
        let (any, rows) = rows(table);
        std::iter::once(whole_table(table)).chain(any).chain(rows.into_iter().flatten())
    });
    [Tag::everything(), url].into_iter().chain(tables)
}

/// The tags of a table of which rows changed and nobody knows which: every answer from it carries one of them.
pub fn some_rows(table: &TableId) -> [Tag; 2] {
    [any_row(table), whole_table(table)]
}

/// `schema.table(*)`: any row of the table changed.
#[must_use]
pub fn any_row(table: &TableId) -> Tag {
    Tag::named(&format!("{table}(*)"))
}

/// `schema.table(all)`: the table as a whole changed, or was purged.
#[must_use]
pub fn whole_table(table: &TableId) -> Tag {
    Tag::named(&format!("{table}(all)"))
}

/// The tag of a URL: the same for every way to write it and for every variant (`Accept`, `Range`, ...) of its answer.
#[must_use]
pub fn url(path: &str, query: Option<&str>) -> Tag {
    let decode = |text| percent_decode_str(text).decode_utf8_lossy();
    let mut parameters: Vec<Cow<'_, str>> = query.unwrap_or_default().split('&').map(decode).collect();
    parameters.sort_unstable();
    Tag::named(&format!("url:{}?{}", decode(path), parameters.join("&")))
}

#[cfg(test)]
mod tests {
    use http::header;

    use super::*;

    #[test]
    fn the_raw_key_sees_significant_headers_only() {
        let mut headers = HeaderMap::new();
        let plain = raw(&Method::GET, "/rest/v1/flights", &headers);
        headers.insert(header::USER_AGENT, "curl".parse().unwrap());
        assert_eq!(raw(&Method::GET, "/rest/v1/flights", &headers), plain);
        headers.insert(header::ACCEPT, "text/csv".parse().unwrap());
        assert_ne!(raw(&Method::GET, "/rest/v1/flights", &headers), plain);
        assert_ne!(raw(&Method::HEAD, "/rest/v1/flights", &HeaderMap::new()), plain);
    }

    #[test]
    fn a_url_has_one_tag_however_it_is_written() {
        let tag = url("/flights", Some("id=eq.1&select=id"));
        assert_eq!(url("/flights", Some("select=id&id=eq%2E1")), tag);
        assert_ne!(url("/flights", Some("id=eq.2&select=id")), tag);
    }
}
