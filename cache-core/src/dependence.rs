//! What an answer depends on: exactly, where the templates allow, and in any case.

use crate::{tag::Tags, template::Template};

/// The tags that an entry will carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependence {
    exact: Tags,
    /// what has to be registered for the exact tags to hear of every change
    templates: Box<[Template]>,
    /// what hears of every change whoever knows which templates
    coarse: Tags,
}

impl Dependence {
    /// On these tags, which need no templates.
    #[must_use]
    pub fn on(tags: Tags) -> Self {
        Self { exact: tags.clone(), templates: Box::default(), coarse: tags }
    }

    /// On `exact` tags once these templates are registered, or else on the `coarse` ones.
    #[must_use]
    pub fn exactly(exact: Tags, templates: Box<[Template]>, coarse: Tags) -> Self {
        Self { exact, templates, coarse }
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

    pub(crate) fn coarse(&self) -> &Tags {
        &self.coarse
    }
}
