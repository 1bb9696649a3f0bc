//! Who asks: tokens of two roles, and tokens that are refused.

use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::exchange::Ask;
use super::generator::Generator;

pub(super) const SETTINGS: [(&str, &str); 2] = [("jwt_secret", SECRET), ("jwt_aud", "shop")];

const SECRET: &str = "the oracle's secret, which is long enough for HS256";
/// In seconds: in the year 2100.
const FAR: u64 = 4_102_444_800;

/// How many tokens there are.
const TOKENS: u32 = 14;

/// What a token says; the last ones are refused.
fn claims() -> [Value; TOKENS as usize] {
    let member = |name: &str| json!({ "role": "oracle_member", "sub": name, "aud": "shop", "exp": FAR });
    let lead =
        |team: &str| json!({ "role": "oracle_lead", "sub": "lead", "app": { "team": team }, "aud": ["shop", "x"] });
    [
        member("ann"),
        member("bob"),
        member("nobody"),
        lead("red"),
        lead("blue"),
        json!({ "role": "oracle_lead" }),
        json!({ "role": "oracle_member", "sub": 5, "aud": "shop" }),
        json!({ "sub": "ann", "aud": "shop" }),
        json!({ "role": "nosuch", "aud": "shop" }),
        json!({ "role": "oracle_member", "sub": "ann", "aud": "shop", "exp": 1 }),
        json!({ "role": "oracle_member", "sub": "ann", "aud": "shop", "nbf": FAR }),
        json!({ "role": "oracle_member", "sub": "ann", "aud": "shop", "iat": FAR }),
        json!({ "role": "oracle_member", "sub": "ann", "aud": "other" }),
        json!({ "role": "oracle_member", "sub": "ann", "aud": ["other"] }),
    ]
}

fn token(claims: &Value, secret: &str) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    encode(&Header::default(), claims, &key).expect("the key fits the algorithm")
}

impl Generator {
    /// The same by somebody, or by nobody in particular.
    pub(super) fn authorized(&mut self, ask: Ask) -> Ask {
        if self.chance(0.15) {
            return ask;
        }
        let claims = claims();
        let chosen = if self.chance(0.75) { self.random_below(5) } else { self.random_below(TOKENS) };
        let secret = if chosen < 5 && self.chance(0.02) {
            "another secret that is as long as the one of the oracle"
        } else {
            SECRET
        };
        ask.header("Authorization", format!("Bearer {}", token(&claims[chosen as usize], secret)))
    }

    /// A read by somebody; every other one of what depends on who asks.
    pub(super) fn read_by_somebody(&mut self) -> Ask {
        let ask = if self.chance(0.5) {
            let parameters = self.parameters(super::tables::table("notes"));
            Ask::get(format!("/notes?{}", parameters.join("&")))
        } else if self.chance(0.3) {
            Ask::get(self.pick(&["/rpc/who", "/rpc/my_notes?order=id", "/rpc/my_notes?select=id,users(id)"]))
        } else {
            self.read()
        };
        self.authorized(ask)
    }
}
