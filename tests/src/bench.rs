//! What the benchmarks of whole servers share: servers, a light client, a closed loop of requests, and what a process used.

pub mod bare;
mod client;
mod closed_loop;
mod local;
mod server;
mod spread;
mod usage;

pub use self::client::{Answer, Client};
pub use self::closed_loop::{Lap, Load, Until};
pub use self::local::{LIFETIMES, cache};
pub use self::server::Server;
pub use self::spread::{Spread, median};
pub use self::usage::Usage;
