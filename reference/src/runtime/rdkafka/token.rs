//! The OAUTHBEARER token of a file that somebody else renews.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

/// A token and what the client must know about it. Has no `Debug`: nothing prints it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) text: String,
    pub(super) principal: String,
    /// Milliseconds since the Unix epoch.
    pub(super) expires_at_ms: i64,
}

/// What came of asking for a token.
pub(super) struct Fetched {
    pub(super) token: Token,
    /// It is the old one: why there is no newer.
    pub(super) stale: Option<String>,
}

/// The token of the last time.
struct Held {
    token: Token,
    /// When it was first taken, milliseconds since the Unix epoch.
    since_ms: i64,
}

impl Held {
    /// True once a newer token should be there: when the client asks anew by itself, with a fifth
    /// of what was left of its life when it was first taken. A client that is made anew asks before
    /// that, and finds the same token with nothing wrong.
    fn is_due(&self, now_ms: i64) -> bool {
        let life = self.token.expires_at_ms.saturating_sub(self.since_ms);
        now_ms.saturating_sub(self.since_ms).saturating_mul(5) >= life.saturating_mul(4)
    }
}

/// Where the token is.
pub(super) struct TokenFile {
    path: PathBuf,
    held: Mutex<Option<Held>>,
}

impl TokenFile {
    pub(super) fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), held: Mutex::default() }
    }

    fn held(&self) -> MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The token of the file or, as long as it is valid, the one of the last time. The same one as
    /// the last time is stale only when it was to be renewed by now.
    ///
    /// # Errors
    /// Why there is none. Never holds a token.
    pub(super) fn fetch(&self, now_ms: i64) -> Result<Fetched, String> {
        let read = self.read().and_then(|token| {
            let age = now_ms.saturating_sub(token.expires_at_ms);
            let expired = || format!("the token expired {} ago", seconds(age));
            if age >= 0 { Err(expired()) } else { Ok(token) }
        });
        let mut held = self.held();
        let old = held.as_ref().filter(|old| old.token.expires_at_ms > now_ms);
        let left = |old: &Held| seconds(old.token.expires_at_ms.saturating_sub(now_ms));
        let place = self.path.display();
        match (read, old) {
            (Ok(token), Some(old)) if token == old.token => {
                let why =
                    || format!("{place}: the token was not renewed; {} of it left", left(old));
                Ok(Fetched { token, stale: old.is_due(now_ms).then(why) })
            }
            (Ok(token), _) => {
                *held = Some(Held { token: token.clone(), since_ms: now_ms });
                Ok(Fetched { token, stale: None })
            }
            (Err(why), Some(old)) => {
                let stale = format!("{place}: {why}; {} of the old token left", left(old));
                Ok(Fetched { token: old.token.clone(), stale: Some(stale) })
            }
            (Err(why), None) => Err(format!("{place}: {why}")),
        }
    }

    fn read(&self) -> Result<Token, String> {
        let text = std::fs::read_to_string(&self.path).map_err(|error| error.to_string())?;
        parse(text.trim())
    }
}

/// A time in milliseconds, for people.
fn seconds(ms: i64) -> String {
    format!("{}.{} s", ms / 1000, (ms % 1000).abs() / 100)
}

/// Either `{"token": …, "principal": …, "expires_at_ms": …}`, where the last two may be left to a
/// JWT's own claims; or such a JWT alone.
fn parse(text: &str) -> Result<Token, String> {
    let object = serde_json::from_str::<Value>(text).ok().filter(Value::is_object);
    let field = |name: &str| object.as_ref().and_then(|fields| fields.get(name));
    let token = match &object {
        Some(_) => field("token").and_then(Value::as_str).ok_or("no text `token` in it")?,
        None => text,
    };
    if token.is_empty() {
        return Err("it is empty".to_owned());
    }
    let claims = claims(token);
    let claim = |name: &str| claims.as_ref().and_then(|claims| claims.get(name));
    let principal = field("principal").or_else(|| claim("sub")).and_then(Value::as_str);
    let exp = claim("exp").and_then(Value::as_f64);
    let exp = exp.and_then(|exp| Duration::try_from_secs_f64(exp).ok());
    let exp = exp.and_then(|exp| i64::try_from(exp.as_millis()).ok());
    let expires_at_ms = field("expires_at_ms").and_then(Value::as_i64).or(exp);
    Ok(Token {
        text: token.to_owned(),
        principal: principal.unwrap_or_default().to_owned(),
        expires_at_ms: expires_at_ms.ok_or("nothing says when the token expires")?,
    })
}

/// The claims of a JWT, which nobody verifies here: that is for the broker.
fn claims(token: &str) -> Option<Value> {
    let body = token.split('.').nth(1)?;
    let body = URL_SAFE_NO_PAD.decode(body.trim_end_matches('=')).ok()?;
    serde_json::from_slice(&body).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> (std::path::PathBuf, TokenFile) {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("token-{}-{n}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        (path.clone(), TokenFile::new(path))
    }

    fn json(token: &str, expires_at_ms: i64) -> String {
        serde_json::json!({ "token": token, "principal": "alice", "expires_at_ms": expires_at_ms })
            .to_string()
    }

    #[test]
    fn a_renewed_file_gives_the_new_token() {
        let (path, tokens) = file(&json("first", 5_000));
        assert_eq!(tokens.fetch(1_000).unwrap().token.text, "first");
        std::fs::write(&path, json("second", 9_000)).unwrap();
        let fetched = tokens.fetch(4_000).unwrap();
        assert_eq!((fetched.token.text.as_str(), fetched.stale), ("second", None));
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn without_a_newer_token_the_old_one_serves_to_its_end_and_the_reason_is_told() {
        let (path, tokens) = file(&json("first", 5_000));
        tokens.fetch(1_000).unwrap();
        let same = tokens.fetch(4_200).unwrap();
        assert!(same.stale.unwrap().ends_with("not renewed; 0.8 s of it left"));
        std::fs::write(&path, "{}").unwrap();
        let broken = tokens.fetch(4_500).unwrap();
        assert_eq!(broken.token.text, "first");
        assert!(broken.stale.unwrap().contains("no text `token`"));
        std::fs::remove_file(path).unwrap();
        let told = tokens.fetch(5_000).err().unwrap();
        assert!(told.contains("No such file"), "{told}");
    }

    #[test]
    fn a_client_that_is_made_anew_finds_the_same_token_and_nothing_is_wrong() {
        let (path, tokens) = file(&json("first", 5_000));
        tokens.fetch(1_000).unwrap();
        // four fifths of its life are over at 4.2 s
        for early in [1_001, 2_500, 4_199] {
            assert_eq!(tokens.fetch(early).unwrap().stale, None, "{early}");
        }
        assert!(tokens.fetch(4_200).unwrap().stale.is_some());
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_token_that_has_expired_is_none_and_is_not_shown() {
        let (path, tokens) = file(&json("first", 5_000));
        let told = tokens.fetch(7_300).err().unwrap();
        assert!(told.ends_with("the token expired 2.3 s ago"), "{told}");
        assert!(!told.contains("first"));
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_jwt_alone_says_who_and_until_when() {
        let body = URL_SAFE_NO_PAD.encode(r#"{"sub":"bob","exp":12.5}"#);
        let token = parse(&format!("e30.{body}.c2ln")).ok().unwrap();
        assert_eq!((token.principal.as_str(), token.expires_at_ms), ("bob", 12_500));
        let opaque = parse("opaque").err().unwrap();
        assert_eq!(opaque, "nothing says when the token expires");
        assert_eq!(parse("").err().unwrap(), "it is empty");
    }
}
