//! What a protected resource does with fences.

use std::sync::atomic::{AtomicU64, Ordering::AcqRel};

use super::Fence;

/// Remembers the highest fence that was shown, and lets no lower one pass. One per resource, where the resource is: a gate
/// beside the holder would be as frozen as the holder.
#[derive(Debug, Default)]
pub struct Gate {
    highest: AtomicU64,
}

/// A fence that is refused: somebody got the lock after this holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the fence {shown} is outdated: {highest} was shown before")]
pub struct Outdated {
    /// what was shown
    pub shown: Fence,
    /// what was shown before
    pub highest: Fence,
}

impl Gate {
    /// Lets the holder pass, or says that it is not the holder any more.
    ///
    /// # Errors
    /// If a higher fence was shown before.
    pub fn admit(&self, fence: Fence) -> Result<(), Outdated> {
        let highest = Fence(self.highest.fetch_max(fence.0, AcqRel));
        if highest > fence { Err(Outdated { shown: fence, highest }) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_after_shuts_out_who_was_before() {
        let gate = Gate::default();
        assert_eq!(gate.admit(Fence(5)), Ok(()));
        assert_eq!(gate.admit(Fence(5)), Ok(()), "the same holder again");
        assert_eq!(gate.admit(Fence(7)), Ok(()));
        assert_eq!(gate.admit(Fence(5)), Err(Outdated { shown: Fence(5), highest: Fence(7) }));
    }
}
