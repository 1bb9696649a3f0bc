//! The messages of `pgoutput` inside a transaction: which relation, what it is like, and which row of it changed.
//!
//! Begin, Commit and Message are taken apart by the replication client. Layouts (protocol version 1):
//! <https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html>

use smallvec::SmallVec;

/// One message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message<'m> {
    /// What a relation is called and made of from now on. `definition` is everything the message says of it.
    Relation { id: u32, schema: &'m str, name: &'m str, definition: &'m [u8] },
    /// a row of this relation changed; its images are still to be read by [`Change::of`]
    Row { relation: u32, images: Images<'m> },
    /// these relations were truncated
    Truncate { relations: Vec<u32> },
    /// says nothing about data: the origin of a transaction, the name of a type
    Other,
}

/// A row before and after a change, not yet taken apart: where no template asks for it, nobody needs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Images<'m> {
    kind: u8,
    bytes: &'m [u8],
}

/// What happened to a row.
#[derive(Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "lives on the stack, while one message is read")]
pub(super) enum Change<'m> {
    Insert { new: Tuple<'m> },
    Update { old: Old<'m>, new: Tuple<'m> },
    Delete { old: Old<'m> },
}

/// What is told of a row before it changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Old<'m> {
    /// the columns of the key; all others look as if they were NULL
    Key(Tuple<'m>),
    /// all of it
    Row(Tuple<'m>),
    /// nothing: the key is as it was
    Unchanged,
}

/// The values of a row, in the order of the relation's columns.
pub(super) type Tuple<'m> = SmallVec<[Datum<'m>; 16]>;

/// One value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Datum<'m> {
    Null,
    /// stored apart from the row and not touched by the change: not told
    Untold,
    Text(&'m [u8]),
    /// as the type's send function has it, which nobody asked for
    Binary,
}

/// A column as a relation's definition has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attribute {
    pub(super) name: Box<str>,
    pub(super) type_id: u32,
    /// whether it is part of the replica identity
    pub(super) key: Key,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Part,
    Beside,
}

/// What a relation is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Definition {
    pub(super) identity: Identity,
    pub(super) attributes: Box<[Attribute]>,
}

/// What is logged of a row before it changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Identity {
    /// the columns of a key
    Key,
    /// all of it
    Row,
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
        b'I' | b'U' | b'D' => {
            Ok(Message::Row { relation: reader.u32()?, images: Images { kind: *tag, bytes: reader.0 } })
        }
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

impl Definition {
    /// Reads what [`Message::Relation`] calls a definition.
    pub(super) fn of(definition: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(definition);
        reader.u32()?;
        reader.text()?;
        reader.text()?;
        let identity = if reader.byte()? == b'f' { Identity::Row } else { Identity::Key };
        let count = reader.u16()?;
        let attribute = |_| {
            let key = if reader.byte()? & 1 == 1 { Key::Part } else { Key::Beside };
            let (name, type_id) = (reader.text()?.into(), reader.u32()?);
            reader.u32()?;
            Ok(Attribute { name, type_id, key })
        };
        Ok(Self { identity, attributes: (0..count).map(attribute).collect::<Result<_, _>>()? })
    }
}

impl<'m> Change<'m> {
    /// Takes the images apart.
    pub(super) fn of(images: Images<'m>) -> Result<Self, Malformed> {
        let mut reader = Reader(images.bytes);
        match (images.kind, reader.byte()?) {
            (b'I', b'N') => Ok(Self::Insert { new: reader.tuple()? }),
            (b'U', b'N') => Ok(Self::Update { old: Old::Unchanged, new: reader.tuple()? }),
            (b'U', kind) => {
                let old = reader.old(kind)?;
                if reader.byte()? != b'N' {
                    return Err(Malformed);
                }
                Ok(Self::Update { old, new: reader.tuple()? })
            }
            (b'D', kind) => Ok(Self::Delete { old: reader.old(kind)? }),
            _ => Err(Malformed),
        }
    }
}

struct Reader<'m>(&'m [u8]);

impl<'m> Reader<'m> {
    fn byte(&mut self) -> Result<u8, Malformed> {
        let (byte, rest) = self.0.split_first().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*byte)
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        self.0 = rest;
        Ok(u16::from_be_bytes(*bytes))
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

    fn old(&mut self, kind: u8) -> Result<Old<'m>, Malformed> {
        match kind {
            b'K' => self.tuple().map(Old::Key),
            b'O' => self.tuple().map(Old::Row),
            _ => Err(Malformed),
        }
    }

    fn tuple(&mut self) -> Result<Tuple<'m>, Malformed> {
        // Bounded by the length of the message: each takes a byte of it at least.
        (0..self.u16()?).map(|_| self.datum()).collect()
    }

    fn datum(&mut self) -> Result<Datum<'m>, Malformed> {
        match self.byte()? {
            b'n' => Ok(Datum::Null),
            b'u' => Ok(Datum::Untold),
            b't' => self.counted().map(Datum::Text),
            b'b' => self.counted().map(|_| Datum::Binary),
            _ => Err(Malformed),
        }
    }

    fn counted(&mut self) -> Result<&'m [u8], Malformed> {
        let length = usize::try_from(self.u32()?).map_err(|_| Malformed)?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(bytes)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A relation `s.name` with these columns: a name, a type and whether it belongs to the key.
    pub(in crate::feed) fn relation(id: u8, name: &str, identity: u8, columns: &[(&str, u32, Key)]) -> Vec<u8> {
        let mut bytes = [b"R\0\0\0", &[id][..], b"s\0", name.as_bytes(), &[0, identity]].concat();
        bytes.extend(u16::try_from(columns.len()).unwrap().to_be_bytes());
        for (name, type_id, key) in columns {
            bytes.push(u8::from(*key == Key::Part));
            bytes.extend([name.as_bytes(), &[0], &type_id.to_be_bytes(), &[255; 4]].concat());
        }
        bytes
    }

    /// The images of a row behind a letter: `N`, `K` or `O`. `!` stands for what is not told.
    pub(in crate::feed) fn tuple(letter: u8, values: &[Option<&str>]) -> Vec<u8> {
        let mut bytes = vec![letter];
        bytes.extend(u16::try_from(values.len()).unwrap().to_be_bytes());
        for value in values {
            match value {
                None => bytes.push(b'n'),
                Some("!") => bytes.push(b'u'),
                Some(text) => {
                    bytes.push(b't');
                    bytes.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
                    bytes.extend(text.as_bytes());
                }
            }
        }
        bytes
    }

    /// A change of a row, by its letter.
    pub(in crate::feed) fn row(letter: u8, id: u8, tuples: &[Vec<u8>]) -> Vec<u8> {
        [&[letter, 0, 0, 0, id], tuples.concat().as_slice()].concat()
    }

    #[test]
    fn a_relation_has_its_name_and_its_columns() {
        let bytes = relation(7, "flights", b'd', &[("id", 23, Key::Part), ("note", 25, Key::Beside)]);
        let Ok(Message::Relation { id, schema, name, definition }) = parse(&bytes) else { panic!("a relation") };
        assert_eq!((id, schema, name), (7, "s", "flights"));
        let definition = Definition::of(definition).unwrap();
        assert_eq!(definition.identity, Identity::Key);
        let attribute = |name: &str, type_id, key| Attribute { name: name.into(), type_id, key };
        assert_eq!(*definition.attributes, [attribute("id", 23, Key::Part), attribute("note", 25, Key::Beside)]);
    }

    #[test]
    fn rows_have_their_images() {
        let change = |bytes: &[u8]| match parse(bytes) {
            Ok(Message::Row { relation: 7, images }) => Change::of(images).map(|change| format!("{change:?}")),
            other => panic!("{other:?}"),
        };
        let (one, two) = (tuple(b'N', &[Some("1"), None]), tuple(b'K', &[Some("2"), Some("!")]));
        let datum = |letter, tuples: &[Vec<u8>]| change(&row(letter, 7, tuples)).unwrap();
        assert_eq!(datum(b'I', std::slice::from_ref(&one)), "Insert { new: [Text([49]), Null] }");
        assert_eq!(datum(b'D', std::slice::from_ref(&two)), "Delete { old: Key([Text([50]), Untold]) }");
        assert_eq!(datum(b'U', std::slice::from_ref(&one)), "Update { old: Unchanged, new: [Text([49]), Null] }");
        let full = tuple(b'O', &[]);
        assert_eq!(datum(b'U', &[full, one.clone()]), "Update { old: Row([]), new: [Text([49]), Null] }");
        assert_eq!(change(&row(b'U', 7, &[two])), Err(Malformed), "no image after it");
        assert_eq!(change(&row(b'D', 7, &[one])), Err(Malformed), "no image before it");
    }

    #[test]
    fn truncates_name_their_relations() {
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
        fn no_bytes_make_it_panic(letter in "[RIUDT]", bytes: Vec<u8>) {
            match parse(&[letter.as_bytes(), &bytes].concat()) {
                Ok(Message::Row { images, .. }) => drop(Change::of(images)),
                Ok(Message::Relation { definition, .. }) => drop(Definition::of(definition)),
                Ok(_) | Err(_) => {}
            }
        }
    }
}
