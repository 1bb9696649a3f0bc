//! Why a token is not accepted, in the words of PostgREST 12.0.2 and of the library below it.

use std::borrow::Cow;

/// Why a token is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// other than three parts with dots between
    #[error("JWSError (CompactDecodeError Invalid number of parts: Expected 3 parts; got {0})")]
    Parts(usize),
    /// header, claims or signature cannot be decoded, or the header asks for what nobody here understands
    #[error("JWSError (JSONDecodeError {0:?})")]
    Header(&'static str),
    /// `alg` is `none`
    #[error("JWSError JWSNoSignatures")]
    Unsigned,
    /// no key fits the algorithm and the signature
    #[error("JWSError JWSInvalidSignature")]
    Signature,
    /// the claims are not what RFC 7519 says they are
    #[error("JWTClaimsSetDecodeError {0:?}")]
    Claims(Cow<'static, str>),
    /// `exp` is over
    #[error("JWT expired")]
    Expired,
    /// `iat` is ahead
    #[error("JWTIssuedAtFuture")]
    IssuedInFuture,
    /// `nbf` is ahead
    #[error("JWTNotYetValid")]
    NotYetValid,
    /// `aud` names others
    #[error("JWTNotInAudience")]
    Audience,
    /// its user has logged out, is banned, .. since it was issued
    #[error("JWT revoked")]
    Withdrawn,
}

impl Refusal {
    /// What PostgREST says of an `alg` that it does not know.
    pub const UNKNOWN_ALGORITHM: Self = Self::Header(
        "unrecognised value; expected: [\"HS256\",\"HS384\",\"HS512\",\"RS256\",\"RS384\",\"RS512\",\"ES256\",\
         \"ES384\",\"ES512\",\"PS256\",\"PS384\",\"PS512\",\"none\",\"EdDSA\"]",
    );
    /// A part is not Base64 with the URL's alphabet and without padding.
    pub const NOT_BASE64: Self = Self::Header("Not valid base64url");
}
