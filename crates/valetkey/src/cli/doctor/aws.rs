//! What this machine's variables and files make of a credential in AWS's tools: what they take first, and where they go with it.
//!
//! No value of a variable or of a file is shown.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Deserialize;

use crate::cli::creds::key::{Key, Material};
use crate::cli::doctor::finding::{Finding, State};

/// What is read of the environment.
const READ: [&str; 10] = [
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
];
/// What gives a profile credentials, before the tools look for an agent.
const GIVES: [&str; 7] = [
    "aws_access_key_id",
    "credential_process",
    "role_arn",
    "sso_session",
    "sso_start_url",
    "login_session",
    "web_identity_token_file",
];
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// Files of a cache that are looked at.
const MOST_CACHED: usize = 1000;

/// The variables and files that AWS's tools read.
pub(super) struct Surroundings {
    variables: BTreeMap<String, String>,
    home: Option<PathBuf>,
}

/// The settings of a profile, by their names.
type Settings = BTreeMap<String, String>;

/// A credential of a role that the AWS CLI or boto kept.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Cached {
    credentials: CachedCredentials,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CachedCredentials {
    expiration: String,
}

impl Surroundings {
    /// Of this process.
    pub(super) fn own() -> Self {
        Self { variables: crate::config::values_of(&READ), home: std::env::home_dir() }
    }

    fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    fn file(&self, variable: &str, below: &str) -> Option<PathBuf> {
        let told = self.variable(variable).map(PathBuf::from);
        told.or_else(|| self.home.as_ref().map(|home| home.join(below)))
    }

    fn credentials(&self) -> Option<PathBuf> {
        self.file("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials")
    }

    fn config(&self) -> Option<PathBuf> {
        self.file("AWS_CONFIG_FILE", ".aws/config")
    }

    /// The profile that tools use, if one is chosen.
    fn chosen(&self) -> Option<&str> {
        self.variable("AWS_PROFILE").or_else(|| self.variable("AWS_DEFAULT_PROFILE"))
    }

    fn profile(&self) -> Settings {
        let path = self.config();
        path.and_then(|path| read(&path))
            .map(|text| settings(&text, self.chosen().unwrap_or("default")))
            .unwrap_or_default()
    }

    /// Whether a tool that starts here finds credentials that this can be about.
    fn is_in_use(&self) -> bool {
        let renewing = ["AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"];
        self.chosen().is_some() || renewing.iter().any(|name| self.variable(name).is_some())
    }

    /// What a default profile has that SDKs take before they look for an agent.
    pub(super) fn files(&self) -> Vec<Finding> {
        let found = |path: Option<PathBuf>| {
            let path = path?;
            let settings = settings(&read(&path)?, "default");
            let is_ours = |value: &str| value.contains(" creds --format process") || value.contains(" agent process ");
            let given = GIVES.iter().find(|name| settings.get(**name).is_some_and(|value| !is_ours(value)))?;
            let found = format!(
                "`{}` has `{given}` in its default profile, and SDKs take it before an agent's",
                path.display()
            );
            let hint = "`valetkey exec` sets it aside; --profile chooses another";
            Some(Finding::new(State::Warn, "files", found).hint(hint))
        };
        [self.credentials(), self.config()].into_iter().filter_map(found).collect()
    }

    /// Whether the region that tools sign for is the storage's.
    pub(super) fn region(&self, key: &Key) -> Option<Finding> {
        let Material::S3(_) = &key.material else { return None };
        let profile = self.profile();
        let named = format!("the profile `{}`", self.chosen().unwrap_or("default"));
        let of = |name: &str| self.variable(name).map(|value| (name.to_owned(), value));
        let said: Vec<(String, &str)> = [of("AWS_REGION"), of("AWS_DEFAULT_REGION")]
            .into_iter()
            .chain([profile.get("region").map(|value| (named, value.as_str()))])
            .flatten()
            .collect();
        let wanted = key.region.as_str();
        let hint = format!("AWS_REGION={wanted} AWS_DEFAULT_REGION={wanted}");
        // Where the storage's is `auto`, it takes any.
        let others: Vec<&str> = said
            .iter()
            .filter(|(_, value)| wanted != "auto" && *value != wanted)
            .map(|(name, _)| name.as_str())
            .collect();
        Some(if !others.is_empty() {
            let found = format!("{} says another region than the storage's, `{wanted}`", others.join(" and "));
            Finding::new(State::Warn, "region", found).hint(hint)
        } else if !said.is_empty() {
            Finding::new(State::Ok, "region", format!("the storage takes what is set; its own is `{wanted}`"))
        } else if self.is_in_use() {
            let found = "none is set, without which some SDKs (JavaScript, Java) do not start";
            Finding::new(State::Warn, "region", found).hint(hint)
        } else {
            Finding::new(State::Ok, "region", "none is set; `valetkey exec` and `valetkey configure` set it")
        })
    }

    /// Whether tools go to the storage that the credential is for.
    pub(super) fn endpoint(&self, key: &Key) -> Option<Finding> {
        let Material::S3(_) = &key.material else { return None };
        let profile = self.profile();
        let named = format!("the profile `{}`", self.chosen().unwrap_or("default"));
        let of = |name: &str| self.variable(name).map(|value| (name.to_owned(), value));
        // In the order in which SDKs take them.
        let said = of("AWS_ENDPOINT_URL_S3")
            .or_else(|| of("AWS_ENDPOINT_URL"))
            .or_else(|| profile.get("endpoint_url").map(|value| (named, value.as_str())));
        let wanted = key.endpoint_url.as_str();
        let is_aws = key.endpoint_host().split([':', '/']).next().is_some_and(|host| host.ends_with(".amazonaws.com"));
        let hint = format!("AWS_ENDPOINT_URL_S3={wanted}");
        match said {
            Some((name, value)) if value.trim_end_matches('/') != wanted => {
                let found = format!("{name} leads elsewhere than to the storage, which is at `{wanted}`");
                Some(Finding::new(State::Warn, "leads to", found).hint(hint))
            }
            Some((name, _)) => Some(Finding::new(State::Ok, "leads to", format!("{name} leads to the storage"))),
            None if self.is_in_use() && !is_aws => {
                let found = format!("nothing leads SDKs to the storage at `{wanted}`: they go to AWS");
                Some(Finding::new(State::Warn, "leads to", found).hint(hint))
            }
            None => None,
        }
    }

    /// Credentials of roles that AWS's tools kept, and that are over.
    pub(super) fn caches(&self, now: Timestamp) -> Vec<Finding> {
        let Some(home) = &self.home else { return Vec::new() };
        let counted = |below: &str| {
            let directory = home.join(below);
            let entries = std::fs::read_dir(&directory).ok()?.flatten().map(|entry| entry.path());
            let files = entries.filter(|path| path.extension().is_some_and(|kind| kind == "json")).take(MOST_CACHED);
            let ends: Vec<Timestamp> = files.filter_map(|path| ends(&read(&path)?)).collect();
            let over = ends.iter().filter(|end| **end < now).count();
            let found = format!("{over} of {} kept credentials in `{}` are over", ends.len(), directory.display());
            let warning = Finding::new(State::Warn, "old cache", found)
                .hint("AWS's tools leave them there; remove the directory, above all if one says ExpiredToken");
            (over > 0).then_some(warning)
        };
        [".aws/cli/cache", ".aws/boto/cache"].into_iter().filter_map(counted).collect()
    }
}

/// When a kept credential ends. Older tools write `UTC` for `Z`.
fn ends(text: &str) -> Option<Timestamp> {
    let cached: Cached = serde_json::from_str(text).ok()?;
    let end = cached.credentials.expiration;
    end.strip_suffix("UTC").map_or_else(|| end.clone(), |time| format!("{time}Z")).parse().ok()
}

fn read(path: &Path) -> Option<String> {
    let mut text = String::new();
    std::fs::File::open(path).ok()?.take(MAX_FILE_BYTES).read_to_string(&mut text).ok()?;
    Some(text)
}

/// What a file says of a profile. What is indented belongs to the setting above it.
fn settings(text: &str, profile: &str) -> Settings {
    let is_it = |head: &str| {
        let name =
            head.strip_prefix("profile").map_or(head, |name| if name.starts_with([' ', '\t']) { name } else { head });
        name.trim() == profile
    };
    let mut found = Settings::new();
    let mut is_inside = false;
    for line in text.lines() {
        if let Some(head) = line.trim_start().strip_prefix('[') {
            is_inside = head.split(']').next().is_some_and(|head| is_it(head.trim()));
        } else if is_inside
            && !line.starts_with([' ', '\t', '#', ';'])
            && let Some((name, value)) = line.split_once('=')
        {
            found.insert(name.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key(region: &str) -> Key {
        Key::read(&json!({
            "lease_id": "lea_1", "access_key_id": "A", "secret_access_key": "s", "session_token": "t", "bucket": "b",
            "expiration": "2026-01-01T00:00:00Z", "endpoint_url": "https://s3.example/", "region": region,
        }))
        .unwrap()
    }

    fn set(variables: &[(&str, &str)]) -> Surroundings {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Surroundings { variables, home: None }
    }

    fn at_home(files: &[(&str, &str)]) -> (tempfile::TempDir, Surroundings) {
        let home = tempfile::tempdir().unwrap();
        for (below, text) in files {
            let path = home.path().join(below);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let home_dir = Some(home.path().to_owned());
        (home, Surroundings { variables: BTreeMap::new(), home: home_dir })
    }

    /// Variables, the key's region, and what is found.
    type Case<'c> = (&'c [(&'c str, &'c str)], &'c str, State);

    #[test]
    fn a_region_that_is_another_or_missing_is_said_and_any_is_taken_where_it_is_auto() {
        let asks = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1/x");
        let cases: [Case<'_>; 7] = [
            (&[("AWS_REGION", "eu-west-1")], "eu-west-1", State::Ok),
            (&[("AWS_REGION", "eu-west-2")], "eu-west-1", State::Warn),
            (&[("AWS_REGION", "eu-west-1"), ("AWS_DEFAULT_REGION", "us-east-1")], "eu-west-1", State::Warn),
            (&[("AWS_DEFAULT_REGION", "us-east-1")], "auto", State::Ok),
            (&[asks], "auto", State::Warn),
            (&[("AWS_PROFILE", "x")], "eu-west-1", State::Warn),
            (&[], "eu-west-1", State::Ok),
        ];
        for (variables, region, state) in cases {
            let found = set(variables).region(&key(region)).unwrap();
            assert_eq!(found.state, state, "{variables:?} {found:?}");
        }
        let found = set(&[("AWS_DEFAULT_REGION", "eu-west-2")]).region(&key("eu-west-1")).unwrap();
        assert!(found.found.contains("AWS_DEFAULT_REGION") && !format!("{found:?}").contains("eu-west-2"));
    }

    #[test]
    fn the_region_and_the_endpoint_of_the_chosen_profile_count() {
        let config = "[default]\nregion = eu-west-1\n[profile other]\nregion=us-east-1\ns3 =\n  region = none\nendpoint_url = https://s3.example\n";
        let (_home, mut of) = at_home(&[(".aws/config", config)]);
        assert_eq!(of.region(&key("eu-west-1")).unwrap().state, State::Ok);
        of.variables.insert("AWS_PROFILE".to_owned(), "other".to_owned());
        let found = of.region(&key("eu-west-1")).unwrap();
        assert!(found.state == State::Warn && found.found.contains("the profile `other`"), "{found:?}");
        assert_eq!(of.endpoint(&key("auto")).unwrap().state, State::Ok);
        of.variables.insert("AWS_PROFILE".to_owned(), "default".to_owned());
        assert_eq!(of.endpoint(&key("auto")).unwrap().state, State::Warn);
    }

    #[test]
    fn an_endpoint_that_is_another_is_said_and_the_more_exact_variable_counts() {
        let (own, other) = ("https://s3.example/", "https://other.example");
        let of = |s3: &str, any: &str| {
            set(&[("AWS_ENDPOINT_URL_S3", s3), ("AWS_ENDPOINT_URL", any)]).endpoint(&key("auto")).unwrap()
        };
        assert_eq!(of(own, other).state, State::Ok);
        let found = of(other, own);
        assert!(found.state == State::Warn && !format!("{found:?}").contains("other.example"), "{found:?}");
        assert!(set(&[]).endpoint(&key("auto")).is_none());
    }

    #[test]
    fn what_a_default_profile_gives_is_found_in_either_file_and_what_we_wrote_is_not_meant() {
        let keys = "[other]\naws_access_key_id = A\n[ default ]\naws_access_key_id = AKIA\n";
        let cases: [(&[(&str, &str)], usize); 4] = [
            (&[(".aws/credentials", keys)], 1),
            (&[(".aws/config", "[profile default]\nsso_session = x\n"), (".aws/credentials", keys)], 2),
            (&[(".aws/config", "[profiles]\nrole_arn = x\n[profile x]\nrole_arn = y\n")], 0),
            (&[(".aws/config", "[default]\ncredential_process = /bin/valetkey creds --format process daily\n")], 0),
        ];
        for (files, count) in cases {
            assert_eq!(at_home(files).1.files().len(), count, "{files:?}");
        }
        let (home, mut of) = at_home(&[("mine", keys)]);
        assert!(of.files().is_empty());
        of.variables.insert("AWS_SHARED_CREDENTIALS_FILE".to_owned(), home.path().join("mine").display().to_string());
        let found = of.files();
        assert!(
            found.len() == 1 && found[0].found.contains("mine") && !format!("{found:?}").contains("AKIA"),
            "{found:?}"
        );
    }

    #[test]
    fn kept_credentials_of_roles_that_are_over_are_counted() {
        let kept = |end: &str| format!(r#"{{"Credentials": {{"AccessKeyId": "A", "Expiration": "{end}"}}}}"#);
        let (over, live) = (kept("2025-12-31T23:59:59UTC"), kept("2026-01-01T01:00:00+00:00"));
        let (_home, of) = at_home(&[
            (".aws/cli/cache/a.json", over.as_str()),
            (".aws/cli/cache/b.json", live.as_str()),
            (".aws/cli/cache/c.json", "no"),
            (".aws/boto/cache/d.json", live.as_str()),
        ]);
        let found = of.caches("2026-01-01T00:00:00Z".parse().unwrap());
        assert_eq!(found.len(), 1);
        assert!(found[0].found.starts_with("1 of 2 kept credentials"), "{found:?}");
    }
}
