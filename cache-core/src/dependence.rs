//! What an answer depends on: exactly, where the templates allow, and in any case.

use crate::{tag::Slots, template::Template};

/// The slots that an entry will carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependence {
    exact: Slots,
    /// what has to be registered for the exact slots to hear of every change
    templates: Box<[Template]>,
    /// what hears of every change whoever knows which templates
    coarse: Slots,
}

impl Dependence {
    /// On these slots, which need no templates.
    #[must_use]
    pub fn on(slots: Slots) -> Self {
        Self { exact: slots.clone(), templates: Box::default(), coarse: slots }
    }

    /// On `exact` slots once these templates are registered, or else on the `coarse` ones.
    #[must_use]
    pub fn exactly(exact: Slots, templates: Box<[Template]>, coarse: Slots) -> Self {
        Self { exact, templates, coarse }
    }

    /// The slots once the templates are registered.
    #[must_use]
    pub fn exact(&self) -> &Slots {
        &self.exact
    }

    /// What has to be registered first.
    #[must_use]
    pub fn templates(&self) -> &[Template] {
        &self.templates
    }

    pub(crate) fn coarse(&self) -> &Slots {
        &self.coarse
    }
}
