//! What a filter is made for, and how that is written in front of its bits.

use std::{f64::consts::LN_2, time::Duration};

use super::Filter;
use crate::error::RedisError;

/// Most memory of a filter: Redis claims it at once, and does nothing else meanwhile.
pub const BYTES_MAX: u64 = 64 << 20;
/// Most items that a filter may be made for, if its error rate allows as many within [`BYTES_MAX`].
pub const CAPACITY_MAX: u64 = 370_000_000;
/// Lowest error rate.
pub const ERROR_RATE_MIN: f64 = 1e-6;
/// Highest error rate: beyond it, a filter is hardly worth to be asked.
pub const ERROR_RATE_MAX: f64 = 0.5;

/// Bytes in front of the bits.
pub(super) const HEADER_BYTES: usize = 40;
/// What the header begins with: a new layout has another one, and filters of the old one are not found any more.
const MAGIC: [u8; 4] = *b"TEX1";

/// What a filter is made for: so many items, and how often something else is taken for one of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    capacity: u64,
    error_rate: f64,
}

/// Why there is no such [`Shape`].
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum InvalidShape {
    /// none, or more than [`CAPACITY_MAX`]
    #[error("capacity must be from 1 to {CAPACITY_MAX}")]
    Capacity,
    /// out of bounds, or no number
    #[error("error_rate must be from {ERROR_RATE_MIN} to {ERROR_RATE_MAX}")]
    ErrorRate,
    /// more memory than [`BYTES_MAX`]
    #[error("such a filter takes {bytes} bytes, but {BYTES_MAX} are the most: lower capacity, or raise error_rate")]
    Bytes {
        /// what it would take
        bytes: u64,
    },
}

impl Shape {
    /// A filter for so many items.
    ///
    /// # Errors
    /// If a bound is exceeded.
    pub fn new(capacity: u64, error_rate: f64) -> Result<Self, InvalidShape> {
        if !(1..=CAPACITY_MAX).contains(&capacity) {
            return Err(InvalidShape::Capacity);
        }
        if !(ERROR_RATE_MIN..=ERROR_RATE_MAX).contains(&error_rate) {
            return Err(InvalidShape::ErrorRate);
        }
        let shape = Self { capacity, error_rate };
        if shape.bytes() > BYTES_MAX { Err(InvalidShape::Bytes { bytes: shape.bytes() }) } else { Ok(shape) }
    }

    /// How many items it is made for.
    #[must_use]
    pub fn capacity(self) -> u64 {
        self.capacity
    }

    /// How often something else is taken for one of them, when all are in.
    #[must_use]
    pub fn error_rate(self) -> f64 {
        self.error_rate
    }

    /// Bytes that it takes in Redis.
    #[must_use]
    pub fn bytes(self) -> u64 {
        HEADER_BYTES as u64 + self.bits() / 8
    }

    /// `-n ln p / (ln 2)^2` (Bloom, 1970), in whole bytes.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "positive, and far below 2^53 by the bounds"
    )]
    fn bits(self) -> u64 {
        let bits = -(self.capacity as f64) * self.error_rate.ln() / (LN_2 * LN_2);
        (bits.ceil() as u64).next_multiple_of(8)
    }

    /// Bits per item, which is right for any capacity: `-log2 p`.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "from 1 to 20, by the bounds of the error rate"
    )]
    fn hashes(self) -> u32 {
        (-self.error_rate.log2()).round().max(1.0) as u32
    }

    /// How often something else is taken for one of so many.
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    pub(super) fn error_rate_with(self, added: u64) -> f64 {
        let hashes = f64::from(self.hashes());
        (1.0 - (-hashes * added as f64 / self.bits() as f64).exp()).powf(hashes)
    }
}

/// What stands in front of the bits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Header {
    shape: Shape,
    added: u64,
}

impl Header {
    /// Of an empty filter.
    pub(super) fn of(shape: Shape) -> Self {
        Self { shape, added: 0 }
    }

    pub(super) fn filter(self, expires_in: Option<Duration>) -> Filter {
        Filter { shape: self.shape, added: self.added, expires_in }
    }

    /// Magic, capacity, error rate, bits, hashes, added: little-endian, as `header.lua` reads it.
    pub(super) fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..12].copy_from_slice(&self.shape.capacity.to_le_bytes());
        bytes[12..20].copy_from_slice(&self.shape.error_rate.to_le_bytes());
        bytes[20..28].copy_from_slice(&self.shape.bits().to_le_bytes());
        bytes[28..32].copy_from_slice(&self.shape.hashes().to_le_bytes());
        bytes[32..].copy_from_slice(&self.added.to_le_bytes());
        bytes
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Self, RedisError> {
        let foreign = || RedisError::Protocol("this is no header of a filter".to_owned());
        let bytes: &[u8; HEADER_BYTES] = bytes.try_into().map_err(|_| foreign())?;
        let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| bytes[at + byte]));
        let shape = Shape::new(number(4), f64::from_bits(number(12))).map_err(|_| foreign())?;
        if bytes[..4] == MAGIC { Ok(Self { shape, added: number(32) }) } else { Err(foreign()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_keeps_its_bounds() {
        let million = Shape::new(1_000_000, 0.01).unwrap();
        assert_eq!((million.bytes(), million.hashes()), (1_198_133 + 40, 7));
        assert_eq!(Shape::new(1, 0.5).unwrap().hashes(), 1);
        assert_eq!(Shape::new(1, ERROR_RATE_MIN).unwrap().hashes(), 20);
        for (capacity, rate, why) in [
            (0, 0.01, InvalidShape::Capacity),
            (CAPACITY_MAX + 1, 0.5, InvalidShape::Capacity),
            (1, 0.0, InvalidShape::ErrorRate),
            (1, 0.6, InvalidShape::ErrorRate),
            (1, f64::NAN, InvalidShape::ErrorRate),
        ] {
            assert_eq!(Shape::new(capacity, rate), Err(why), "{capacity} {rate}");
        }
        assert!(matches!(Shape::new(100_000_000, 0.001), Err(InvalidShape::Bytes { bytes }) if bytes > BYTES_MAX));
    }

    #[test]
    fn a_header_is_read_as_it_is_written() {
        let header = Header { shape: Shape::new(12_345, 0.001).unwrap(), added: 678 };
        assert_eq!(Header::read(&header.to_bytes()).unwrap(), header);
        let mut foreign = header.to_bytes();
        foreign[3] = b'2';
        assert!(Header::read(&foreign).is_err() && Header::read(b"").is_err());
    }

    #[test]
    fn the_error_rate_is_reached_with_the_capacity_and_grows_beyond() {
        let shape = Shape::new(1_000, 0.01).unwrap();
        assert_eq!(shape.error_rate_with(0), 0.0);
        assert!((0.009..0.011).contains(&shape.error_rate_with(1_000)), "{}", shape.error_rate_with(1_000));
        assert!(shape.error_rate_with(3_000) > 0.2);
    }
}
