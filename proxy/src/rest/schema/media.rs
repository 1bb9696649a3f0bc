//! Media types that the database makes: by an aggregate over rows, or because a function returns a domain of that name
//! (<https://docs.postgrest.org/en/v12/references/api/media_type_handlers.html>).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::TableId;

/// What makes a media type.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::rest) struct Handler {
    /// the media type of the answer
    pub(in crate::rest) media: Arc<str>,
    pub(in crate::rest) maker: Maker,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::rest) enum Maker {
    /// an aggregate over anything
    OfAny(TableId),
    /// an aggregate over the rows of one relation
    OfRows(TableId, TableId),
    /// the function that is called returns it
    Itself,
}

/// All of them.
#[derive(Debug, Clone, Default, Hash)]
pub(in crate::rest) struct Handlers {
    of_any: BTreeMap<Arc<str>, Handler>,
    of: BTreeMap<TableId, BTreeMap<Arc<str>, Handler>>,
}

impl Handlers {
    /// Adds what makes `asked` of `target`: of the rows of a relation, of the result of a function, or of anything.
    pub(super) fn add(&mut self, target: Option<TableId>, asked: Arc<str>, handler: Handler) {
        let handlers = match target {
            Some(target) => self.of.entry(target).or_default(),
            None => &mut self.of_any,
        };
        handlers.insert(asked, handler);
    }

    pub(super) fn get(&self, target: Option<&TableId>, media: &str) -> Option<&Handler> {
        match target {
            Some(target) => self.of.get(target)?.get(media),
            None => self.of_any.get(media),
        }
    }
}
