//! Which SDK is asking, and whether it is too old.

use http::{HeaderMap, header};
use valetkey_core::name::shortened;
use valetkey_core::{Error, Kind};

/// How the SDK names itself.
const SDK: &str = "dreadnode-sdk/";

/// A version of the SDK: one to four numbers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Version(Vec<u32>);

impl Version {
    /// Reads `2.0.52`.
    ///
    /// # Errors
    /// `Invalid` when it is none.
    pub fn parse(text: &str) -> Result<Self, Error> {
        Self::read(text)
            .ok_or_else(|| Error::new(Kind::Invalid, format!("`{}` is not a version (`2.0.52`)", shortened(text))))
    }

    fn read(text: &str) -> Option<Self> {
        let numbers = text.split('.').map(|part| part.parse().ok()).collect::<Option<Vec<u32>>>()?;
        (numbers.len() <= 4).then_some(Self(numbers))
    }

    /// Whether it is older, as far as both say: the SDK's registry client says `2.0` for every `2.0.x`.
    fn is_older_than(&self, other: &Self) -> bool {
        self.0
            .iter()
            .zip(&other.0)
            .map(|(own, other)| own.cmp(other))
            .find(|order| order.is_ne())
            .is_some_and(std::cmp::Ordering::is_lt)
    }
}

/// Refuses an SDK that is older than the least one served. Whatever does not say that it is the SDK is served.
pub(super) fn check(least: Option<&Version>, headers: &HeaderMap) -> Result<(), Error> {
    let Some(least) = least else { return Ok(()) };
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    let Some(own) = agent.split(' ').find_map(|part| part.strip_prefix(SDK)).and_then(Version::read) else {
        return Ok(());
    };
    if own.is_older_than(least) {
        let least: Vec<String> = least.0.iter().map(ToString::to_string).collect();
        let said = format!("this SDK is too old; upgrade to dreadnode {} or newer", least.join("."));
        return Err(Error::new(Kind::Outdated, said));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn versions_are_compared_number_by_number() {
        let least = Version::parse("2.0.52").unwrap();
        let passes = |agent: &'static str| {
            let headers = HeaderMap::from_iter([(header::USER_AGENT, HeaderValue::from_static(agent))]);
            check(Some(&least), &headers).is_ok()
        };
        for old in ["dreadnode-sdk/2.0.51", "dreadnode-sdk/1.17.1", "x/1 dreadnode-sdk/2.0.9", "dreadnode-sdk/1"] {
            assert!(!passes(old), "{old}");
        }
        for fine in [
            "dreadnode-sdk/2.0.52",
            "dreadnode-sdk/2.0.100",
            "dreadnode-sdk/2.0",
            "dreadnode-sdk/3",
            "curl/8",
            "dreadnode-sdk/x",
            "",
        ] {
            assert!(passes(fine), "{fine}");
        }
        assert!(check(None, &HeaderMap::new()).is_ok());
        for bad in ["", "2.", "v2", "1.2.3.4.5", "-1"] {
            assert!(Version::parse(bad).is_err(), "{bad}");
        }
    }
}
