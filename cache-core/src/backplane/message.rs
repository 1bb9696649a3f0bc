//! The bytes of an announcement on the channel.
//!
//! Layout, little-endian: epoch (16 hex digits), kind (`c` or `p`), seq `u64`, the number of writes `u32`, the writes
//! `u128` each, the slots `u32` each.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use smallvec::SmallVec;

use crate::{
    coherence::{Announcement, Epoch, Kind, Seq, WriteId},
    error::RedisError,
    tag::Slots,
};

/// Writes that one message names at most. The writers of others do without: they announce for themselves.
pub(super) const WRITES_PER_MESSAGE: usize = 4_096;
const FIXED_BYTES: usize = 16 + 1 + 8 + 4;

/// The end of a message: the writes and the slots. What is before it only Redis knows.
pub(super) fn pack(writes: &[WriteId], slots: &[u32]) -> Bytes {
    let writes = &writes[..writes.len().min(WRITES_PER_MESSAGE)];
    let mut packed = BytesMut::with_capacity(4 + writes.len() * 16 + slots.len() * 4);
    #[expect(clippy::cast_possible_truncation, reason = "cut to WRITES_PER_MESSAGE")]
    packed.put_u32_le(writes.len() as u32);
    writes.iter().for_each(|write| packed.put_u128_le(write.as_u128()));
    slots.iter().for_each(|slot| packed.put_u32_le(*slot));
    packed.freeze()
}

/// Where the slots begin in what [`pack`] made of so many writes.
pub(super) fn slots_begin(writes: usize) -> usize {
    4 + writes.min(WRITES_PER_MESSAGE) * 16
}

pub(super) fn kind_byte(kind: Kind) -> u8 {
    match kind {
        Kind::Change => b'c',
        Kind::Purge => b'p',
    }
}

/// Reads a message of the channel.
pub(super) fn parse(message: Bytes) -> Result<Announcement, RedisError> {
    read(message).ok_or_else(|| RedisError::Protocol("a malformed announcement".to_owned()))
}

fn read(mut message: Bytes) -> Option<Announcement> {
    if message.len() < FIXED_BYTES {
        return None;
    }
    let epoch: Epoch = std::str::from_utf8(&message.split_to(16)).ok()?.parse().ok()?;
    let kind = match message.get_u8() {
        b'c' => Kind::Change,
        b'p' => Kind::Purge,
        _ => return None,
    };
    let seq = Seq(message.get_u64_le());
    let count = message.get_u32_le() as usize;
    if count > message.len() / 16 {
        return None;
    }
    let writes: SmallVec<[WriteId; 1]> = (0..count).map(|_| WriteId::from_u128(message.get_u128_le())).collect();
    if !message.len().is_multiple_of(4) {
        return None;
    }
    let slots = Slots::from_raw(message.chunks_exact(4).map(|mut slot| slot.get_u32_le()));
    Some(Announcement { epoch, seq, kind, slots, writes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(writes: &[WriteId], slots: &[u32]) -> Vec<u8> {
        [b"00000000000000abp", &7_u64.to_le_bytes()[..], &pack(writes, slots)].concat()
    }

    #[test]
    fn what_is_packed_is_read_back() {
        let (one, two) = (WriteId::random(), WriteId::random());
        for writes in [&[][..], &[one], &[one, two]] {
            let packed = pack(writes, &[3, 9]);
            assert_eq!(packed[slots_begin(writes.len())..], [3, 0, 0, 0, 9, 0, 0, 0]);
            let read = parse(message(writes, &[3, 9]).into()).unwrap();
            assert_eq!((read.epoch.as_u64(), read.seq, read.kind), (0xab, Seq(7), Kind::Purge));
            assert_eq!((read.slots, &read.writes[..]), (Slots::from_raw([3, 9]), writes));
        }
    }

    #[test]
    fn no_bytes_are_taken_for_a_message_that_they_are_not() {
        let good = message(&[WriteId::random()], &[3]);
        for length in 0..good.len() - 4 {
            parse(good[..length].to_vec().into()).unwrap_err();
        }
        let mut many = good.clone();
        many[25..29].copy_from_slice(&u32::MAX.to_le_bytes());
        parse(many.into()).unwrap_err();
        let mut other = good;
        other[16] = b'x';
        parse(other.into()).unwrap_err();
    }

    #[test]
    fn more_writes_than_fit_are_left_out() {
        let writes: Vec<WriteId> = (0..=WRITES_PER_MESSAGE).map(|number| WriteId::from_u128(number as u128)).collect();
        let read = parse(message(&writes, &[3]).into()).unwrap();
        assert_eq!(read.writes.len(), WRITES_PER_MESSAGE);
        assert_eq!(read.slots, Slots::from_raw([3]));
        assert_eq!(slots_begin(writes.len()) + 4, pack(&writes, &[3]).len());
    }
}
