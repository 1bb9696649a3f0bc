//! What this node knows to be registered, so that most fills need not ask.

use std::collections::HashSet;

use parking_lot::RwLock;

use crate::{
    coherence::Epoch,
    template::{Template, Templates},
};

/// Templates that are known to be registered in one epoch; forgotten with it. A part of what is registered.
#[derive(Debug, Default)]
pub(super) struct Registered(RwLock<Known>);

#[derive(Debug, Default)]
struct Known {
    epoch: Option<Epoch>,
    templates: HashSet<Template>,
    room: Room,
}

/// Whether there was room for more when Redis was last asked.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Room {
    #[default]
    Left,
    /// no, and so everything that is registered in this epoch is known here
    None,
}

/// What can be said without asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Belief {
    /// all of them are registered
    Registered,
    /// one of them is not, and will not be in this epoch
    Full,
    /// Redis has to be asked
    Unknown,
}

impl Registered {
    /// Whether these are registered in this epoch.
    pub(super) fn believe(&self, templates: &[Template], epoch: Epoch) -> Belief {
        let known = self.0.read();
        if known.epoch != Some(epoch) {
            return Belief::Unknown;
        }
        if templates.iter().all(|template| known.templates.contains(template)) {
            return Belief::Registered;
        }
        match known.room {
            Room::Left => Belief::Unknown,
            Room::None => Belief::Full,
        }
    }

    /// These are registered in this epoch.
    pub(super) fn learn(&self, templates: &[Template], epoch: Epoch) {
        let mut known = self.0.write();
        if known.epoch != Some(epoch) {
            *known = Known { epoch: Some(epoch), ..Known::default() };
        }
        known.templates.extend(templates.iter().cloned());
    }

    /// These are registered, and there is no room for others.
    pub(super) fn learn_all(&self, all: Templates) {
        let epoch = Some(all.edition.epoch);
        *self.0.write() = Known { epoch, templates: all.known.into_iter().collect(), room: Room::None };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::Edition;

    #[test]
    fn what_was_registered_in_another_epoch_is_unknown() {
        let [a, b] = ["t(a)", "t(b)"].map(Template::named);
        let [before, after] = [1, 2].map(|number| Epoch::from_u64(number).unwrap());
        let registered = Registered::default();
        assert_eq!(registered.believe(std::slice::from_ref(&a), before), Belief::Unknown);
        registered.learn(std::slice::from_ref(&a), before);
        assert_eq!(registered.believe(std::slice::from_ref(&a), before), Belief::Registered);
        assert_eq!(registered.believe(&[a.clone(), b.clone()], before), Belief::Unknown);
        assert_eq!(registered.believe(std::slice::from_ref(&a), after), Belief::Unknown);
        registered.learn(std::slice::from_ref(&b), after);
        assert_eq!(registered.believe(&[a], after), Belief::Unknown);
    }

    #[test]
    fn without_room_nobody_is_asked_until_the_next_epoch() {
        let [a, b] = ["t(a)", "t(b)"].map(Template::named);
        let [epoch, after] = [1, 2].map(|number| Epoch::from_u64(number).unwrap());
        let registered = Registered::default();
        registered.learn_all(Templates { edition: Edition { epoch, version: 1 }, known: [a.clone()].into() });
        assert_eq!(registered.believe(&[a], epoch), Belief::Registered);
        assert_eq!(registered.believe(std::slice::from_ref(&b), epoch), Belief::Full);
        assert_eq!(registered.believe(std::slice::from_ref(&b), after), Belief::Unknown);
        registered.learn(std::slice::from_ref(&b), after);
        assert_eq!(registered.believe(&[b], after), Belief::Registered);
    }
}
