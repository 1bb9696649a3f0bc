//! Private ports on the loopback interface.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use rand::Rng as _;
use tokio::net::TcpStream;

use crate::eventually;

/// Below the range from which Linux takes the ports of outgoing connections (32768 upward), so that no client takes a
/// port between our look at it and the server's bind.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// A port nobody listens on. Within a process no port is given out twice; processes begin at random places.
///
/// # Panics
/// If every port of the range is taken.
#[must_use]
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    if NEXT.load(Ordering::Relaxed) == 0 {
        let start = rand::rng().random_range(1..COUNT);
        // Whoever comes second keeps the first one's place.
        let _ = NEXT.compare_exchange(0, start, Ordering::Relaxed, Ordering::Relaxed);
    }
    for _ in 0..COUNT {
        let port = FIRST + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free between {FIRST} and {}", FIRST + COUNT);
}

/// Waits until something accepts connections on a loopback port.
///
/// # Panics
/// If nothing does `within`.
pub async fn wait_for_port(port: u16, within: Duration) {
    eventually(&format!("port {port} accepts connections"), within, || TcpStream::connect(("127.0.0.1", port))).await;
}
