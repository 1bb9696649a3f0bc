//! What a node can tell operators of its tables.

use cache_core::error::RedisError;

use super::Serve;
use crate::{distinct, feed, rest::TableId};

impl Serve {
    /// How exactly the changes of each table are announced; `None` without a feed.
    pub(crate) fn precision(&self) -> Option<Vec<feed::Report>> {
        let coverage = self.feed.coverage();
        coverage.size().map(|_| feed::report(&self.schema.load(), &coverage))
    }

    /// How many different keys were asked of each table, and by how many different users.
    pub(crate) async fn asked(&self) -> Result<distinct::Report, RedisError> {
        let tables: Vec<TableId> = self.schema.load().relations().map(|relation| relation.id.clone()).collect();
        self.distinct.report(&tables).await
    }
}
