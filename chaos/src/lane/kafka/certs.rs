//! Certificates, keys and tokens of one run: made when brokers start, never kept.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pkcs8::{EncryptedPrivateKeyInfoRef, LineEnding, PrivateKeyInfoRef, SecretDocument};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

use crate::lane::scratch::Scratch;
use crate::subject::secrets::OwnSecrets;

/// The user that brokers know, and that `acl.denied` is about.
pub(super) const USER: &str = "alice";
/// Its password. Scenarios hand it out, and law S3 looks for it.
pub(super) const PASSWORD: &str = "correct-horse-battery-staple";
/// The passphrase of `client-encrypted.key`.
pub(super) const PASSPHRASE: &str = "open-sesame-and-close-again";
/// How long a token is good for.
pub(super) const TOKEN_LIFE: Duration = Duration::from_secs(4);

const HOUR: Duration = Duration::from_secs(3600);

/// A certificate with everything above it, and its key, both PEM.
pub(super) struct Identity {
    certificate: String,
    key: String,
}

impl Identity {
    /// Key and chain in one file, as brokers take it.
    pub(super) fn keystore(&self) -> Vec<u8> {
        format!("{}{}", self.key, self.certificate).into_bytes()
    }
}

/// What the brokers of a run have.
pub(super) struct Certificates {
    pub(super) authority: String,
    pub(super) good: Identity,
    pub(super) expired: Identity,
    pub(super) other_host: Identity,
    other_authority: String,
    client: Identity,
    stranger: Identity,
}

type Made<T> = Result<T, rcgen::Error>;

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

impl Authority {
    fn new(name: &str) -> Made<Self> {
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), certificate })
    }

    fn issue(&self, name: &str, hosts: &[&str], expired: bool) -> Made<Identity> {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts)?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        if expired {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        }
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Identity { certificate, key: key.serialize_pem() })
    }
}

impl Certificates {
    pub(super) fn make() -> Made<Self> {
        let (ours, other) = (Authority::new("dashproof")?, Authority::new("somebody else")?);
        let here = ["127.0.0.1", "localhost"];
        Ok(Self {
            good: ours.issue("broker", &here, false)?,
            expired: ours.issue("broker", &here, true)?,
            other_host: ours.issue("broker", &["elsewhere.invalid"], false)?,
            client: ours.issue("client", &[], false)?,
            stranger: other.issue("stranger", &[], false)?,
            authority: ours.certificate,
            other_authority: other.certificate,
        })
    }

    /// Writes the files that scenarios may name, but for tokens. The keys among them are secrets.
    pub(super) fn write(&self, dir: &Path, secrets: &OwnSecrets) -> io::Result<()> {
        secrets.add_key("the client's key", &self.client.key);
        secrets.add_key("the stranger's key", &self.stranger.key);
        let files = [
            ("ca.pem", &self.authority),
            ("other-ca.pem", &self.other_authority),
            ("client.pem", &self.client.certificate),
            ("client.key", &self.client.key),
            ("client-encrypted.key", &encrypted(&self.client.key)?),
            ("stranger.pem", &self.stranger.certificate),
            ("stranger.key", &self.stranger.key),
        ];
        files.into_iter().try_for_each(|(name, text)| write(&dir.join(name), text))
    }
}

/// Writes a file that nobody else may read.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

/// A directory for one cell, which nobody else may look into.
pub(super) struct Directory(Scratch);

impl Directory {
    /// Makes it.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn make() -> io::Result<Self> {
        Scratch::make("certs-").map(Self)
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }
}

/// The key under [`PASSPHRASE`].
fn encrypted(key: &str) -> io::Result<String> {
    let broken = |error: &dyn std::fmt::Display| io::Error::other(format!("key: {error}"));
    let (_, document) = SecretDocument::from_pem(key).map_err(|e| broken(&e))?;
    let info = PrivateKeyInfoRef::try_from(document.as_bytes()).map_err(|e| broken(&e))?;
    let sealed = info.encrypt(PASSPHRASE).map_err(|e| broken(&e))?;
    // what was written can be read
    EncryptedPrivateKeyInfoRef::try_from(sealed.as_bytes()).map_err(|e| broken(&e))?;
    let pem = sealed.to_pem("ENCRYPTED PRIVATE KEY", LineEnding::LF).map_err(|e| broken(&e))?;
    Ok(pem.to_string())
}

/// Puts a fresh token in the place of the old one, at once.
pub(super) fn renew_token(dir: &Path, secrets: &OwnSecrets) -> io::Result<()> {
    let now = now();
    let expires = now + TOKEN_LIFE;
    let fresh = dir.join("token.fresh");
    write(&fresh, &token(now, expires, expires, secrets))?;
    std::fs::rename(fresh, dir.join("token.json"))
}

/// A token that has expired, and a file that says otherwise: brokers refuse it, no client does.
pub(super) fn expired_token(dir: &Path, secrets: &OwnSecrets) -> io::Result<()> {
    let now = now();
    let (made, expired) = (now.saturating_sub(HOUR), now.saturating_sub(HOUR / 2));
    write(&dir.join("expired-token.json"), &token(made, expired, now + HOUR, secrets))
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// A file with a token of the user.
fn token(made: Duration, expires: Duration, said: Duration, secrets: &OwnSecrets) -> String {
    let part = |json: serde_json::Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let head = part(serde_json::json!({ "alg": "none" }));
    let body = part(serde_json::json!({
        "sub": USER, "iat": made.as_secs_f64(), "exp": expires.as_secs_f64(),
    }));
    // whoever has the body has the token: it is not signed
    secrets.add("a token", &body);
    let file = serde_json::json!({
        "token": format!("{head}.{body}."),
        "principal": USER,
        "expires_at_ms": u64::try_from(said.as_millis()).unwrap_or(u64::MAX),
    });
    file.to_string()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn every_file_that_a_scenario_may_name_is_made_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let secrets = OwnSecrets::default();
        Certificates::make().unwrap().write(dir.path(), &secrets).unwrap();
        renew_token(dir.path(), &secrets).unwrap();
        expired_token(dir.path(), &secrets).unwrap();
        assert!(!secrets.is_empty());
        let mut made: Vec<String> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        let mut named = crate::scenario::security::FILES.map(|(name, ..)| name.to_owned()).to_vec();
        // a realm makes it
        named.retain(|name| name != "alice.keytab");
        made.sort();
        named.sort();
        assert_eq!(made, named);
    }

    #[test]
    fn keys_and_tokens_are_for_their_owner_only() {
        let dir = Directory::make().unwrap();
        let secrets = OwnSecrets::default();
        Certificates::make().unwrap().write(dir.path(), &secrets).unwrap();
        renew_token(dir.path(), &secrets).unwrap();
        expired_token(dir.path(), &secrets).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(dir.path()), 0o700);
        for entry in std::fs::read_dir(dir.path()).unwrap() {
            let path = entry.unwrap().path();
            assert_eq!(mode(&path), 0o600, "{}", path.display());
        }
    }

    #[test]
    fn the_encrypted_key_opens_with_its_passphrase_only() {
        let made = Certificates::make().unwrap();
        let pem = encrypted(&made.client.key).unwrap();
        let (label, sealed) = SecretDocument::from_pem(&pem).unwrap();
        assert_eq!(label, "ENCRYPTED PRIVATE KEY");
        let sealed = EncryptedPrivateKeyInfoRef::try_from(sealed.as_bytes()).unwrap();
        assert!(sealed.decrypt("wrong").is_err());
        let (_, plain) = SecretDocument::from_pem(&made.client.key).unwrap();
        assert_eq!(sealed.decrypt(PASSPHRASE).unwrap().as_bytes(), plain.as_bytes());
    }
}
