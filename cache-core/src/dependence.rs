//! What an answer depends on: exactly, where the templates allow, and in any case.
//!
//! Of some answers it is known only when they are there on which rows they depend: a page, whose last row is its bound. Until
//! then such a fill carries more tags than it will need, and a few that are certain; then it is
//! [narrowed](crate::cache::FillTicket::narrowed).

use crate::{tag::Tags, template::Template};

/// The tags that an entry will carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependence {
    exact: Tags,
    /// what has to be registered for the exact tags to hear of every change
    templates: Box<[Template]>,
    /// of the exact tags those that the answer carries whatever it is; `None`: all
    certain: Option<Box<Tags>>,
    /// what hears of every change whoever knows which templates
    coarse: Tags,
}

impl Dependence {
    /// On these tags, which need no templates.
    #[must_use]
    pub fn on(tags: Tags) -> Self {
        Self { exact: tags.clone(), templates: Box::default(), certain: None, coarse: tags }
    }

    /// On `exact` tags once these templates are registered, or else on the `coarse` ones.
    #[must_use]
    pub fn exactly(exact: Tags, templates: Box<[Template]>, coarse: Tags) -> Self {
        Self { exact, templates, certain: None, coarse }
    }

    /// The same for an answer that itself tells on what else than these tags it depends, by the templates: `exact` are those that
    /// it carries until then.
    #[must_use]
    pub fn with_certain(self, tags: Tags) -> Self {
        Self { certain: Some(Box::new(tags)), ..self }
    }

    /// The tags once the templates are registered.
    #[must_use]
    pub fn exact(&self) -> &Tags {
        &self.exact
    }

    /// What has to be registered first.
    #[must_use]
    pub fn templates(&self) -> &[Template] {
        &self.templates
    }

    pub(crate) fn certain(&self) -> Option<Box<Tags>> {
        self.certain.clone()
    }

    pub(crate) fn coarse(&self) -> &Tags {
        &self.coarse
    }
}
