//! Templates: the kinds of questions whose answers can be invalidated exactly.
//!
//! An answer that was filtered by equality on `{a, b}` of a table is *of the template* `t(a,b)` and carries the one tag
//! that its values make of it. Whoever announces a changed row makes the tag of the row's old and new image for every
//! template that it knows. So an announcer must know every template that anybody fills by; this is how that is kept:
//!
//! 1. A template is **registered** before the fill begins ([`TwoTier::register`](crate::cache::TwoTier::register)), in the
//!    epoch under which the entry is stamped ([`TwoTier::begin_on`](crate::cache::TwoTier::begin_on) does both).
//! 2. Every new template makes a new **edition** of the set, and an announcement that was made from an older edition is
//!    refused without effect: its maker reads the templates again and repeats it.
//! 3. A new epoch begins with no templates, and no entry from before it is coherent in it.
//!
//! So there is no race between a new template and a change of a row that it is about. Registrations and announcements are
//! atomic in one place, hence in one order. (a) A change that was announced before the registration was visible to every
//! snapshot that was taken after it (C2), and the origin read begins after the registration: it sees the change. (b) A
//! change that is announced after the registration is announced by somebody who knows the template, or not at all. (c) If
//! the epoch changes in between, the stamp is of another epoch than the registration, and there is no ticket.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    coherence::{Epoch, Token},
    error::RedisError,
};

/// Templates that one namespace may have in one epoch.
pub const TEMPLATES_MAX: usize = 4_096;

/// A kind of question that invalidation can answer exactly, by the name that peers agree on: `public.flights(origin)`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Template(Arc<str>);

impl Template {
    /// The template of this name.
    #[must_use]
    pub fn named(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }
}

/// A state of the set of templates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edition {
    /// the history it belongs to
    pub epoch: Epoch,
    /// how many templates there are: within an epoch their set only grows, so its size tells its states apart
    pub version: u64,
}

/// The templates of a namespace as of one edition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Templates {
    /// which state of the set this is
    pub edition: Edition,
    /// the templates
    pub known: BTreeSet<Template>,
}

/// Whether an announcement that was made from an edition of the templates was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// it was
    Yes(Token),
    /// there are newer templates, or a new epoch: to be made again from [`templates`](crate::cache::TwoTier::templates)
    Outdated,
}

/// Why a template is not registered. A fill has to carry the tag of any row instead.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RegisterError {
    /// the namespace has its [`TEMPLATES_MAX`] already
    #[error("there are {TEMPLATES_MAX} templates already")]
    Full,
    /// whoever announces could not be reached
    #[error(transparent)]
    Redis(#[from] RedisError),
}
