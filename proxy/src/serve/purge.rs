//! Invalidation by command.

use cache_core::{
    coherence::{Kind, Token},
    error::RedisError,
    outcome::Source,
    tag::Tag,
};
use serde::Deserialize;

use super::Serve;
use crate::{key, rest::TableId};

/// What to purge: the body of `POST /purge`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Purge {
    /// everything in the namespace
    #[serde(default)]
    pub all: bool,
    /// answers that depend on these tables: `schema.table`, or `table` in the first schema
    #[serde(default)]
    pub tables: Vec<String>,
    /// answers that carry these tags, by their text: `public.flights(id=42)`, `public.flights(*)`
    #[serde(default)]
    pub tags: Vec<String>,
    /// answers to these URLs: path and query as a client sends them, in any variant
    #[serde(default)]
    pub urls: Vec<String>,
    /// keep what is purged for the case that Postgres fails
    #[serde(default)]
    pub soft: bool,
}

impl Purge {
    /// Whether its tags can be tags.
    ///
    /// # Errors
    /// What is wrong with the first that cannot.
    pub fn check(&self) -> Result<(), String> {
        self.tags.iter().try_for_each(|text| match key::tag(text) {
            Some(_) => Ok(()),
            None => Err(format!(
                "{text:?} is no tag; tags are schema.table(column=value,...) with the columns in alphabetical order and \
                 `column is null` for NULL, schema.table(*) for answers that any row matters to, schema.table(all) and *"
            )),
        })
    }

    /// Whether it names nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.all && self.tables.is_empty() && self.tags.is_empty() && self.urls.is_empty()
    }
}

impl Serve {
    /// Purges on all nodes, in order with all other announcements.
    ///
    /// # Errors
    /// If the peers could not be told yet. This node has purged, and they will be told as soon as Redis answers.
    pub async fn purge(&self, purge: &Purge) -> Result<Token, RedisError> {
        let kind = if purge.soft { Kind::Change } else { Kind::Purge };
        let all = purge.all.then(Tag::everything);
        let tables = purge.tables.iter().map(|table| key::whole_table(&self.table(table)));
        let tags = purge.tags.iter().filter_map(|text| key::tag(text));
        let urls = purge.urls.iter().map(|url| self.url_tag(url));
        let tags: Vec<Tag> = all.into_iter().chain(tables).chain(tags).chain(urls).collect();
        let token = self.cache.announce(tags, kind).await;
        tracing::info!(?purge, announced = token.is_ok(), "purged");
        if token.is_ok() {
            self.metrics.announced(Source::Purge);
        }
        token
    }

    fn table(&self, text: &str) -> TableId {
        match text.split_once('.') {
            Some((schema, name)) => TableId { schema: schema.into(), name: name.into() },
            None => TableId { schema: self.config.database.schemas[0].as_str().into(), name: text.into() },
        }
    }

    /// Accepts what people paste: a whole URL, or path and query.
    fn url_tag(&self, url: &str) -> Tag {
        let target = match url.split_once("://") {
            Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
            None => url,
        };
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        key::url(self.below_rest_path(path), query)
    }
}
