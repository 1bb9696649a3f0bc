//! A connection of bytes, for what no well-behaved client sends.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longer than any limit that a test sets: whatever takes so long hangs.
const PATIENCE: Duration = Duration::from_secs(15);

/// A connection to a port of this machine.
#[derive(Debug)]
pub struct Wire(TcpStream);

impl Wire {
    /// Connects.
    ///
    /// # Panics
    /// If nobody listens.
    pub async fn to(port: u16) -> Self {
        let stream =
            timeout(PATIENCE, TcpStream::connect(("127.0.0.1", port))).await.expect("connecting does not hang");
        Self(stream.expect("somebody listens"))
    }

    /// Sends these bytes. That the other side has closed meanwhile is for the reader to find out.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let sent = timeout(PATIENCE, self.0.write_all(bytes.as_ref())).await;
        drop(sent.expect("the other side takes what is sent"));
        self
    }

    /// Says that nothing more will be sent.
    pub async fn finish(&mut self) -> &mut Self {
        drop(self.0.shutdown().await);
        self
    }

    /// Everything up to the end of the connection.
    ///
    /// # Panics
    /// If the other side neither sends nor closes for long.
    pub async fn read_to_end(&mut self) -> String {
        let mut bytes = Vec::new();
        // A reset ends it as well as an orderly close does; what came before stays.
        drop(timeout(PATIENCE, self.0.read_to_end(&mut bytes)).await.expect("the other side closes"));
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Reads until `text` has come.
    ///
    /// # Panics
    /// If it does not.
    pub async fn read_until(&mut self, text: &str) -> String {
        let mut read = Vec::new();
        loop {
            let so_far = String::from_utf8_lossy(&read).into_owned();
            if so_far.contains(text) {
                return so_far;
            }
            let mut chunk = [0; 4_096];
            let length = timeout(PATIENCE, self.0.read(&mut chunk)).await.expect("the other side answers");
            match length {
                Ok(length) if length > 0 => read.extend_from_slice(&chunk[..length]),
                end => panic!("{end:?} before {text:?}: {so_far:?}"),
            }
        }
    }
}
