//! How an entry is written to L2, and read back without trusting it.
//!
//! Layout, little-endian: magic `TRNS`, version `u16`, tag count `u16`, checksum `u64` (xxh3-64 of all that follows),
//! epoch `u64`, as_of `u64`, began `u64` (wall clock, ms), three lifetimes `u64` (ms), tags `u64` each, key length `u32`,
//! key, value.
//!
//! A node reads only its own [`VERSION`]: a foreign version is a miss, so that nodes of two releases can share a Redis.
//! Change the layout or the meaning of a field, or those of a value, and the version goes up. The scripts of the fill lease
//! read the first 32 bytes: magic, version, checksum, epoch and as_of stay where they are.
//!
//! Sealed (see [`seal`](crate::seal)): magic `TRNX`; version, tag count, checksum of all that follows, epoch and as_of in
//! clear, as above; and all the rest sealed, with these 32 bytes but the checksum, the namespace and the key as its context.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    clock::WallMillis,
    coherence::{Seq, Stamp},
    entry::{Entry, Lifetimes, Value},
    error::CodecError,
    key::CacheKey,
    outcome::Unreadable,
    seal::{KeyRing, OVERHEAD_BYTES},
    tag::{Tag, Tags},
};

const MAGIC: &[u8; 4] = b"TRNS";
const SEALED: &[u8; 4] = b"TRNX";
/// Version of the layout above.
pub const VERSION: u16 = 3;
const PREFIX_BYTES: usize = 4 + 2 + 2 + 8;
const FIXED_BYTES: usize = 6 * 8;
/// What a sealed entry shows: for the scripts of the fill lease.
const SHOWN_BYTES: usize = 32;

/// How every entry of this version begins, if it is sealed or if it is not.
pub(crate) fn head(ring: Option<&KeyRing>) -> [u8; 6] {
    let mut head = [0; 6];
    head[..MAGIC.len()].copy_from_slice(if ring.is_some() { SEALED } else { MAGIC });
    head[MAGIC.len()..].copy_from_slice(&VERSION.to_le_bytes());
    head
}

/// What something is that begins like this and was not [expected](head).
pub(crate) fn stranger(begin: &[u8], ring: Option<&KeyRing>) -> Unreadable {
    match ring {
        Some(_) if begin == MAGIC => Unreadable::Unsealed,
        None if begin == SEALED => Unreadable::Sealed,
        Some(_) | None => Unreadable::Foreign,
    }
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
    let mut out = Vec::with_capacity(PREFIX_BYTES + FIXED_BYTES + key.length() + entry.value.weight() + 64);
    out.put_slice(MAGIC);
    out.put_u16_le(VERSION);
    // An entry carries a handful of tags; were there more than fit, the count would not match and the entry be a miss.
    out.put_u16_le(u16::try_from(entry.stamp.tags.len()).unwrap_or(u16::MAX));
    out.put_u64_le(0);
    out.put_u64_le(entry.stamp.epoch);
    out.put_u64_le(entry.stamp.as_of.0);
    out.put_u64_le(began.0);
    let Lifetimes { fresh_for, stale_while_revalidate_for, stale_if_error_for } = entry.lifetimes();
    for lifetime in [fresh_for, stale_while_revalidate_for, stale_if_error_for] {
        out.put_u64_le(u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX));
    }
    for tag in entry.stamp.tags.iter() {
        out.put_u64_le(tag.as_u64());
    }
    out.put_u32_le(u32::try_from(key.length()).unwrap_or(u32::MAX));
    key.parts().iter().for_each(|part| out.put_slice(part));
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
    if !key.is(&bytes.split_to(key_length)) {
        return Err(CodecError::OtherKey);
    }
    let stamp = Stamp::from_parts(epoch, Seq(as_of), tags);
    // A copy: what arrived is a part of the connection's buffer, and one entry would keep the whole of that in memory.
    Ok(Stored { value: V::decode(Bytes::copy_from_slice(&bytes))?, stamp, began: WallMillis(began), lifetimes })
}

/// Seals an entry as it was [written](encode). `place` is whatever else it must not be moved from.
pub(crate) fn seal(ring: &KeyRing, place: &str, key: &CacheKey, written: &[u8]) -> Vec<u8> {
    let (shown, rest) = written.split_at(SHOWN_BYTES);
    let mut out = Vec::with_capacity(written.len() + OVERHEAD_BYTES);
    out.put_slice(SEALED);
    out.put_slice(&shown[SEALED.len()..]);
    let context = context(&out, place, key);
    ring.seal(&context, rest, &mut out);
    let checksum = xxh3_64(&out[PREFIX_BYTES..]);
    out[PREFIX_BYTES - 8..PREFIX_BYTES].copy_from_slice(&checksum.to_le_bytes());
    out
}

/// Opens a sealed entry, back to how it was written.
///
/// # Errors
/// If it is not sealed, by none of these keys, or not for this place and key.
pub(crate) fn open(ring: &KeyRing, place: &str, key: &CacheKey, sealed: &[u8]) -> Result<Bytes, CodecError> {
    if sealed.starts_with(MAGIC) {
        return Err(CodecError::Sealing(Unreadable::Unsealed));
    }
    if sealed.len() < SHOWN_BYTES || !sealed.starts_with(SEALED) {
        return Err(CodecError::NotAnEntry);
    }
    let (shown, rest) = sealed.split_at(SHOWN_BYTES);
    let version = u16::from_le_bytes([shown[4], shown[5]]);
    if version != VERSION {
        return Err(CodecError::ForeignVersion(version));
    }
    let opened = ring.open(&context(shown, place, key), rest).map_err(CodecError::Sealing)?;
    let mut written = Vec::with_capacity(SHOWN_BYTES + opened.len());
    written.put_slice(MAGIC);
    written.put_slice(&shown[MAGIC.len()..]);
    written.put_slice(&opened);
    let checksum = xxh3_64(&written[PREFIX_BYTES..]);
    written[PREFIX_BYTES - 8..PREFIX_BYTES].copy_from_slice(&checksum.to_le_bytes());
    Ok(written.into())
}

/// Everything that has to be the same when a sealed entry is opened: what it shows (but for the checksum, which is made
/// last), where it is, and its key.
fn context(shown: &[u8], place: &str, key: &CacheKey) -> Vec<u8> {
    let mut context = Vec::with_capacity(SHOWN_BYTES + place.len() + key.length());
    context.put_slice(&shown[..PREFIX_BYTES - 8]);
    context.put_slice(&shown[PREFIX_BYTES..SHOWN_BYTES]);
    context.put_u64_le(place.len() as u64);
    context.put_slice(place.as_bytes());
    key.parts().iter().for_each(|part| context.put_slice(part));
    context
}

/// Checks magic, version and checksum, leaves the rest in `bytes`, and returns the number of tags in it.
fn prefix(bytes: &mut Bytes) -> Result<u16, CodecError> {
    if bytes.starts_with(SEALED) {
        return Err(CodecError::Sealing(Unreadable::Sealed));
    }
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
    use crate::clock::Moment;

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
        let lifetimes = Lifetimes {
            fresh_for: Duration::from_secs(60),
            stale_while_revalidate_for: Duration::ZERO,
            stale_if_error_for: Duration::from_secs(5),
        };
        let stamp = Stamp::from_parts(7, Seq(9), tags(&["b", "a"]));
        let value = Text(Bytes::from_static(b"[{\"id\":1}]"));
        let entry = Entry::filled_by_peer(value, stamp, Moment::PAST, lifetimes);
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
        assert_eq!(written[..6], head(None));
        let ring = ring();
        let sealed = seal(&ring, "place", &key("flights"), &written);
        assert_eq!(sealed[..6], head(Some(&ring)));
        assert_eq!(sealed[16..32], written[16..32]);
        assert_eq!(checksum(&sealed).unwrap(), xxh3_64(&sealed[16..]).to_le_bytes());
        assert_eq!(checksum(&written).unwrap(), xxh3_64(&written[16..]).to_le_bytes());
        assert_eq!(written[16..24], 7_u64.to_le_bytes(), "the epoch");
        assert_eq!(written[24..32], 9_u64.to_le_bytes(), "as_of");
    }

    fn ring() -> KeyRing {
        KeyRing::new(&[[7; 32]]).unwrap()
    }

    #[test]
    fn a_sealed_entry_opens_under_its_key_in_its_place_and_as_old_as_it_is() {
        let (ring, flights) = (ring(), key("flights"));
        let sealed = seal(&ring, "place", &flights, &written());
        assert_eq!(open(&ring, "place", &flights, &sealed).unwrap(), written());
        let refused =
            |result: Result<Bytes, CodecError>| assert_eq!(result, Err(CodecError::Sealing(Unreadable::Forged)));
        refused(open(&ring, "elsewhere", &flights, &sealed));
        refused(open(&ring, "place", &key("planes"), &sealed));
        // Shown are the tag count, epoch and as_of: who changes them does not make an entry younger.
        for byte in [6, 16, 24] {
            let mut bad = sealed.clone();
            bad[byte] ^= 1;
            refused(open(&ring, "place", &flights, &bad));
        }
        assert_eq!(open(&ring, "place", &flights, &written()), Err(CodecError::Sealing(Unreadable::Unsealed)));
        let read = decode::<Text>(&flights, sealed.clone().into());
        assert_eq!(read.unwrap_err(), CodecError::Sealing(Unreadable::Sealed));
        for length in 0..sealed.len() {
            assert!(open(&ring, "place", &flights, &sealed[..length]).is_err(), "length {length}");
        }
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
