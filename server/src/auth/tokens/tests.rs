//! Each attack of the class 'tokens' (`reliability`), against the verifier.

use serde_json::{Value, json};

use super::*;

const NOW_MS: i64 = 1_800_000_000_000;
const HOUR: Duration = Duration::from_secs(3600);

struct Forge {
    keys: Keys,
    tokens: Tokens,
}

impl Forge {
    fn new() -> Self {
        let keys = Keys::random();
        Self { tokens: Tokens::new(&keys, HOUR), keys }
    }

    fn genuine(&self) -> String {
        self.tokens.issue(UserId(7), &"ann".into(), 3, NOW_MS).0
    }

    fn claims() -> Value {
        json!({"iss": ISSUER, "aud": AUDIENCE, "typ": ACCESS, "sub": "7", "username": "ann", "jti": "j", "fam": "3",
               "iat": NOW_MS / 1000, "nbf": NOW_MS / 1000, "exp": NOW_MS / 1000 + 60, "iat_ms": NOW_MS})
    }

    /// Signs any claims with the real key.
    fn signed(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some(self.keys.signing().kid.clone());
        jsonwebtoken::encode(&header, claims, &EncodingKey::from_secret(&self.keys.signing().bytes)).unwrap()
    }

    fn with(&self, name: &str, value: Value) -> Result<Identity, TokenError> {
        let mut claims = Self::claims();
        claims[name] = value;
        self.tokens.verify(&self.signed(&claims), NOW_MS)
    }
}

/// Base64url without padding, for forging headers.
fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0u32, |bits, &byte| bits << 8 | u32::from(byte)) << (8 * (3 - chunk.len()));
        for n in 0..=chunk.len() {
            text.push(char::from(DIGITS[(bits >> (18 - 6 * n) & 63) as usize]));
        }
    }
    text
}

#[test]
fn a_genuine_token_names_its_user() {
    let forge = Forge::new();
    let (token, issued) = forge.tokens.issue(UserId(7), &"ann".into(), 3, NOW_MS);
    let identity = forge.tokens.verify(&token, NOW_MS).unwrap();
    assert_eq!(identity, issued);
    assert_eq!((identity.user, &*identity.name, identity.family), (UserId(7), "ann", 3));
    assert_eq!(identity.expires_at_ms, NOW_MS + 3_600_000);
    assert!(forge.tokens.verify(&forge.signed(&Forge::claims()), NOW_MS).is_ok(), "the forge forges well");
}

#[test]
fn no_algorithm_and_other_algorithms_are_refused() {
    let forge = Forge::new();
    let genuine = forge.genuine();
    let (_, rest) = genuine.split_once('.').unwrap();
    let (payload, signature) = rest.split_once('.').unwrap();
    let kid = &forge.keys.signing().kid;
    for alg in ["none", "None", "NONE", "HS512", "HS384", "RS256", "ES256", "EdDSA", "hs256", ""] {
        let header = base64url(json!({"alg": alg, "typ": "JWT", "kid": kid}).to_string().as_bytes());
        for signature in ["", signature] {
            let token = format!("{header}.{payload}.{signature}");
            assert_eq!(forge.tokens.verify(&token, NOW_MS), Err(TokenError::Invalid), "{alg}");
        }
    }
    for algorithm in [Algorithm::HS384, Algorithm::HS512] {
        let mut header = Header::new(algorithm);
        header.kid = Some(kid.clone());
        let key = EncodingKey::from_secret(&forge.keys.signing().bytes);
        let token = jsonwebtoken::encode(&header, &Forge::claims(), &key).unwrap();
        assert_eq!(forge.tokens.verify(&token, NOW_MS), Err(TokenError::Invalid), "{algorithm:?} with our own key");
    }
}

#[test]
fn unknown_missing_and_foreign_keys_are_refused() {
    let (forge, other) = (Forge::new(), Forge::new());
    assert_eq!(forge.tokens.verify(&other.genuine(), NOW_MS), Err(TokenError::Invalid));
    for kid in [None, Some("x".to_owned()), Some(String::new()), Some("../../dev/null".into())] {
        let mut header = Header::new(Algorithm::HS256);
        header.kid = kid;
        let key = EncodingKey::from_secret(&forge.keys.signing().bytes);
        let token = jsonwebtoken::encode(&header, &Forge::claims(), &key).unwrap();
        assert_eq!(forge.tokens.verify(&token, NOW_MS), Err(TokenError::Invalid));
    }
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some(forge.keys.signing().kid.clone());
    let foreign = EncodingKey::from_secret(&other.keys.signing().bytes);
    let token = jsonwebtoken::encode(&header, &Forge::claims(), &foreign).unwrap();
    assert_eq!(forge.tokens.verify(&token, NOW_MS), Err(TokenError::Invalid), "our key id on a foreign signature");
}

#[test]
fn wrong_issuer_audience_type_and_subject_are_refused() {
    let forge = Forge::new();
    for (name, wrong) in [
        ("iss", json!("evil")),
        ("iss", json!(null)),
        ("aud", json!("evil")),
        ("aud", json!([AUDIENCE, "evil"])),
        ("typ", json!("refresh")),
        ("typ", json!(null)),
        ("sub", json!("ann")),
        ("sub", json!("-1")),
        ("sub", json!(7)),
        ("fam", json!("x")),
    ] {
        assert_eq!(forge.with(name, wrong.clone()), Err(TokenError::Invalid), "{name} {wrong}");
    }
    for name in ["iss", "aud", "typ", "sub", "jti", "exp", "nbf", "iat", "fam", "username", "iat_ms"] {
        let mut claims = Forge::claims();
        claims.as_object_mut().unwrap().remove(name);
        assert_eq!(forge.tokens.verify(&forge.signed(&claims), NOW_MS), Err(TokenError::Invalid), "without {name}");
    }
}

#[test]
fn expired_and_not_yet_valid_tokens_are_refused() {
    let forge = Forge::new();
    let token = forge.genuine();
    assert!(forge.tokens.verify(&token, NOW_MS + 3_599_999).is_ok());
    assert_eq!(forge.tokens.verify(&token, NOW_MS + 3_600_000), Err(TokenError::Expired));
    assert_eq!(forge.with("nbf", json!(NOW_MS / 1000 + 6)), Err(TokenError::NotYetValid));
    assert_eq!(forge.with("iat", json!(NOW_MS / 1000 + 6)), Err(TokenError::NotYetValid));
    assert!(forge.with("nbf", json!(NOW_MS / 1000 + 5)).is_ok(), "clocks differ a little");
}

#[test]
fn times_that_are_not_whole_numbers_are_refused() {
    let forge = Forge::new();
    for name in ["exp", "nbf", "iat"] {
        for wrong in [json!("99999999999"), json!(9_999_999_999.5), json!(-1), json!(null), json!([1]), json!(u64::MAX)]
        {
            let result = forge.with(name, wrong.clone());
            assert!(result.is_err(), "{name} {wrong}: {result:?}");
        }
    }
}

#[test]
fn damaged_and_huge_tokens_are_refused() {
    let forge = Forge::new();
    let token = forge.genuine();
    let mut tampered = token.clone().into_bytes();
    let middle = token.find('.').unwrap() + 20;
    tampered[middle] = if tampered[middle] == b'A' { b'B' } else { b'A' };
    let tampered = String::from_utf8(tampered).unwrap();
    for bad in
        ["", ".", "..", "a.b.c", &token[..token.len() - 1], &format!("{token}.x"), &tampered, &"x".repeat(100_000)]
    {
        assert_eq!(forge.tokens.verify(bad, NOW_MS), Err(TokenError::Invalid), "{bad:.40}");
    }
}

#[test]
fn after_a_rotation_old_tokens_hold_until_their_key_is_removed() {
    let (old, new) = (Keys::random(), Keys::random());
    let text = |keys: &Keys| crate::hex::encode(&keys.signing().bytes);
    let both =
        crate::config::SecretSource::Given(crate::config::Hidden::new(format!("{}\n{}", text(&new), text(&old))));
    let both = Keys::load(&both).map_err(|error| error.to_string()).map(|loaded| loaded.keys).unwrap();
    let token = Tokens::new(&old, HOUR).issue(UserId(7), &"ann".into(), 3, NOW_MS).0;
    let rotated = Tokens::new(&both, HOUR);
    assert!(rotated.verify(&token, NOW_MS).is_ok());
    assert!(Tokens::new(&new, HOUR).verify(&rotated.issue(UserId(7), &"ann".into(), 3, NOW_MS).0, NOW_MS).is_ok());
    assert_eq!(Tokens::new(&new, HOUR).verify(&token, NOW_MS), Err(TokenError::Invalid));
}

#[test]
fn a_ticket_is_good_at_every_node_for_its_time_and_never_as_a_token() {
    let keys = Keys::random();
    let (here, there) = (Tokens::new(&keys, Duration::from_secs(3600)), Tokens::new(&keys, Duration::from_secs(60)));
    let now_ms = 1_800_000_000_000;
    let (token, identity) = here.issue(UserId(7), &"ann".into(), 42, now_ms);
    let ticket = here.issue_ticket(&identity, Duration::from_secs(30), now_ms);
    let (stands_for, id) = there.verify_ticket(&ticket, now_ms + 29_000).unwrap();
    assert_eq!(stands_for, identity);
    let other = here.issue_ticket(&identity, Duration::from_secs(30), now_ms);
    assert_ne!(there.verify_ticket(&other, now_ms).unwrap().1, id, "each is another one");
    assert_eq!(there.verify_ticket(&ticket, now_ms + 30_000), Err(TokenError::Expired));
    assert_eq!(there.verify(&ticket, now_ms), Err(TokenError::Invalid));
    assert_eq!(there.verify_ticket(&token, now_ms), Err(TokenError::Invalid));
    let strangers = Tokens::new(&Keys::random(), Duration::from_secs(60));
    assert_eq!(strangers.verify_ticket(&ticket, now_ms), Err(TokenError::Invalid));
}
