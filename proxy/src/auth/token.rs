//! The signature of a token (RFC 7515, compact serialization).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, crypto};
use p521::ecdsa::signature::Verifier as _;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::{
    config::{TokenKey, VerifyingKey},
    error::Refusal,
};

#[derive(Deserialize)]
struct Header<'t> {
    #[serde(borrow)]
    alg: std::borrow::Cow<'t, str>,
    /// extensions that must be understood (RFC 7515, section 4.1.11): none is
    #[serde(default)]
    crit: Option<IgnoredAny>,
}

/// The payload of a token that one of the keys signed. Which keys come into question follows from their own kind and
/// never from the header alone: a public key is not taken for a shared secret because a token says so.
pub(super) fn verified_payload(token: &[u8], keys: &[TokenKey]) -> Result<Vec<u8>, Refusal> {
    let parts: Vec<&[u8]> = token.split(|byte| *byte == b'.').collect();
    let [header, payload, signature] = parts[..] else { return Err(Refusal::Parts(parts.len())) };
    let (header, payload_bytes) = (decode(header)?, decode(payload)?);
    let signature_bytes = decode(signature)?;
    let header: Header<'_> = serde_json::from_slice(&header).map_err(|_| Refusal::Header("not a header"))?;
    if header.crit.is_some() {
        return Err(Refusal::Header("crit key is not understood"));
    }
    let signature = std::str::from_utf8(signature).map_err(|_| Refusal::NOT_BASE64)?;
    let message = &token[..token.len() - signature.len() - 1];
    match &*header.alg {
        "none" => Err(Refusal::Unsigned),
        "ES512" => {
            let signature = p521::ecdsa::Signature::from_slice(&signature_bytes).map_err(|_| Refusal::Signature)?;
            let signed = keys.iter().any(|key| is_signed_on_p521(key, message, &signature));
            if signed { Ok(payload_bytes) } else { Err(Refusal::Signature) }
        }
        name => {
            let algorithm: Algorithm = name.parse().map_err(|_| Refusal::UNKNOWN_ALGORITHM)?;
            let signed = keys.iter().any(|key| is_signed_with(key, algorithm, message, signature));
            if signed { Ok(payload_bytes) } else { Err(Refusal::Signature) }
        }
    }
}

fn is_signed_with(token_key: &TokenKey, algorithm: Algorithm, message: &[u8], signature: &str) -> bool {
    let VerifyingKey::Common(key) = &token_key.key else { return false };
    let fits = token_key.only.is_none_or(|only| only == algorithm)
        && key.family() == algorithm.family()
        && is_long_enough(key, algorithm);
    fits && crypto::verify(signature, message, key, algorithm).unwrap_or(false)
}

fn is_signed_on_p521(token_key: &TokenKey, message: &[u8], signature: &p521::ecdsa::Signature) -> bool {
    let VerifyingKey::P521(point) = &token_key.key else { return false };
    let key = p521::ecdsa::VerifyingKey::from_affine(*point.as_affine());
    key.is_ok_and(|key| key.verify(message, signature).is_ok())
}

/// A symmetric key must be as long as the hash (RFC 7518, section 3.2).
fn is_long_enough(key: &DecodingKey, algorithm: Algorithm) -> bool {
    let bytes_min = match algorithm {
        Algorithm::HS256 => 32,
        Algorithm::HS384 => 48,
        Algorithm::HS512 => 64,
        _ => 0,
    };
    key.family() != AlgorithmFamily::Hmac || key.try_get_as_bytes().is_ok_and(|bytes| bytes.len() >= bytes_min)
}

fn decode(part: &[u8]) -> Result<Vec<u8>, Refusal> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Refusal::NOT_BASE64)
}
