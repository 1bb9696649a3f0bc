//! The messages of `pgoutput` inside a transaction, as far as a table's name matters: which relation, and that it changed.
//!
//! Begin, Commit and Message are taken apart by the replication client. Layouts (protocol version 1):
//! <https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html>

/// One message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message<'m> {
    /// What a relation is called from now on. `definition` is everything the message says of it.
    Relation { id: u32, schema: &'m str, name: &'m str, definition: &'m [u8] },
    /// a row of this relation was inserted, updated or deleted
    Row { relation: u32 },
    /// these relations were truncated
    Truncate { relations: Vec<u32> },
    /// says nothing about data: the origin of a transaction, the name of a type
    Other,
}

/// The bytes are not what the protocol says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message of the change stream cannot be read")]
pub(super) struct Malformed;

/// Reads one message. Total: any bytes are a message or malformed.
pub(super) fn parse(bytes: &[u8]) -> Result<Message<'_>, Malformed> {
    let (tag, rest) = bytes.split_first().ok_or(Malformed)?;
    let mut reader = Reader(rest);
    match tag {
        b'R' => Ok(Message::Relation {
            id: reader.u32()?,
            schema: match reader.text()? {
                "" => "pg_catalog",
                schema => schema,
            },
            name: reader.text()?,
            definition: rest,
        }),
        b'I' | b'U' | b'D' => Ok(Message::Row { relation: reader.u32()? }),
        b'T' => {
            let count = reader.u32()?;
            reader.byte()?;
            // Bounded by the length of the message: each takes four bytes of it.
            let relations: Result<Vec<u32>, Malformed> = (0..count).map(|_| reader.u32()).collect();
            Ok(Message::Truncate { relations: relations? })
        }
        b'O' | b'Y' => Ok(Message::Other),
        _ => Err(Malformed),
    }
}

struct Reader<'m>(&'m [u8]);

impl<'m> Reader<'m> {
    fn byte(&mut self) -> Result<u8, Malformed> {
        let (byte, rest) = self.0.split_first().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*byte)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        self.0 = rest;
        Ok(u32::from_be_bytes(*bytes))
    }

    fn text(&mut self) -> Result<&'m str, Malformed> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or(Malformed)?;
        let text = std::str::from_utf8(&self.0[..end]).map_err(|_| Malformed)?;
        self.0 = &self.0[end + 1..];
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_relation_has_its_name() {
        let bytes = b"R\x00\x00\x40\x01public\0flights\0d\x00\x00";
        let Ok(Message::Relation { id, schema, name, definition }) = parse(bytes) else { panic!("a relation") };
        assert_eq!((id, schema, name), (0x4001, "public", "flights"));
        assert_eq!(definition, &bytes[1..]);
    }

    #[test]
    fn rows_and_truncates_name_their_relations() {
        for tag in [b'I', b'U', b'D'] {
            assert_eq!(parse(&[tag, 0, 0, 0, 7, b'N', 0, 0]), Ok(Message::Row { relation: 7 }));
        }
        assert_eq!(parse(b"T\0\0\0\x02\x01\0\0\0\x05\0\0\0\x06"), Ok(Message::Truncate { relations: vec![5, 6] }));
        assert_eq!(parse(b"Oanything"), Ok(Message::Other));
    }

    #[test]
    fn what_is_cut_short_or_unknown_is_malformed() {
        for bytes in [&b""[..], b"I\0\0", b"R\0\0\0\x01public", b"T\xff\xff\xff\xff\0\0\0\0\x01", b"?"] {
            assert_eq!(parse(bytes), Err(Malformed), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }
    }
}
