//! How a storage comes to be of what an operator describes, what its kind knows and what it was before.

use std::sync::Arc;

use crate::error::{Error, Kind};
use crate::hosts::{Hosts, Proof};
use crate::nouns::provider::{Facts, Provider};
use crate::nouns::registry::NewStorage;
use crate::nouns::storage_admin::Description;
use crate::nouns::vault::Vault;
use crate::secret::Secret;
use crate::storage::{ExternalConfig, Storage, StorageKind};
use crate::time::Lifetime;

/// Reads a description: refuses what cannot work, seals the secrets, fills in what the kind knows. With a storage as it is now, what
/// is left out stays.
///
/// # Errors
/// `Invalid` with the field's name.
pub fn configure(
    providers: &[Arc<dyn Provider>],
    vault: &Vault,
    described: Description,
    before: Option<&Storage>,
) -> Result<NewStorage, Error> {
    let kind = described.kind;
    suits_kind(&described, before.is_none())?;
    let provider = providers.iter().find(|provider| provider.kind() == kind);
    let provider =
        provider.ok_or_else(|| Error::internal(format!("nobody knows storages of kind `{}`", kind.as_str())))?;
    let old = before.and_then(|before| before.external.as_deref());
    let settings = described.settings.as_deref().or(old.map(|old| &*old.settings)).unwrap_or("{}");
    let secrets = match (&described.secrets, old.and_then(|old| old.secrets.as_deref())) {
        // Whoever says that there are none takes away those there are.
        (Some(secrets), _) => Some(secrets.clone()).filter(|secrets| !is_empty(secrets)),
        (None, Some(sealed)) => Some(vault.open(&described.name, sealed)?),
        (None, None) => None,
    };
    // SECURITY: changing an address must not redirect stored secrets to it.
    if let (Some(old), Some(new), None) = (old, described.settings.as_deref(), &described.secrets)
        && old.secrets.is_some()
    {
        stays(&**provider, &old.settings, new, secrets.as_ref())?;
    }
    let facts = provider.facts(settings, secrets.as_ref())?;
    let endpoint = described
        .endpoint
        .or_else(|| before.map(|before| before.endpoint.clone()))
        .or(facts.endpoint.clone())
        .ok_or_else(|| invalid("endpoint", "set `endpoint` to the URL clients use"))?;
    let (min, max) = (before.map(|before| before.min_lifetime), before.map(|before| before.max_lifetime));
    let min_lifetime = lifetime(described.min_lifetime, min, facts.least, &facts, "min_ttl_secs")?;
    let max_lifetime = lifetime(described.max_lifetime, max, facts.most, &facts, "max_ttl_secs")?;
    if max_lifetime < min_lifetime {
        let said = format!("the longest lifetime {max_lifetime} is shorter than the shortest {min_lifetime}");
        return Err(invalid("max_ttl_secs", said));
    }
    let external = ExternalConfig {
        settings: settings.into(),
        secrets: secrets.as_ref().map(|secrets| vault.seal(&described.name, secrets)).transpose()?,
        sharing: described.sharing.or(old.map(|old| old.sharing)).unwrap_or_default(),
        quota: described.quota.or(old.map(|old| old.quota)).unwrap_or_default(),
        revocation: facts.revocation,
        version: 1,
    };
    Ok(NewStorage {
        name: described.name,
        kind,
        endpoint,
        internal_endpoint: described
            .internal_endpoint
            .or_else(|| before.and_then(|before| before.internal_endpoint.clone()))
            .or(facts.internal_endpoint),
        region: described.region.or_else(|| before.map(|before| before.region.clone())).unwrap_or(facts.region),
        min_lifetime,
        max_lifetime,
        external: (kind != StorageKind::Embedded).then(|| Arc::new(external)),
    })
}

/// Whether secrets are an object with nothing in it.
fn is_empty(secrets: &Secret<String>) -> bool {
    secrets.reveal().bytes().filter(|byte| !byte.is_ascii_whitespace()).eq(*b"{}")
}

/// Refuses what a kind has no use for.
fn suits_kind(described: &Description, new: bool) -> Result<(), Error> {
    let kind = described.kind;
    if kind == StorageKind::Embedded && new {
        let said = "the server makes its one embedded storage itself; say which other `kind` this is";
        return Err(invalid("kind", said));
    }
    // Settings, and what is asked of somebody else for credentials.
    let (settings, asked) = (kind != StorageKind::Embedded, !kind.is_ours());
    for (given, field, applies) in [
        (described.settings.is_some(), "settings", settings),
        (described.secrets.is_some(), "secrets", settings),
        (described.sharing.is_some(), "sharing", asked),
        (described.quota.is_some(), "calls_per_sec", asked),
    ] {
        if given && !applies {
            return Err(invalid(field, format!("`{field}` does not apply to kind `{}`", kind.as_str())));
        }
    }
    if kind == StorageKind::Gateway && (described.endpoint.is_some() || described.internal_endpoint.is_some()) {
        let said = "a gateway is where our own endpoint is; set `s3.public_url` of the server";
        return Err(invalid("endpoint", said));
    }
    Ok(())
}

/// Refuses settings that would send kept secrets where they were not sent before.
fn stays(provider: &dyn Provider, old: &str, new: &str, secrets: Option<&Secret<String>>) -> Result<(), Error> {
    let new = provider.hosts(new, secrets)?;
    // Of settings that cannot be read any more nothing is known: then everything is another place.
    let old = provider.hosts(old, secrets).unwrap_or_else(|_| Hosts::new(Proof::Kept));
    match new.beyond(&old) {
        None => Ok(()),
        Some((setting, origin)) => Err(invalid(
            "secrets",
            format!("`{origin}` (of `settings.{setting}`) is not where the secrets were sent before; send them again"),
        )),
    }
}

/// A lifetime inside what the storage gives.
fn lifetime(
    given: Option<Lifetime>,
    before: Option<Lifetime>,
    usual: Lifetime,
    facts: &Facts,
    field: &'static str,
) -> Result<Lifetime, Error> {
    let (least, most) = (facts.least, facts.most);
    match given {
        Some(given) if (least..=most).contains(&given) => Ok(given),
        Some(given) => {
            Err(invalid(field, format!("{given} is not possible; this storage's least is {least} and its most {most}")))
        }
        None => Ok(before.unwrap_or(usual).clamp(least, most)),
    }
}

fn invalid(field: &'static str, said: impl Into<String>) -> Error {
    Error::new(Kind::Invalid, said.into()).at(field)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hosts::Origin;
    use crate::id::StorageId;
    use crate::keyring::{Keyring, SharedKeyring};
    use crate::name::Name;
    use crate::storage::{Quota, Revocability, Sharing};
    use crate::time::Entropy;

    /// A kind whose settings are the host that secrets are sent to, or nothing that can be read.
    struct Plain(StorageKind);

    impl Provider for Plain {
        fn kind(&self) -> StorageKind {
            self.0
        }

        fn facts(&self, settings: &str, secrets: Option<&Secret<String>>) -> Result<Facts, Error> {
            self.hosts(settings, secrets)?;
            let endpoint = (settings != "nowhere.example").then(|| format!("https://{settings}").into());
            Ok(Facts {
                endpoint,
                internal_endpoint: self.0.is_ours().then(|| "http://inside".into()),
                region: "auto".into(),
                least: Lifetime::secs(900),
                most: Lifetime::secs(3600),
                revocation: Revocability::Minutes,
            })
        }

        fn hosts(&self, settings: &str, _: Option<&Secret<String>>) -> Result<Hosts, Error> {
            if settings == "broken" {
                return Err(invalid("settings", "broken"));
            }
            Ok(Hosts::new(Proof::Kept).sent("host", Origin::new("https", settings, None)))
        }
    }

    struct Sevens;

    impl Entropy for Sevens {
        fn fill(&self, buffer: &mut [u8]) {
            buffer.fill(7);
        }
    }

    fn vault() -> Vault {
        let ring = Keyring::new(&[(1, Secret::new([7; 32]))]).unwrap();
        Vault::new(SharedKeyring::new(ring), Arc::new(Sevens))
    }

    fn read(described: Description, before: Option<&Storage>) -> Result<NewStorage, Error> {
        let providers = StorageKind::ALL.map(|kind| Arc::new(Plain(kind)) as Arc<dyn Provider>);
        configure(&providers, &vault(), described, before)
    }

    fn lake() -> Name {
        Name::parse("lake").unwrap()
    }

    fn of(kind: StorageKind) -> Description {
        Description {
            name: lake(),
            kind,
            endpoint: None,
            internal_endpoint: None,
            region: None,
            min_lifetime: None,
            max_lifetime: None,
            settings: None,
            secrets: None,
            sharing: None,
            quota: None,
        }
    }

    fn with(settings: &str, secrets: Option<&str>) -> Description {
        Description {
            settings: Some(settings.into()),
            secrets: secrets.map(|text| Secret::new(text.to_owned())),
            ..of(StorageKind::Sts)
        }
    }

    /// One that is configured, with secrets.
    fn kept(settings: &str) -> Storage {
        read(with("a.example", Some("s3cret")), None)
            .map(|mut new| {
                let external =
                    new.external.take().map(|own| ExternalConfig { settings: settings.into(), ..(*own).clone() });
                new.external = external.map(Arc::new);
                new.stored(StorageId::from_bytes([1; 16]), 1)
            })
            .unwrap()
    }

    fn opened(new: &NewStorage) -> Option<String> {
        let sealed = new.external.as_ref()?.secrets.as_deref()?;
        Some(vault().open(&new.name, sealed).unwrap().reveal().clone())
    }

    fn field(result: Result<NewStorage, Error>) -> String {
        let error = result.map(|new| format!("{new:?}")).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid, "{error:?}");
        error.field().unwrap().to_owned()
    }

    #[test]
    fn what_a_kind_has_no_use_for_is_refused() {
        use StorageKind::{Embedded, Gateway, Sts};
        let own = read(of(Gateway), None).unwrap().stored(StorageId::from_bytes([1; 16]), 1);
        let settings = |kind| Description { settings: Some("a.example".into()), ..of(kind) };
        let secrets = |kind| Description { secrets: Some(Secret::new("x".to_owned())), ..of(kind) };
        let sharing = |kind| Description { sharing: Some(Sharing::Anyone), ..of(kind) };
        let quota = |kind| Description { quota: Some(Quota::default()), ..of(kind) };
        for (described, refused) in [
            (settings(Embedded), Some("settings")),
            (secrets(Embedded), Some("secrets")),
            (sharing(Embedded), Some("sharing")),
            (quota(Embedded), Some("calls_per_sec")),
            (settings(Gateway), None),
            (secrets(Gateway), None),
            (sharing(Gateway), Some("sharing")),
            (quota(Gateway), Some("calls_per_sec")),
            (Description { endpoint: Some("https://x".into()), ..of(Gateway) }, Some("endpoint")),
            (Description { internal_endpoint: Some("https://x".into()), ..of(Gateway) }, Some("endpoint")),
            (settings(Sts), None),
            (secrets(Sts), None),
            (sharing(Sts), None),
            (quota(Sts), None),
        ] {
            let shown = format!("{described:?}");
            let answer = read(described, Some(&own));
            match refused {
                Some(refused) => assert_eq!(field(answer), refused, "{shown}"),
                None => drop(answer.unwrap()),
            }
        }
        assert_eq!(field(read(of(Embedded), None)), "kind");
        assert!(read(of(Embedded), Some(&own)).unwrap().external.is_none());
        assert_eq!(
            read(settings(Embedded), Some(&own)).unwrap_err().message(),
            "`settings` does not apply to kind `embedded`"
        );
    }

    #[test]
    fn what_is_left_out_is_what_the_kind_knows_or_stays_as_it_was() {
        let new = read(with("a.example", None), None).unwrap();
        assert_eq!((&*new.endpoint, &*new.region, new.internal_endpoint), ("https://a.example", "auto", None));
        assert_eq!((new.min_lifetime, new.max_lifetime), (Lifetime::secs(900), Lifetime::secs(3600)));
        let external = new.external.unwrap();
        assert_eq!((external.sharing, external.quota), (Sharing::Caller, Quota::default()));
        assert_eq!((external.revocation, external.version), (Revocability::Minutes, 1));
        assert!(external.secrets.is_none());
        let own = read(of(StorageKind::Gateway), None).unwrap();
        assert_eq!(own.internal_endpoint.as_deref(), Some("http://inside"), "where our own endpoint is");
        assert_eq!(field(read(with("nowhere.example", None), None)), "endpoint");

        let quota = Quota { calls_per_sec: 1, burst: 2 };
        let said = Description {
            endpoint: Some("https://e".into()),
            internal_endpoint: Some("http://i".into()),
            region: Some("eu-1".into()),
            min_lifetime: Some(Lifetime::secs(1000)),
            max_lifetime: Some(Lifetime::secs(2000)),
            sharing: Some(Sharing::Anyone),
            quota: Some(quota),
            ..with("a.example", Some("s3cret"))
        };
        let said = read(said, None).unwrap();
        let before = said.clone().stored(StorageId::from_bytes([1; 16]), 4);
        let after = read(of(StorageKind::Sts), Some(&before)).unwrap();
        assert_eq!(after, said);
        assert_eq!(opened(&after).as_deref(), Some("s3cret"));
        assert_eq!(after.external.map(|external| external.quota), Some(quota));
    }

    #[test]
    fn lifetimes_stay_within_what_the_kind_gives() {
        let secs = |secs: Option<u32>| secs.map(Lifetime::secs);
        let of = |min: Option<u32>, max: Option<u32>, before: Option<&Storage>| {
            let described = Description { min_lifetime: secs(min), max_lifetime: secs(max), ..with("a.example", None) };
            read(described, before).map(|new| (new.min_lifetime.as_secs(), new.max_lifetime.as_secs()))
        };
        assert_eq!(of(None, None, None).unwrap(), (900, 3600));
        assert_eq!(of(Some(900), Some(3600), None).unwrap(), (900, 3600));
        assert_eq!(of(Some(2000), Some(2000), None).unwrap(), (2000, 2000));
        for (min, max, refused) in [
            (Some(899), None, "min_ttl_secs"),
            (Some(3601), None, "min_ttl_secs"),
            (None, Some(3601), "max_ttl_secs"),
            (None, Some(899), "max_ttl_secs"),
            (Some(3000), Some(2000), "max_ttl_secs"),
        ] {
            let error = of(min, max, None).unwrap_err();
            assert_eq!((error.kind(), error.field()), (Kind::Invalid, Some(refused)), "{min:?} {max:?}");
        }
        // What was given before a kind gave less is cut, and not refused.
        let mut before = kept("a.example");
        (before.min_lifetime, before.max_lifetime) = (Lifetime::secs(60), Lifetime::secs(604_800));
        before.external = None;
        assert_eq!(of(None, None, Some(&before)).unwrap(), (900, 3600));
    }

    #[test]
    fn kept_secrets_are_sent_nowhere_that_they_were_not_sent_before() {
        for (before, described, good) in [
            ("a.example", with("a.example", None), true),
            ("a.example", with("b.example", None), false),
            ("a.example", with("b.example", Some("other")), true),
            // Of what cannot be read any more nothing is known.
            ("broken", with("a.example", None), false),
            ("broken", with("a.example", Some("other")), true),
            ("a.example", of(StorageKind::Sts), true),
        ] {
            let given = described.secrets.is_some();
            let shown = format!("{before} {:?}", described.settings);
            let answer = read(described, Some(&kept(before)));
            if good {
                assert_eq!(
                    opened(&answer.unwrap()).as_deref(),
                    Some(if given { "other" } else { "s3cret" }),
                    "{shown}"
                );
            } else {
                let error = answer.unwrap_err();
                assert_eq!((error.kind(), error.field()), (Kind::Invalid, Some("secrets")), "{shown}");
                assert!(error.message().ends_with("is not where the secrets were sent before; send them again"));
                assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
            }
        }
        // Who says that there are none takes them away, wherever it is asked from now on.
        for none in ["{}", " {\n} "] {
            assert_eq!(opened(&read(with("b.example", Some(none)), Some(&kept("a.example"))).unwrap()), None);
        }
        // Without secrets there is nothing to protect.
        let mut bare = kept("a.example");
        bare.external = bare.external.map(|own| Arc::new(ExternalConfig { secrets: None, ..(*own).clone() }));
        assert!(read(with("b.example", None), Some(&bare)).is_ok());
        assert_eq!(
            field(read(with("broken", None), Some(&kept("a.example")))),
            "settings",
            "what cannot be read is said first"
        );
    }

    #[test]
    fn secrets_are_sealed_for_their_storage_and_bounded() {
        let new = read(with("a.example", Some("s3cret")), None).unwrap();
        let sealed = new.external.unwrap().secrets.clone().unwrap();
        assert!(!sealed.windows(6).any(|bytes| bytes == b"s3cret"));
        let other = Name::parse("pond").unwrap();
        assert_eq!(vault().open(&other, &sealed).unwrap_err().kind(), Kind::Internal);
        let long = "x".repeat(64 * 1024 + 1);
        assert_eq!(field(read(with("a.example", Some(&long)), None)), "secrets");
        assert!(vault().sealed_again(&lake(), &sealed).unwrap().is_none(), "its key is the newest");
    }
}
