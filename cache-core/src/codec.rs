//! How an entry is written to L2, and read back without trusting it.
//!
//! Layout, little-endian: magic `TRNS`, version `u16`, tag count `u16`, checksum `u64` (xxh3-64 of all that follows),
//! epoch `u64`, as_of `u64`, began `u64` (wall clock, ms), three lifetimes `u64` (ms), tags `u64` each, key length `u32`,
//! key, value.
//!
//! A node reads only its own [`VERSION`]: a foreign version is a miss, so that nodes of two releases can share a Redis.
//! Change the layout or the meaning of a field, and the version goes up. The scripts of the fill lease read the first 32
//! bytes: magic, version, checksum, epoch and as_of stay where they are.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    clock::WallMillis,
    coherence::{Seq, Stamp},
    entry::{Entry, Lifetimes, Value},
    error::CodecError,
    key::CacheKey,
    tag::{Tag, Tags},
};

const MAGIC: &[u8; 4] = b"TRNS";
/// Version of the layout above.
pub const VERSION: u16 = 2;
const PREFIX_BYTES: usize = 4 + 2 + 2 + 8;
const FIXED_BYTES: usize = 6 * 8;

/// How every entry of this version begins.
pub(crate) fn head() -> [u8; 6] {
    let mut head = [0; 6];
    head[..MAGIC.len()].copy_from_slice(MAGIC);
    head[MAGIC.len()..].copy_from_slice(&VERSION.to_le_bytes());
    head
}

/// The checksum of an entry as it was written, by which one entry is told from another; `None` of what is no entry.
pub(crate) fn checksum(bytes: &[u8]) -> Option<[u8; 8]> {
    bytes.get(PREFIX_BYTES - 8..PREFIX_BYTES)?.try_into().ok()
}

/// An entry as L2 tells it: the age is by a peer's wall clock.
#[derive(Debug)]
pub struct Stored<V> {
    /// the answer
    pub value: V,
    /// what its coherence is judged by
    pub stamp: Stamp,
    /// when its fill began
    pub began: WallMillis,
    /// for how long it may be used
    pub lifetimes: Lifetimes,
}

/// Writes an entry. `began` is the beginning of its fill by the wall clock.
#[must_use]
pub fn encode<V: Value>(key: &CacheKey, entry: &Entry<V>, began: WallMillis) -> Vec<u8> {
    let mut out = Vec::with_capacity(PREFIX_BYTES + FIXED_BYTES + key.canonical().len() + entry.value.weight() + 64);
    out.put_slice(MAGIC);
    out.put_u16_le(VERSION);
    // An entry carries a handful of tags; were there more than fit, the count would not match and the entry be a miss.
    out.put_u16_le(u16::try_from(entry.stamp.tags.len()).unwrap_or(u16::MAX));
    out.put_u64_le(0);
    out.put_u64_le(entry.stamp.epoch);
    out.put_u64_le(entry.stamp.as_of.0);
    out.put_u64_le(began.0);
    for lifetime in
        [entry.lifetimes.fresh_for, entry.lifetimes.stale_while_revalidate_for, entry.lifetimes.stale_if_error_for]
    {
        out.put_u64_le(u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX));
    }
    for tag in entry.stamp.tags.iter() {
        out.put_u64_le(tag.as_u64());
    }
    out.put_u32_le(u32::try_from(key.canonical().len()).unwrap_or(u32::MAX));
    out.put_slice(key.canonical());
    entry.value.encode(&mut out);
    let checksum = xxh3_64(&out[PREFIX_BYTES..]);
    out[PREFIX_BYTES - 8..PREFIX_BYTES].copy_from_slice(&checksum.to_le_bytes());
    out
}

/// Reads an entry that was stored under `key`.
///
/// # Errors
/// If the bytes are anything else than a whole entry of this version and this key.
pub fn decode<V: Value>(key: &CacheKey, mut bytes: Bytes) -> Result<Stored<V>, CodecError> {
    let tag_count = prefix(&mut bytes)?;
    let (epoch, as_of, began) = (number(&mut bytes)?, number(&mut bytes)?, number(&mut bytes)?);
    let lifetimes = Lifetimes {
        fresh_for: Duration::from_millis(number(&mut bytes)?),
        stale_while_revalidate_for: Duration::from_millis(number(&mut bytes)?),
        stale_if_error_for: Duration::from_millis(number(&mut bytes)?),
    };
    let tags: Tags = (0..tag_count).map(|_| number(&mut bytes).map(Tag::from_u64)).collect::<Result<_, _>>()?;
    let key_length = bytes.try_get_u32_le().map_err(|_| CodecError::NotAnEntry)? as usize;
    if bytes.len() < key_length {
        return Err(CodecError::NotAnEntry);
    }
    if bytes.split_to(key_length) != key.canonical() {
        return Err(CodecError::OtherKey);
    }
    let stamp = Stamp::from_parts(epoch, Seq(as_of), tags);
    Ok(Stored { value: V::decode(bytes)?, stamp, began: WallMillis(began), lifetimes })
}

/// Checks magic, version and checksum, leaves the rest in `bytes`, and returns the number of tags in it.
fn prefix(bytes: &mut Bytes) -> Result<u16, CodecError> {
    if bytes.len() < PREFIX_BYTES + FIXED_BYTES || bytes.split_to(MAGIC.len()) != MAGIC[..] {
        return Err(CodecError::NotAnEntry);
    }
    let version = bytes.get_u16_le();
    if version != VERSION {
        return Err(CodecError::ForeignVersion(version));
    }
    let tag_count = bytes.get_u16_le();
    let checksum = bytes.get_u64_le();
    if checksum == xxh3_64(bytes) { Ok(tag_count) } else { Err(CodecError::Checksum) }
}

fn number(bytes: &mut Bytes) -> Result<u64, CodecError> {
    bytes.try_get_u64_le().map_err(|_| CodecError::NotAnEntry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Moment, coherence::Filled};

    #[derive(Debug, Clone, PartialEq)]
    struct Text(Bytes);

    impl Value for Text {
        fn weight(&self) -> usize {
            self.0.len()
        }
        fn encode(&self, out: &mut Vec<u8>) {
            out.put_slice(&self.0);
        }
        fn decode(bytes: Bytes) -> Result<Self, CodecError> {
            Ok(Self(bytes))
        }
    }

    fn tags(texts: &[&str]) -> Tags {
        texts.iter().map(|text| Tag::named(text)).collect()
    }

    fn key(text: &str) -> CacheKey {
        CacheKey::new(text.as_bytes())
    }

    fn written() -> Vec<u8> {
        let entry = Entry {
            value: Text(Bytes::from_static(b"[{\"id\":1}]")),
            stamp: Stamp::from_parts(7, Seq(9), tags(&["b", "a"])),
            began: Moment::PAST,
            filled: Filled::ByPeer,
            lifetimes: Lifetimes {
                fresh_for: Duration::from_secs(60),
                stale_while_revalidate_for: Duration::ZERO,
                stale_if_error_for: Duration::from_secs(5),
            },
        };
        encode(&key("flights"), &entry, WallMillis(1_000))
    }

    #[test]
    fn what_is_written_is_read_back() {
        let stored = decode::<Text>(&key("flights"), written().into()).unwrap();
        assert_eq!(stored.value, Text(Bytes::from_static(b"[{\"id\":1}]")));
        assert_eq!(stored.stamp, Stamp::from_parts(7, Seq(9), tags(&["a", "b"])));
        assert_eq!(stored.began, WallMillis(1_000));
        assert_eq!(stored.lifetimes.fresh_for, Duration::from_secs(60));
        assert_eq!(stored.lifetimes.stale_if_error_for, Duration::from_secs(5));
    }

    #[test]
    fn the_scripts_of_the_fill_lease_find_what_they_read() {
        let written = written();
        assert_eq!(written[..6], head());
        assert_eq!(checksum(&written).unwrap(), xxh3_64(&written[16..]).to_le_bytes());
        assert_eq!(written[16..24], 7_u64.to_le_bytes(), "the epoch");
        assert_eq!(written[24..32], 9_u64.to_le_bytes(), "as_of");
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let good = written();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            // Only the tag count lies outside the checksum, and it moves where the key is read.
            assert!(decode::<Text>(&key("flights"), bad.into()).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn every_cut_is_noticed() {
        let good = written();
        for length in 0..good.len() {
            assert!(decode::<Text>(&key("flights"), good[..length].to_vec().into()).is_err(), "length {length}");
        }
    }

    #[test]
    fn a_foreign_version_and_another_key_are_told_apart() {
        let mut foreign = written();
        foreign[4] = 1;
        assert_eq!(decode::<Text>(&key("flights"), foreign.into()).unwrap_err(), CodecError::ForeignVersion(1));
        assert_eq!(decode::<Text>(&key("planes"), written().into()).unwrap_err(), CodecError::OtherKey);
    }
}
