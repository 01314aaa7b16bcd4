//! What is known of the issuers that people use: their addresses, and what tells one tenant from another where many share one.

use crate::claims::{Condition, Wanted};
use crate::error::{Error, Kind};
use crate::nouns::identity::rule::SubjectClaim;
use crate::word::words;

words! {
    /// What kind of issuer it is.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub enum Preset {
        /// GitHub Actions: its own cloud, or an Enterprise Server.
        GitHub => "github",
        /// GitLab's CI: its own cloud, or an instance of one's own.
        GitLab => "gitlab",
        /// Service accounts of a Kubernetes cluster.
        Kubernetes => "kubernetes",
        /// Google accounts and service accounts.
        Google => "google",
        /// Microsoft Entra, of one tenant.
        Entra => "entra",
        /// Okta.
        Okta => "okta",
        /// Keycloak, of one realm.
        Keycloak => "keycloak",
        /// Any other.
        Other => "other",
    }
}

/// GitHub's cloud. Enterprises may have a path of their own below it.
const GITHUB: &str = "https://token.actions.githubusercontent.com";
const GITLAB: &str = "https://gitlab.com";
const GOOGLE: &str = "https://accounts.google.com";

/// Claims that their owners can change, and so prove nobody; but for a mail address that the issuer says it checked.
const MUTABLE: [&str; 4] = ["email", "upn", "preferred_username", "unique_name"];

impl Preset {
    /// The issuer, where there is only one.
    pub const fn issuer(self) -> Option<&'static str> {
        match self {
            Self::GitHub => Some(GITHUB),
            Self::GitLab => Some(GITLAB),
            Self::Google => Some(GOOGLE),
            Self::Kubernetes | Self::Entra | Self::Okta | Self::Keycloak | Self::Other => None,
        }
    }

    /// The claims that a subject is made of unless others are named. GitHub's `sub` was changed for new repositories in 2026, and has
    /// names in it that somebody else can get; its numbers stay.
    pub fn subject(self) -> Vec<SubjectClaim> {
        let names: &[&str] = match self {
            Self::GitHub => &["repository_id", "environment?"],
            Self::GitLab => &["project_id", "environment?"],
            Self::Entra => &["oid"],
            Self::Kubernetes | Self::Google | Self::Okta | Self::Keycloak | Self::Other => &["sub"],
        };
        names.iter().filter_map(|name| SubjectClaim::parse(name).ok()).collect()
    }

    /// Refuses an issuer that is not one of the kind.
    ///
    /// # Errors
    /// `Invalid`.
    pub fn check_issuer(self, issuer: &str) -> Result<(), Error> {
        let tenant = |rest: &str| rest.split('/').next().is_some_and(is_guid);
        let entra =
            ["https://login.microsoftonline.com/", "https://sts.windows.net/", "https://login.microsoftonline.us/"];
        let mut of_entra = entra.iter().filter_map(|start| issuer.strip_prefix(start));
        let bad = match (self, of_entra.next()) {
            (_, Some(rest)) => !tenant(rest),
            (Self::Entra, None) => true,
            _ => false,
        };
        if bad {
            let said = "name the tenant by its id: `https://login.microsoftonline.com/TENANT-ID/v2.0`; `common` and its like are everybody's";
            return Err(Error::new(Kind::Invalid, said).at("issuer"));
        }
        Ok(())
    }
}

fn is_guid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// The claims of which a rule has to name one, at an issuer that many tenants share: the audience is chosen by whoever asks for the
/// token, and would let in everybody. Known by the issuer and not by the preset, so that no other preset is a way around.
fn tenants(issuer: &str) -> Option<&'static [&'static str]> {
    let whole = issuer.trim_end_matches('/');
    if whole == GITHUB || whole.strip_prefix(GITHUB).is_some_and(|rest| rest.starts_with('/')) {
        return Some(&["repository_owner_id", "repository_id"]);
    }
    if whole.starts_with("https://token.actions.") && whole.ends_with(".ghe.com") {
        return Some(&["repository_owner_id", "repository_id"]);
    }
    match whole {
        GITLAB => Some(&["namespace_id", "project_id"]),
        GOOGLE => Some(&["hd", "sub"]),
        // Personal accounts of everybody.
        _ if whole.contains("/9188040d-6c67-4c5b-b112-36a304b66dad") => Some(&["oid", "sub"]),
        _ => None,
    }
}

/// Refuses a rule that does not say whose tokens it admits.
///
/// # Errors
/// `Invalid`, at `claims`.
pub(super) fn check_conditions(issuer: &str, conditions: &[Condition]) -> Result<(), Error> {
    let refused = |said: String| Err(Error::new(Kind::Invalid, said).at("claims"));
    if conditions.is_empty() {
        return refused("a rule needs a condition: `sub=glob:*` admits every token that is for this server".to_owned());
    }
    let checked = conditions.iter().any(|one| one.to_string() == "email_verified=true");
    if let Some(one) = conditions.iter().find(|one| MUTABLE.contains(&one.claim.as_str()))
        && !(checked && one.claim.as_str() == "email")
    {
        let claim = one.claim.as_str();
        return refused(format!(
            "`{claim}` can be changed by its owner, or be given to another: name `sub` or an id; `email` only beside `email_verified=true`"
        ));
    }
    let Some(tenants) = tenants(issuer) else { return Ok(()) };
    let named = |one: &Condition| tenants.contains(&one.claim.as_str()) && matches!(one.wanted, Wanted::Exact(_));
    if !conditions.iter().any(named) {
        return refused(format!(
            "everybody gets tokens of `{issuer}`: a rule has to say whose it admits, by the exact value of one of {}",
            tenants.join(", ")
        ));
    }
    // Of several conditions on one claim any is enough: one that is wider than an exact value takes the other away.
    if let Some(wide) = conditions.iter().find(|one| tenants.contains(&one.claim.as_str()) && !named(one)) {
        return refused(format!("`{wide}` is no exact value of a claim that says whose tokens are admitted"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_at_a_shared_issuer_names_a_tenant() {
        let check = |issuer: &str, texts: &[&str]| {
            let conditions: Vec<_> = texts.iter().map(|text| Condition::parse(text).unwrap()).collect();
            check_conditions(issuer, &conditions).is_ok()
        };
        for (issuer, texts, good) in [
            (GITHUB, &["repository_owner_id=1"][..], true),
            (GITHUB, &["repository_id=1", "ref=refs/heads/main"], true),
            (GITHUB, &["repository_id=1", "repository_id=2"], true),
            (GITHUB, &["repository_id=1", "repository_id=glob:*"], false),
            (GITHUB, &["repository_id=glob:*"], false),
            (GITHUB, &["repository_owner=acme"], false),
            (GITHUB, &["repository=acme/app"], false),
            (GITHUB, &["sub=repo:acme/app:ref:refs/heads/main"], false),
            (GITHUB, &["sub=glob:*"], false),
            (GITHUB, &[], false),
            ("https://token.actions.githubusercontent.com/", &["ref=x"], false),
            ("https://token.actions.githubusercontent.com/octo", &["ref=x"], false),
            ("https://token.actions.octo.ghe.com", &["ref=x"], false),
            ("https://token.actions.octo.ghe.com", &["repository_id=5"], true),
            ("https://github.example/_services/token", &["ref=x"], true),
            (GITLAB, &["project_path=acme/app"], false),
            (GITLAB, &["namespace_id=7", "ref_protected=true"], true),
            ("https://gitlab.example", &["project_path=acme/app"], true),
            (GOOGLE, &["email=a@b.example", "email_verified=true"], false),
            (GOOGLE, &["hd=b.example"], true),
            (GOOGLE, &["sub=117"], true),
            (GOOGLE, &["sub=glob:117*"], false),
            ("https://acme.okta.com", &["sub=glob:*"], true),
            ("https://acme.okta.com", &[], false),
            ("https://acme.okta.com", &["email=a@b.example"], false),
            ("https://acme.okta.com", &["email=a@b.example", "email_verified=true"], true),
            ("https://acme.okta.com", &["upn=a@b.example", "email_verified=true"], false),
        ] {
            assert_eq!(check(issuer, texts), good, "{issuer} {texts:?}");
        }
    }

    #[test]
    fn an_issuer_of_entra_is_one_tenants() {
        let tenant = "72f988bf-86f1-41af-91ab-2d7cd011db47";
        for (preset, issuer, good) in [
            (Preset::Entra, format!("https://login.microsoftonline.com/{tenant}/v2.0"), true),
            (Preset::Entra, format!("https://sts.windows.net/{tenant}/"), true),
            (Preset::Entra, "https://login.microsoftonline.com/common/v2.0".to_owned(), false),
            (Preset::Other, "https://login.microsoftonline.com/organizations/v2.0".to_owned(), false),
            (Preset::Entra, "https://login.example/x".to_owned(), false),
            (Preset::Other, "https://login.example/x".to_owned(), true),
        ] {
            assert_eq!(preset.check_issuer(&issuer).is_ok(), good, "{issuer}");
        }
    }
}
