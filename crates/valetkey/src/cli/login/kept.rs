//! What is kept of logins: one file of the user's alone, with what renews them. Each is sent to the server it was made for, and what
//! renews it to the issuer that gave it, and to nobody else.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use valetkey_core::Secret;

use crate::cli::failure::Failure;
use crate::cli::private::{lock, make_directory, private};

/// More than any file of logins.
const MOST_BYTES: u64 = 1024 * 1024;
/// How long another process may take to renew the same login: as long as it may wait for an issuer, and some.
const PATIENCE: Duration = Duration::from_secs(45);

/// A login.
pub(crate) struct Login {
    /// The server's URL that it was made for.
    pub(super) server: String,
    /// The identity provider's name there.
    pub(super) provider: String,
    /// The issuer, and the client as which it was asked.
    pub(super) issuer: String,
    pub(super) client_id: String,
    /// What proves who asks.
    pub(super) id_token: Secret<String>,
    /// What gets the next one.
    pub(super) refresh_token: Option<Secret<String>>,
    /// When the token was got, and when it ends.
    pub(super) got: Timestamp,
    pub(super) until: Timestamp,
}

/// As it stands in the file.
#[derive(Serialize, Deserialize)]
struct Row {
    server: String,
    provider: String,
    issuer: String,
    client_id: String,
    id_token: String,
    refresh_token: Option<String>,
    got_ms: i64,
    until_ms: i64,
}

#[derive(Serialize, Deserialize, Default)]
struct File {
    logins: Vec<Row>,
}

impl From<Row> for Login {
    fn from(row: Row) -> Self {
        let Row { server, provider, issuer, client_id, id_token, refresh_token, got_ms, until_ms } = row;
        // A time that is none is long over.
        let at = |ms| Timestamp::from_millisecond(ms).unwrap_or_default();
        let (got, until) = (at(got_ms), at(until_ms));
        let (id_token, refresh_token) = (Secret::new(id_token), refresh_token.map(Secret::new));
        Self { server, provider, issuer, client_id, id_token, refresh_token, got, until }
    }
}

impl From<&Login> for Row {
    fn from(login: &Login) -> Self {
        Self {
            server: login.server.clone(),
            provider: login.provider.clone(),
            issuer: login.issuer.clone(),
            client_id: login.client_id.clone(),
            id_token: login.id_token.reveal().clone(),
            refresh_token: login.refresh_token.as_ref().map(|token| token.reveal().clone()),
            got_ms: login.got.as_millisecond(),
            until_ms: login.until.as_millisecond(),
        }
    }
}

impl Login {
    /// What proves who asks.
    pub(crate) fn token(self) -> Secret<String> {
        self.id_token
    }

    /// Whether it is time to renew it: a minute before its end, or earlier the longer it lives, at most a fifth of that.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        let life = self.until.duration_since(self.got);
        let ahead = SignedDuration::from_mins(1).min(life / 5);
        self.until.saturating_sub(ahead).is_ok_and(|due| now >= due)
    }
}

/// Where logins are kept.
#[derive(Clone, Debug)]
pub(crate) struct Logins {
    path: PathBuf,
}

impl Logins {
    /// In the user's directory of settings; nowhere if there is none.
    pub(crate) fn of(environment: &BTreeMap<String, String>) -> Option<Self> {
        let named = environment.get("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let home = || environment.get("HOME").map(PathBuf::from).or_else(std::env::home_dir);
        let settings = named.or_else(|| home().map(|home| home.join(".config")))?;
        Some(Self { path: settings.join("valetkey/logins.json") })
    }

    /// The one that was made for a server.
    ///
    /// # Errors
    /// When the file cannot be read, or others can.
    pub(crate) fn find(&self, server: &str) -> Result<Option<Login>, Failure> {
        let all = self.read().map_err(|error| self.failed("read", &error))?;
        Ok(all.logins.into_iter().find(|row| row.server == server).map(Login::from))
    }

    /// Puts a login in the place of the one for the same server. Holds the lock.
    pub(super) fn put(&self, login: &Login) -> Result<(), Failure> {
        self.change(&login.server, Some(Row::from(login)))
    }

    /// Forgets the one for a server. Holds the lock.
    pub(super) fn remove(&self, server: &str) -> Result<(), Failure> {
        self.change(server, None)
    }

    /// Every server that there is a login for.
    pub(super) fn servers(&self) -> Result<Vec<String>, Failure> {
        let all = self.read().map_err(|error| self.failed("read", &error))?;
        Ok(all.logins.into_iter().map(|row| row.server).collect())
    }

    /// One process at a time: an issuer may take what renews a login once only.
    pub(super) async fn lock(&self) -> Result<std::fs::File, Failure> {
        let held = lock(&self.path, PATIENCE).await.map_err(|error| self.failed("locked", &error))?;
        held.ok_or_else(|| Failure::local("another process renews the login, and does not end").hint("try again"))
    }

    fn change(&self, server: &str, with: Option<Row>) -> Result<(), Failure> {
        let mut all = self.read().map_err(|error| self.failed("read", &error))?;
        all.logins.retain(|row| row.server != server);
        all.logins.extend(with);
        let bytes = serde_json::to_vec_pretty(&all).map_err(std::io::Error::other);
        bytes.and_then(|bytes| write(&self.path, &bytes)).map_err(|error| self.failed("written", &error))
    }

    fn read(&self) -> std::io::Result<File> {
        let file = match std::fs::File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(File::default()),
            Err(error) => return Err(error),
        };
        only_ours(&file)?;
        let mut bytes = Vec::new();
        if file.take(MOST_BYTES + 1).read_to_end(&mut bytes)? as u64 > MOST_BYTES {
            return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, "it is too large"));
        }
        // SECURITY: without what stands there, which may be a secret.
        serde_json::from_slice(&bytes).map_err(|_| std::io::Error::other("it is damaged; remove it, and log in again"))
    }

    fn failed(&self, done: &str, error: &std::io::Error) -> Failure {
        Failure::local(format!("`{}` cannot be {done}: {error}", self.path.display()))
    }
}

/// SECURITY: what others can read, others may have read; what is another's, another may have written.
#[cfg(unix)]
fn only_ours(file: &std::fs::File) -> std::io::Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    let about = file.metadata()?;
    let refused = |why: &str| Err(std::io::Error::new(std::io::ErrorKind::PermissionDenied, why.to_owned()));
    match (about.uid() == rustix::process::geteuid().as_raw(), about.mode() & 0o077) {
        (false, _) => refused("it belongs to another user"),
        (true, 0) => Ok(()),
        (true, _) => refused("others can read it; `chmod 600` it"),
    }
}

#[cfg(not(unix))]
fn only_ours(_: &std::fs::File) -> std::io::Result<()> {
    Ok(())
}

/// Durable before it counts: an issuer that gave a new renewal does not take the old one again.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if let Some(directory) = path.parent() {
        make_directory(directory)?;
    }
    let new = path.with_extension("new");
    let _ = std::fs::remove_file(&new);
    let mut file = private().create_new(true).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_second(secs).unwrap()
    }

    fn login(server: &str, got: i64, until: i64) -> Login {
        Login {
            server: server.to_owned(),
            provider: "p".to_owned(),
            issuer: "https://id.example".to_owned(),
            client_id: "c".to_owned(),
            id_token: Secret::new("t".to_owned()),
            refresh_token: None,
            got: at(got),
            until: at(until),
        }
    }

    #[test]
    fn a_login_is_renewed_before_it_ends() {
        let hour = login("s", 0, 3600);
        assert!(!hour.is_due(at(3539)));
        assert!(hour.is_due(at(3540)));
        let short = login("s", 0, 10);
        assert!(!short.is_due(at(7)));
        assert!(short.is_due(at(8)));
    }

    #[cfg(unix)]
    #[test]
    fn a_login_is_kept_for_its_server_in_a_file_of_ones_own() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let environment = BTreeMap::from([("XDG_CONFIG_HOME".to_owned(), dir.path().to_str().unwrap().to_owned())]);
        let logins = Logins::of(&environment).unwrap();
        assert!(logins.find("https://a/").unwrap().is_none());
        logins.put(&login("https://a/", 0, 10)).unwrap();
        logins.put(&login("https://b/", 0, 20)).unwrap();
        logins.put(&login("https://a/", 0, 30)).unwrap();
        assert_eq!(logins.find("https://a/").unwrap().unwrap().until, at(30));
        assert_eq!(logins.servers().unwrap().len(), 2);
        assert!(logins.find("https://a").unwrap().is_none());
        logins.remove("https://b/").unwrap();
        assert_eq!(logins.servers().unwrap(), ["https://a/"]);
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&logins.path), mode(logins.path.parent().unwrap())), (0o600, 0o700));
        std::fs::set_permissions(&logins.path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(logins.find("https://a/").is_err());
        std::fs::set_permissions(&logins.path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&logins.path, "{\"logins\":[{\"id_token\":\"secret\"}]}").unwrap();
        let refused = logins.find("https://a/").err().unwrap();
        assert!(refused.message.contains("damaged") && !refused.message.contains("secret"));
    }
}
