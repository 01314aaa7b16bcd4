//! Where the server is and what proves who is asking: read from flags and environment, checked before anything is sent.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Url;
use valetkey_core::Secret;

use crate::cli::failure::{Exit, Failure};
use crate::cli::login::kept::Logins;
use crate::cli::output::{Out, clean};

/// The address `valetkey dev` and `valetkey server` listen on unless the request says otherwise.
const DEFAULT_SERVER: &str = "http://127.0.0.1:7070";
/// A token file larger than this is some other file.
const MAX_TOKEN_FILE_BYTES: u64 = 16 * 1024;

/// Which server, and as whom.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connection {
    /// URL of the server's API
    #[arg(long, global = true, value_name = "URL", env = "VALETKEY_SERVER", hide_env_values = true, default_value = DEFAULT_SERVER)]
    server: String,
    /// File with the token, `-` for standard input; otherwise `VALETKEY_TOKEN` or `VALETKEY_TOKEN_FILE`
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// PEM file of further certificate authorities to trust
    #[arg(long, global = true, value_name = "FILE", env = "VALETKEY_CA_CERT_FILE", hide_env_values = true)]
    ca_cert_file: Option<PathBuf>,
    /// Send the token over plain http to a host other than this one
    #[arg(long, global = true)]
    insecure_http: bool,
    /// Change by hand what policy files own; the ledger keeps why
    #[arg(long, global = true, value_name = "WHY")]
    break_glass: Option<String>,
    /// Longest time a request may take, in seconds
    #[arg(long, global = true, value_name = "N", env = "VALETKEY_TIMEOUT_SECS", hide_env_values = true, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout_secs: u64,
}

/// A server and a token that may be sent to it.
pub(crate) struct Target {
    /// The API's URL; its path ends in `/`.
    pub(crate) url: Url,
    /// What proves who is asking.
    pub(crate) token: Secret<String>,
    /// Certificate authorities beside the system's, as PEM.
    pub(crate) ca_cert: Option<(PathBuf, Vec<u8>)>,
    /// Why what policy files own is changed by hand.
    pub(crate) break_glass: Option<String>,
    /// Longest time a request may take.
    pub(crate) timeout: Duration,
    /// Whether it is this machine.
    pub(crate) loopback: bool,
}

impl Connection {
    /// Checks what was given, and finds what proves who asks.
    pub(crate) fn target(&self, environment: &BTreeMap<String, String>, out: &Out) -> Result<Target, Failure> {
        let to = self.unproven()?;
        let token = self.token(environment, &to.url, out)?;
        Ok(Target { token, ..to })
    }

    /// Checks what was given. Nothing proves who asks: the token is empty, and none is sent.
    pub(crate) fn unproven(&self) -> Result<Target, Failure> {
        let Self { server, token_file: _, ca_cert_file, insecure_http, break_glass, timeout_secs } = self;
        let url = parse_server(server)?;
        let loopback = is_loopback(&url);
        if url.scheme() == "http" && !loopback && !insecure_http {
            return Err(Failure::usage(format!("`{url}` is plain http, and others could read the token on its way"))
                .hint("use https, or pass --insecure-http if the network is yours"));
        }
        let ca_cert = match ca_cert_file {
            Some(path) => {
                let pem = std::fs::read(path);
                let pem =
                    pem.map_err(|error| Failure::local(format!("`{}` cannot be read: {error}", path.display())))?;
                Some((path.clone(), pem))
            }
            None => None,
        };
        let token = Secret::new(String::new());
        let (break_glass, timeout) = (break_glass.clone(), Duration::from_secs(*timeout_secs));
        Ok(Target { url, token, ca_cert, break_glass, timeout, loopback })
    }

    /// Whether a token is named, which goes before any login.
    pub(crate) fn names_token(&self, environment: &BTreeMap<String, String>) -> bool {
        let named = |name: &str| environment.get(name).is_some_and(|value| !value.is_empty());
        self.token_file.is_some() || named("VALETKEY_TOKEN") || named("VALETKEY_TOKEN_FILE")
    }

    fn token(&self, environment: &BTreeMap<String, String>, url: &Url, out: &Out) -> Result<Secret<String>, Failure> {
        if self.names_token(environment) {
            return token(self.token_file.as_deref(), environment, out);
        }
        let login = Logins::of(environment).map(|logins| logins.find(url.as_str())).transpose()?.flatten();
        login.map_or_else(|| token(None, environment, out), |login| Ok(login.token()))
    }

    /// The flags with which another process connects so, if the token is in a file, or a login kept.
    pub(crate) fn words(&self, environment: &BTreeMap<String, String>) -> Option<Vec<String>> {
        let Self { server, token_file, ca_cert_file, insecure_http, break_glass: _, timeout_secs: _ } = self;
        let named = |name: &str| environment.get(name).filter(|value| !value.is_empty());
        let token = match token_file {
            Some(path) => Some(path.clone()).filter(|path| path != Path::new("-")),
            None if named("VALETKEY_TOKEN").is_some() => None,
            None => named("VALETKEY_TOKEN_FILE").map(PathBuf::from),
        };
        if token.is_none() && (self.names_token(environment) || !self.has_login(environment)) {
            return None;
        }
        let whole = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string();
        let mut words = vec!["--server".to_owned(), server.clone()];
        words.extend(token.iter().flat_map(|path| ["--token-file".to_owned(), whole(path)]));
        words.extend(ca_cert_file.iter().flat_map(|path| ["--ca-cert-file".to_owned(), whole(path)]));
        words.extend(insecure_http.then(|| "--insecure-http".to_owned()));
        Some(words)
    }

    fn has_login(&self, environment: &BTreeMap<String, String>) -> bool {
        let logins = Logins::of(environment).zip(self.unproven().ok());
        logins.is_some_and(|(logins, to)| logins.find(to.url.as_str()).is_ok_and(|login| login.is_some()))
    }

    /// The token as its file, if it is in one, or the login holds it now. Standard input is read once.
    pub(crate) fn token_again(
        &self,
        environment: &BTreeMap<String, String>,
        out: &Out,
    ) -> Result<Option<Secret<String>>, Failure> {
        match self.token_file.as_deref() {
            Some(path) if path == Path::new("-") => Ok(None),
            _ => self.token(environment, &parse_server(&self.server)?, out).map(Some),
        }
    }
}

fn parse_server(text: &str) -> Result<Url, Failure> {
    let refused = |why: &str| {
        Failure::usage(format!("`{}` is not the URL of a server: {why}", clean(text)))
            .hint(format!("it looks like {DEFAULT_SERVER}"))
    };
    // Parsed before it is shown: a URL with a password in it is not repeated.
    let mut url = Url::parse(text).map_err(|error| {
        if text.contains('@') {
            Failure::usage("the URL of the server cannot be read").hint(format!("it looks like {DEFAULT_SERVER}"))
        } else {
            refused(&error.to_string())
        }
    })?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Failure::usage("the URL of the server has a user or password in it")
            .hint("put the token into VALETKEY_TOKEN or a file for --token-file"));
    }
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(refused("it is neither http nor https"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refused("it has a query or a fragment"));
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

/// Whether the host is this machine by its very name. Other names are not resolved: what they resolve to can change.
fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// The token: the flag's file before the environment, the variable before the variable's file.
fn token(flag: Option<&Path>, environment: &BTreeMap<String, String>, out: &Out) -> Result<Secret<String>, Failure> {
    let named = |name: &str| environment.get(name).filter(|value| !value.is_empty());
    let (from, text) = if let Some(path) = flag {
        (format!("`{}`", path.display()), read_token_file(path, out)?)
    } else if let Some(token) = named("VALETKEY_TOKEN") {
        ("VALETKEY_TOKEN".to_owned(), Secret::new(token.clone()))
    } else if let Some(path) = named("VALETKEY_TOKEN_FILE") {
        (format!("`{path}`"), read_token_file(Path::new(path), out)?)
    } else {
        return Err(Failure::new(Exit::Unauthenticated, "there is no token to prove who you are").hint(
            "`valetkey login`, set VALETKEY_TOKEN, or pass --token-file FILE; `valetkey dev` prints tokens to try",
        ));
    };
    let token = text.reveal().trim();
    if token.is_empty() {
        return Err(Failure::new(Exit::Unauthenticated, format!("{from} holds no token")));
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Failure::new(Exit::Unauthenticated, format!("{from} holds something that is not one token"))
            .hint("a token is one word of letters, digits and `_`"));
    }
    Ok(Secret::new(token.to_owned()))
}

fn read_token_file(path: &Path, out: &Out) -> Result<Secret<String>, Failure> {
    let unreadable =
        |error: std::io::Error| Failure::local(format!("the token cannot be read from `{}`: {error}", path.display()));
    if path == Path::new("-") {
        return read_limited(std::io::stdin().lock()).map_err(unreadable);
    }
    let file = std::fs::File::open(path).map_err(unreadable)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = file.metadata().map_err(unreadable)?.permissions().mode();
        if mode & 0o077 != 0 {
            out.warn(&format!("others can read the token in `{}`; `chmod 600` it", clean(&path.display().to_string())));
        }
    }
    #[cfg(not(unix))]
    let _ = out;
    read_limited(file).map_err(unreadable)
}

/// Reads what leaked, or a token to be ended: only from standard input, because others on the machine see a command line.
pub(crate) fn read_secret(word: &str, command: &str) -> Result<Secret<String>, Failure> {
    if word != "-" {
        // Never repeated: it may be the secret.
        return Err(Failure::usage("what leaked is read from standard input, not from the command line")
            .hint(format!("`valetkey {command} -`, and write or pipe it there")));
    }
    let text = read_limited(std::io::stdin().lock());
    let text = text.map_err(|error| Failure::local(format!("standard input cannot be read: {error}")))?;
    let text = text.reveal().trim();
    if text.is_empty() {
        return Err(Failure::usage("standard input is empty"));
    }
    Ok(Secret::new(text.to_owned()))
}

fn read_limited(from: impl std::io::Read) -> std::io::Result<Secret<String>> {
    let mut text = String::new();
    let read = from.take(MAX_TOKEN_FILE_BYTES + 1).read_to_string(&mut text);
    let text = Secret::new(text);
    if read? as u64 > MAX_TOKEN_FILE_BYTES {
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, "it is too large for a token"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::{Color, Format, Talk};

    fn connection(server: &str) -> Connection {
        Connection {
            server: server.to_owned(),
            token_file: None,
            ca_cert_file: None,
            insecure_http: false,
            break_glass: None,
            timeout_secs: 5,
        }
    }

    fn target(connection: &Connection) -> Result<Target, Failure> {
        let out = Out::new(Format::Table, Color::Never, Talk::Quiet);
        connection.target(&BTreeMap::from([("VALETKEY_TOKEN".to_owned(), "vkt_x".to_owned())]), &out)
    }

    #[test]
    fn a_token_is_sent_in_the_clear_only_to_this_machine() {
        for (server, allowed) in [
            ("http://127.0.0.1:7070", true),
            ("http://127.8.9.1", true),
            ("http://[::1]:7070", true),
            ("http://[::ffff:127.0.0.1]:7070", true),
            ("http://localhost:1", true),
            ("http://LOCALHOST", true),
            ("https://keys.example", true),
            ("http://keys.example", false),
            ("http://localhost.example", false),
            ("http://127.0.0.1.example", false),
            ("http://10.0.0.1", false),
            ("http://0.0.0.0:7070", false),
        ] {
            let target = target(&connection(server));
            assert_eq!(target.is_ok(), allowed, "{server}");
            if let Err(failure) = target {
                assert_eq!(failure.exit, Exit::Usage, "{server}");
            }
        }
        let told = Connection { insecure_http: true, ..connection("http://keys.example") };
        assert!(target(&told).is_ok());
    }

    #[test]
    fn what_is_not_the_url_of_a_server_is_refused_and_a_password_not_repeated() {
        for server in [
            "",
            "127.0.0.1:7070",
            "ftp://x",
            "http://x/?a=b",
            "http://x/#a",
            "http://u:hunter2@127.0.0.1",
            "http://u:hunter2@:x",
        ] {
            let failure = target(&connection(server)).map(|_| ()).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage, "{server}");
            assert!(!format!("{failure:?}").contains("hunter2"));
        }
    }

    #[test]
    fn the_flag_goes_before_the_variable_and_the_variable_before_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let (flag, file) = (write("flag", "vkt_flag\n"), write("file", "vkt_file"));
        let out = Out::new(Format::Table, Color::Never, Talk::Quiet);
        let of = |flag: Option<&Path>, pairs: &[(&str, &str)]| {
            let map = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            token(flag, &map, &out).map(|token| token.reveal().clone())
        };
        let both = [("VALETKEY_TOKEN", "vkt_env"), ("VALETKEY_TOKEN_FILE", file.to_str().unwrap())];
        assert_eq!(of(Some(&flag), &both).unwrap(), "vkt_flag");
        assert_eq!(of(None, &both).unwrap(), "vkt_env");
        assert_eq!(of(None, &both[1..]).unwrap(), "vkt_file");
        assert_eq!(of(None, &[("VALETKEY_TOKEN", "")]).unwrap_err().exit, Exit::Unauthenticated);
        assert_eq!(of(None, &[("VALETKEY_TOKEN", "two words")]).unwrap_err().exit, Exit::Unauthenticated);
        assert_eq!(of(Some(Path::new("/nowhere/at/all")), &both).unwrap_err().exit, Exit::Local);
        assert_eq!(of(Some(&write("big", &"x".repeat(20_000))), &[]).unwrap_err().exit, Exit::Local);
    }
}
