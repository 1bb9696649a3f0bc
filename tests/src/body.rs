//! The plainest value that a cache can keep.

use bytes::Bytes;
use cache_core::entry::Value;
use cache_core::error::CodecError;

/// Bytes that stand for themselves, in memory and in Redis.
#[derive(Debug, Clone, PartialEq)]
pub struct Body(pub Bytes);

impl Value for Body {
    fn weight(&self) -> usize {
        self.0.len()
    }
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }
    fn decode(bytes: Bytes) -> Result<Self, CodecError> {
        Ok(Self(bytes))
    }
}
