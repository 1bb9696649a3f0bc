//! What values at rest in Redis are sealed with.

use std::fs;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cache_core::seal::KEY_BYTES;

use super::kind::Unfit;

/// A key. Does not show itself.
#[derive(Clone)]
pub struct EncryptionKey(pub [u8; KEY_BYTES]);

impl std::fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EncryptionKey(***)")
    }
}

/// The keys in a text: in Base64, separated by commas or white space; or `@` and the path of a file with such a text. The first
/// one seals.
pub(super) fn keys(text: &str) -> Result<Vec<EncryptionKey>, Unfit> {
    let text = match text.strip_prefix('@') {
        Some(path) => fs::read_to_string(path)
            .map_err(|error| unfit(format!("the file {path} cannot be read: {error}"), "name a file of text"))?,
        None => text.to_owned(),
    };
    let words = text.split([',', ' ', '\t', '\r', '\n']).filter(|word| !word.is_empty());
    let keys: Vec<EncryptionKey> = words.enumerate().map(|(at, word)| key(at + 1, word)).collect::<Result<_, _>>()?;
    if keys.is_empty() { Err(unfit("there is no key in it".to_owned(), REMEDY)) } else { Ok(keys) }
}

const REMEDY: &str = "write keys of 32 random bytes in Base64, separated by commas: openssl rand -base64 32";

/// The text of a key must not reach a log, so it is told by its place.
fn key(place: usize, word: &str) -> Result<EncryptionKey, Unfit> {
    let bytes = STANDARD.decode(word).map_err(|_| unfit(format!("key {place} is not Base64"), REMEDY))?;
    let length = bytes.len();
    let key = bytes.try_into().map_err(|_| unfit(format!("key {place} has {length} bytes and not 32"), REMEDY))?;
    Ok(EncryptionKey(key))
}

fn unfit(problem: String, remedy: &str) -> Unfit {
    Unfit { problem, remedy: remedy.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(byte: u8) -> String {
        STANDARD.encode([byte; KEY_BYTES])
    }

    #[test]
    fn keys_are_read_in_their_order() {
        for separator in [",", ", ", "\n"] {
            let keys = keys(&format!("{}{separator}{}\n", encoded(1), encoded(2))).unwrap();
            assert_eq!(keys.iter().map(|key| key.0[0]).collect::<Vec<_>>(), [1, 2]);
        }
    }

    #[test]
    fn what_is_no_key_is_told_by_its_place_and_not_shown() {
        let short = STANDARD.encode([1; 31]);
        for (text, problem) in [
            (format!("{},{short}", encoded(1)), "key 2 has 31 bytes and not 32"),
            ("not?base64".to_owned(), "key 1 is not Base64"),
            (" , ".to_owned(), "there is no key in it"),
        ] {
            let unfit = keys(&text).unwrap_err();
            assert_eq!(unfit.problem, problem);
            assert!(unfit.remedy.contains("openssl rand"));
        }
        assert!(keys("@/nowhere").unwrap_err().problem.contains("/nowhere cannot be read"));
        assert_eq!(format!("{:?}", EncryptionKey([7; KEY_BYTES])), "EncryptionKey(***)");
    }
}
