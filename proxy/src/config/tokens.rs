//! What tokens are verified with.

use std::fs;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, EllipticCurveKeyParameters, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse},
};
use p521::elliptic_curve::sec1::FromEncodedPoint as _;

use super::{ClaimPath, kind::Unfit};

/// Fewer can be guessed; PostgREST's own bound.
const SECRET_BYTES_MIN: usize = 32;

/// How tokens are verified.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// any of these may have signed; without a key every token is refused
    pub keys: Vec<TokenKey>,
    /// whom a token must be meant for, if it says whom
    pub audience: Option<String>,
    /// where a token names the role
    pub role_claim: ClaimPath,
    /// where a token names its user; `None`: nothing is held against a token
    pub user_claim: Option<ClaimPath>,
}

/// A key that may have signed a token. Does not show itself.
#[derive(Debug, Clone)]
pub struct TokenKey {
    /// the key
    pub key: VerifyingKey,
    /// the one algorithm it serves, if it says so (RFC 7517, section 4.4)
    pub only: Option<Algorithm>,
}

/// What a signature is verified with.
#[derive(Debug, Clone)]
pub enum VerifyingKey {
    /// a key of one of the algorithms that the library of tokens has
    Common(DecodingKey),
    /// a point on P-521, for ES512, which it lacks
    P521(p521::PublicKey),
}

/// How a secret is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Plain,
    Base64,
}

/// The keys in a secret: the bytes of a text, a JWK, a JWK set, or `@` and the path of a file with one of these.
pub(super) fn keys(secret: &str, encoding: Encoding) -> Result<Vec<TokenKey>, Unfit> {
    let text = match secret.strip_prefix('@') {
        Some(path) => fs::read_to_string(path)
            .map_err(|error| unfit(&format!("the file {path} cannot be read: {error}"), "name a file of text"))?
            .trim_end_matches(['\r', '\n'])
            .to_owned(),
        None => secret.to_owned(),
    };
    let bytes = match encoding {
        Encoding::Plain => text.into_bytes(),
        Encoding::Base64 => from_base64(&text)?,
    };
    if bytes.trim_ascii_start().starts_with(b"{") {
        return from_json(&bytes);
    }
    // PostgREST would take the text of a public key for a secret, and anybody who knows that key could sign with it.
    if bytes.trim_ascii_start().starts_with(b"-----BEGIN") {
        return Err(unfit("a key in PEM cannot be told from a secret", "write the public key as a JWK"));
    }
    if bytes.len() < SECRET_BYTES_MIN {
        return Err(unfit("the secret is too short", "write at least 32 characters"));
    }
    Ok(vec![TokenKey { key: VerifyingKey::Common(DecodingKey::from_secret(&bytes)), only: None }])
}

/// Both alphabets, and a dot for `=`, as PostgREST takes them.
fn from_base64(text: &str) -> Result<Vec<u8>, Unfit> {
    let standard: String = text
        .chars()
        .map(|c| match c {
            '_' => '/',
            '-' => '+',
            '.' => '=',
            c => c,
        })
        .collect();
    let remedy = "write it in Base64, or leave out jwt_secret_is_base64";
    STANDARD.decode(standard).map_err(|_| unfit("the secret is not Base64", remedy))
}

fn from_json(json: &[u8]) -> Result<Vec<TokenKey>, Unfit> {
    let set = serde_json::from_slice::<JwkSet>(json).map(|set| set.keys);
    let keys = set.or_else(|_| serde_json::from_slice::<Jwk>(json).map(|key| vec![key]));
    let remedy = "write a JWK (RFC 7517, section 4) or a JWK set (section 5)";
    let keys = keys.map_err(|_| unfit("the value is JSON, but neither a JWK nor a JWK set", remedy))?;
    let signing = keys.iter().filter(|key| key.common.public_key_use != Some(PublicKeyUse::Encryption));
    let keys: Vec<TokenKey> = signing.map(from_jwk).collect::<Result<_, _>>()?;
    if keys.is_empty() { Err(unfit("the JWK set has no key for signatures", "add one")) } else { Ok(keys) }
}

fn from_jwk(jwk: &Jwk) -> Result<TokenKey, Unfit> {
    let remedy = "write an RSA, P-256, P-384, P-521, Ed25519 or symmetric key";
    let supported = match &jwk.algorithm {
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P521 => {
            let point = p521_point(key).filter(|_| is_for_es512(jwk));
            let point =
                point.ok_or_else(|| unfit("a P-521 key in the value cannot be read, or is not for ES512", remedy))?;
            return Ok(TokenKey { key: VerifyingKey::P521(point), only: None });
        }
        AlgorithmParameters::EllipticCurve(key) => matches!(key.curve, EllipticCurve::P256 | EllipticCurve::P384),
        AlgorithmParameters::OctetKeyPair(key) => key.curve == EllipticCurve::Ed25519,
        AlgorithmParameters::RSA(_) | AlgorithmParameters::OctetKey(_) => true,
        _ => false,
    };
    if !supported {
        return Err(unfit("a key is of a kind that is not supported", remedy));
    }
    let key = DecodingKey::from_jwk(jwk).map_err(|_| unfit("a key in the value cannot be read", remedy))?;
    if key.family() == jsonwebtoken::AlgorithmFamily::Hmac
        && key.try_get_as_bytes().is_ok_and(|bytes| bytes.len() < SECRET_BYTES_MIN)
    {
        return Err(unfit("a symmetric key is too short", "write at least 32 bytes"));
    }
    let only = match jwk.common.key_algorithm {
        None => None,
        Some(named) => Some(
            Algorithm::try_from(named).map_err(|_| unfit("a key is for an algorithm that signs nothing", remedy))?,
        ),
    };
    Ok(TokenKey { key: VerifyingKey::Common(key), only })
}

/// Both coordinates as they are: 66 bytes each (RFC 7518, section 6.2.1.2).
fn p521_point(key: &EllipticCurveKeyParameters) -> Option<p521::PublicKey> {
    let coordinate = |text: &str| -> Option<p521::FieldBytes> {
        p521::FieldBytes::from_exact_iter(URL_SAFE_NO_PAD.decode(text).ok()?)
    };
    let point = p521::EncodedPoint::from_affine_coordinates(&coordinate(&key.x)?, &coordinate(&key.y)?, false);
    p521::PublicKey::from_encoded_point(&point).into()
}

/// The library knows no such algorithm, so a key that names it names an unknown one; a key of this curve serves no other.
fn is_for_es512(jwk: &Jwk) -> bool {
    matches!(jwk.common.key_algorithm, None | Some(KeyAlgorithm::UNKNOWN_ALGORITHM))
}

/// Says nothing of the secret itself.
fn unfit(problem: &str, remedy: &str) -> Unfit {
    Unfit { problem: problem.to_owned(), remedy: remedy.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "0123456789abcdef0123456789abcdef";

    fn count(secret: &str, encoding: Encoding) -> Result<usize, String> {
        keys(secret, encoding).map(|keys| keys.len()).map_err(|unfit| unfit.problem)
    }

    #[test]
    fn a_secret_is_a_text_a_key_a_set_or_a_file() {
        let file = std::env::temp_dir().join(format!("transom-secret-{}", std::process::id()));
        fs::write(&file, format!("{TEXT}\n")).unwrap();
        let in_file = keys(&format!("@{}", file.display()), Encoding::Plain).unwrap();
        fs::remove_file(&file).unwrap();
        let VerifyingKey::Common(key) = &in_file[0].key else { panic!("a text is a shared secret") };
        assert_eq!(key.try_get_as_bytes().unwrap(), TEXT.as_bytes());
        let jwk = r#"{"kty":"oct","alg":"HS256","k":"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"}"#;
        let encryption = r#"{"kty":"oct","use":"enc","k":"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"}"#;
        assert_eq!(count(TEXT, Encoding::Plain), Ok(1));
        assert_eq!(count(jwk, Encoding::Plain), Ok(1));
        assert_eq!(count(&format!(r#"{{"keys":[{jwk},{encryption},{jwk}]}}"#), Encoding::Plain), Ok(2));
        assert_eq!(count(&STANDARD.encode(jwk), Encoding::Base64), Ok(1));
        for encoded in
            ["-_-_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY.", "+/+/MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="]
        {
            assert_eq!(count(encoded, Encoding::Base64), Ok(1), "{encoded}");
        }
    }

    #[test]
    fn what_is_no_secret_is_refused_and_not_repeated() {
        for (secret, encoding) in [
            ("too short to be secret", Encoding::Plain),
            ("0123456789abcdef 0123456789abcdef!", Encoding::Base64),
            ("@/there/is/no/such/file", Encoding::Plain),
            ("{\"keys\":[]}", Encoding::Plain),
            ("{\"kty\":\"EC\",\"crv\":\"P-521\",\"x\":\"AA\",\"y\":\"AA\"}", Encoding::Plain),
            ("{\"kty\":\"oct\",\"k\":\"c2hvcnQ\"}", Encoding::Plain),
            ("{ this is no JSON at all, but it is long enough }", Encoding::Plain),
            ("-----BEGIN PUBLIC KEY----- MIIBIjANBgkqhkiG9w0B", Encoding::Plain),
        ] {
            let problem = count(secret, encoding).unwrap_err();
            assert!(secret.starts_with('@') || !problem.contains(secret), "{problem}");
        }
    }
}
