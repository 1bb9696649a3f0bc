//! The schema was read again: what has to be covered is something else, and so may be what is.

use super::{Coverage, Ended, Endpoint, Feed, Kind, REMEDY};
use crate::{error::Error, rest::TableId};

impl Feed {
    /// The schema was read again, and answers depend on these tables now. Learns anew which of them are covered: a table
    /// or partition may have come under the same publication, or left it. What triggers cover has another version whenever it
    /// is something else, and whoever reads what they record looks at that with every heartbeat.
    ///
    /// # Errors
    /// If Postgres does not tell.
    pub async fn needs(&self, needed: Vec<TableId>) -> Result<(), Error> {
        self.needed.now(needed);
        if self.kind != Some(Kind::Logical) {
            return Ok(());
        }
        let mut answer = Ok(());
        for endpoint in &self.endpoints {
            answer = self.cover_again(endpoint).await;
            if answer.is_ok() {
                break;
            }
        }
        answer.map_err(|ended| Error::Unreachable { reason: ended.to_string() })
    }

    async fn cover_again(&self, endpoint: &Endpoint) -> Result<(), Ended> {
        let client = endpoint.connect().await?;
        if client.query_one("SELECT pg_is_in_recovery()", &[]).await?.try_get(0)? {
            return Err(Ended::Postgres("this server is a standby".to_owned()));
        }
        let coverage = Coverage::load(&client).await?;
        // Of another publication the task of the feed learns, and ends the session that reads the one before.
        if coverage.version() == self.covering.current().version() && self.covering.update(coverage) {
            self.needed.report(&self.covering.current(), REMEDY);
        }
        Ok(())
    }
}
