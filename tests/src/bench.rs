//! What the benchmarks of whole servers share: a light client, a closed loop of requests, and what a process used.

mod client;
mod closed_loop;
mod local;
mod spread;
mod usage;

pub use self::client::{Answer, Client};
pub use self::closed_loop::{Lap, Load, Until};
pub use self::local::{LIFETIMES, cache};
pub use self::spread::{Spread, median};
pub use self::usage::Usage;
