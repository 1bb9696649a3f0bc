//! What a guard does, by a clock that stands still, over a backend that fails at will.

use parking_lot::Mutex;
use tokio::time::advance;

use super::*;

/// One lock, in memory.
#[derive(Default)]
struct Memory(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    holder: Option<(Owner, Fence, Instant)>,
    fences: u64,
    renewals: u32,
    outage: Outage,
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Outage {
    #[default]
    None,
    Refuses,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("away")]
struct Away;

impl Memory {
    fn kept(&self) -> Result<parking_lot::MutexGuard<'_, Kept>, Away> {
        let mut kept = self.0.lock();
        if kept.outage == Outage::Refuses {
            return Err(Away);
        }
        if kept.holder.as_ref().is_some_and(|(_, _, until)| *until <= Instant::now()) {
            kept.holder = None;
        }
        Ok(kept)
    }
}

impl Backend for Arc<Memory> {
    type Error = Away;

    async fn acquire(&self, _: &Name, owner: &Owner, ttl: Duration) -> Result<Attempt, Away> {
        let mut kept = self.kept()?;
        if let Some((holder, fence, until)) = &kept.holder
            && holder != owner
        {
            return Ok(Attempt::Held(Held { fence: *fence, remaining: *until - Instant::now() }));
        }
        kept.fences += 1;
        let fence = Fence(kept.fences);
        kept.holder = Some((owner.clone(), fence, Instant::now() + ttl));
        Ok(Attempt::Granted(Grant { fence, ttl }))
    }

    async fn renew(&self, _: &Name, owner: &Owner, ttl: Duration) -> Result<Renewal, Away> {
        let mut kept = self.kept()?;
        kept.renewals += 1;
        match &mut kept.holder {
            Some((holder, fence, until)) if holder == owner => {
                *until = Instant::now() + ttl;
                Ok(Renewal::Renewed(Grant { fence: *fence, ttl }))
            }
            _ => Ok(Renewal::Lost),
        }
    }

    async fn release(&self, _: &Name, owner: &Owner) -> Result<Released, Away> {
        let mut kept = self.kept()?;
        let held = kept.holder.as_ref().is_some_and(|(holder, ..)| holder == owner);
        kept.holder = kept.holder.take().filter(|_| !held);
        Ok(if held { Released::Yes } else { Released::NotHeld })
    }

    async fn look(&self, _: &Name) -> Result<Option<Held>, Away> {
        let kept = self.kept()?;
        Ok(kept.holder.as_ref().map(|(_, fence, until)| Held { fence: *fence, remaining: *until - Instant::now() }))
    }
}

const TTL: Duration = Duration::from_secs(3);

fn world() -> (Arc<Memory>, Locks<Arc<Memory>>, Name) {
    let memory = Arc::new(Memory::default());
    (memory.clone(), Locks::new(memory), Name::new("job").unwrap())
}

/// Lets time pass in steps, so that tasks run in between.
async fn pass(time: Duration) {
    for _ in 0..100 {
        advance(time / 100).await;
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_guard_renews_for_as_long_as_it_lives_and_gives_back_when_it_is_dropped() {
    let (memory, locks, name) = world();
    let guard = locks.guard(&name, TTL, Duration::ZERO).await.unwrap();
    pass(TTL * 10).await;
    assert!(guard.is_held());
    assert!(matches!(locks.guard(&name, TTL, TTL).await, Err(LockError::Held(_))), "it waited in vain");
    assert!((25..45).contains(&memory.0.lock().renewals), "{}", memory.0.lock().renewals);
    drop(guard);
    tokio::task::yield_now().await;
    let next = locks.guard(&name, TTL, Duration::ZERO).await.unwrap();
    assert_eq!(next.fence(), Fence(2));
    assert_eq!(next.release().await, Ok(Released::Yes));
    assert_eq!(locks.look(&name).await, Ok(None));
}

#[tokio::test(start_paused = true)]
async fn a_guard_survives_an_outage_that_is_shorter_than_its_ttl() {
    let (memory, locks, name) = world();
    let guard = locks.guard(&name, TTL, Duration::ZERO).await.unwrap();
    memory.0.lock().outage = Outage::Refuses;
    pass(TTL / 2).await;
    assert!(guard.is_held());
    memory.0.lock().outage = Outage::None;
    pass(TTL).await;
    assert!(guard.is_held());
}

#[tokio::test(start_paused = true)]
async fn a_guard_is_lost_before_anybody_else_can_have_the_lock() {
    let (memory, locks, name) = world();
    let guard = locks.guard(&name, TTL, Duration::ZERO).await.unwrap();
    memory.0.lock().outage = Outage::Refuses;
    let began = Instant::now();
    guard.lost().await;
    assert!(!guard.is_held());
    assert!(began.elapsed() < TTL, "{:?}", began.elapsed());
    memory.0.lock().outage = Outage::None;
    assert!(locks.look(&name).await.unwrap().is_some(), "the backend still keeps it for the one that lost it");
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_the_backend_forgot_is_lost_at_the_next_renewal() {
    let (memory, locks, name) = world();
    let guard = locks.guard(&name, TTL, Duration::ZERO).await.unwrap();
    memory.0.lock().holder = None;
    pass(TTL / 2).await;
    assert!(!guard.is_held());
    assert_eq!(guard.release().await, Ok(Released::NotHeld));
}

#[tokio::test(start_paused = true)]
async fn who_waits_gets_the_lock_when_its_holder_is_gone() {
    let (memory, locks, name) = world();
    let dead = Owner::random();
    locks.acquire(&name, &dead, TTL, Duration::ZERO).await.unwrap();
    let began = Instant::now();
    let grant = locks.acquire(&name, &Owner::random(), TTL, TTL * 2).await.unwrap();
    assert!(began.elapsed() >= TTL && began.elapsed() <= TTL + PAUSES[1], "{:?}", began.elapsed());
    assert_eq!(grant.fence, Fence(2));
    assert_eq!(locks.renew(&name, &dead, TTL).await, Ok(Renewal::Lost));
    memory.0.lock().outage = Outage::Refuses;
    assert_eq!(locks.acquire(&name, &dead, TTL, TTL).await, Err(LockError::Backend(Away)));
}
