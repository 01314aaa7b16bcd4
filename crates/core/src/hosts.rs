//! Where the server sends what it proves itself with to stores that somebody else runs: said by each kind of store, of the
//! addresses that its requests go to and no others.
//!
//! SECURITY: two questions are answered with it. Whether a change of a store's settings would send kept secrets where they were not sent
//! before ([`Hosts::beyond`]), and whether the machine's own identity would go where the server's file does not say ([`Hosts::check`]).

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use crate::error::{Error, Kind};
use crate::name::shortened;
use crate::secret::Secret;

/// The settings' name of the server's file that says where the machine's own identity may go.
const SETTING: &str = "upstream.machine_identity_hosts";

/// Where the machines of the known clouds are told who they are.
const METADATA: [&str; 5] =
    ["169.254.169.254", "metadata.google.internal", "[fd00:ec2::254]", "[fd20:ce::254]", "100.100.100.200"];

/// The providers' own hosts: `*` stands for one label.
pub const PROVIDERS: [&str; 30] = [
    "sts.amazonaws.com",
    "sts.*.amazonaws.com",
    "sts-fips.*.amazonaws.com",
    "sts.*.amazonaws.com.cn",
    "iam.amazonaws.com",
    "iam.us-gov.amazonaws.com",
    "iam.*.amazonaws.com.cn",
    "s3.amazonaws.com",
    "s3.*.amazonaws.com",
    "s3-fips.*.amazonaws.com",
    "s3.dualstack.*.amazonaws.com",
    "s3.*.amazonaws.com.cn",
    "*.s3.*.amazonaws.com",
    "*.s3.*.amazonaws.com.cn",
    "*.googleapis.com",
    "storage.*.rep.googleapis.com",
    "login.microsoftonline.com",
    "login.microsoftonline.us",
    "login.chinacloudapi.cn",
    "login.partner.microsoftonline.cn",
    "management.azure.com",
    "management.usgovcloudapi.net",
    "management.chinacloudapi.cn",
    "*.blob.core.windows.net",
    "*.dfs.core.windows.net",
    "*.*.blob.storage.azure.net",
    "*.*.dfs.storage.azure.net",
    "*.blob.core.usgovcloudapi.net",
    "*.dfs.core.usgovcloudapi.net",
    "*.blob.core.chinacloudapi.cn",
];

/// How the server proves itself to a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Proof {
    /// With secrets that are kept of the store.
    Kept,
    /// With a token of the machine: whoever gets it has it.
    MachineToken,
    /// With signatures of the machine's keys, of which each is for one request to one host.
    MachineSignature,
}

/// The address of a host: scheme, name, and the port where it is not the scheme's own.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Origin {
    scheme: String,
    host: String,
    port: Option<u16>,
}

impl Origin {
    /// An address. A host `*.zone` is any in that zone.
    pub fn new(scheme: &str, host: &str, port: Option<u16>) -> Self {
        let usual = match scheme {
            "https" => Some(443),
            "http" => Some(80),
            _ => None,
        };
        Self { scheme: scheme.to_owned(), host: host.to_ascii_lowercase(), port: port.filter(|_| port != usual) }
    }

    /// The host's name, without the port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether nobody on the way reads what is sent there.
    fn is_closed(&self) -> bool {
        let host = self.host.trim_matches(['[', ']']);
        self.scheme == "https"
            || host == "localhost"
            || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    fn covers(&self, other: &Self) -> bool {
        let within = self.host.strip_prefix('*').is_some_and(|zone| {
            other.host.strip_suffix(zone).is_some_and(|label| !label.is_empty() && zone.starts_with('.'))
        });
        self.scheme == other.scheme && self.port == other.port && (within || self.host == other.host)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, port } = self;
        write!(f, "{scheme}://{host}")?;
        port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// Where a store's requests go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hosts {
    proof: Proof,
    /// By the setting that says so: the same host for another thing is another place, which is sent another secret.
    sent: BTreeSet<(&'static str, Origin)>,
    /// Where the machine is told who it is.
    told: BTreeSet<(&'static str, Origin)>,
    /// The same, where the server's own surroundings say so and no setting.
    own: BTreeSet<Origin>,
}

impl Hosts {
    /// None yet, of a store that is proven to so.
    pub fn new(proof: Proof) -> Self {
        Self { proof, sent: BTreeSet::new(), told: BTreeSet::new(), own: BTreeSet::new() }
    }

    /// Requests go there, as a setting says or leaves to its kind.
    #[must_use]
    pub fn sent(mut self, setting: &'static str, origin: Origin) -> Self {
        self.send(setting, origin);
        self
    }

    /// Requests go there, as a setting says or leaves to its kind.
    pub fn send(&mut self, setting: &'static str, origin: Origin) {
        self.sent.insert((setting, origin));
    }

    /// The machine's own identity is asked for there.
    pub fn tell(&mut self, setting: &'static str, origin: Origin) {
        self.told.insert((setting, origin));
    }

    /// The machine's own identity is asked for there, as the server's own surroundings say.
    pub fn surround(&mut self, origin: Origin) {
        self.own.insert(origin);
    }

    /// Whether a request may go there.
    pub fn allow(&self, origin: &Origin) -> bool {
        self.sent.iter().chain(&self.told).map(|(_, own)| own).chain(&self.own).any(|own| own.covers(origin))
    }

    /// The first address, and its setting, that something is sent to now and was not before.
    pub fn beyond<'a>(&'a self, before: &Self) -> Option<(&'static str, &'a Origin)> {
        let known = |setting: &str, origin: &Origin| {
            before.sent.iter().any(|(own, known)| *own == setting && known.covers(origin))
        };
        self.sent.iter().find(|(setting, origin)| !known(setting, origin)).map(|(setting, origin)| (*setting, origin))
    }

    /// Whether it is the machine's own identity that proves the server.
    pub fn is_of_the_machine(&self) -> bool {
        self.proof != Proof::Kept
    }

    /// Whether what proves the server is a token of the machine, which is good for whoever gets it.
    pub fn take_a_token(&self) -> bool {
        self.proof == Proof::MachineToken
    }

    /// Refuses to send the machine's own identity where the server's file does not say.
    ///
    /// # Errors
    /// `Invalid` with the setting's name.
    pub fn check(&self, trusted: &Trusted) -> Result<(), Error> {
        let foreign = |(_, origin): &&(&'static str, Origin)| !trusted.names(origin);
        let refused = |setting: &'static str, said: String| Err(Error::new(Kind::Invalid, said).at(setting));
        let known = |origin: &Origin| METADATA.contains(&origin.host()) && origin.port.is_none();
        if let Some((setting, origin)) = self.told.iter().find(|told| !known(&told.1) && foreign(told)) {
            return refused(
                setting,
                format!(
                    "`{origin}` is no address where a cloud tells machines who they are, and the server's setting `{SETTING}` does not name it"
                ),
            );
        }
        match self.proof {
            Proof::Kept => Ok(()),
            Proof::MachineToken | Proof::MachineSignature => match self.sent.iter().find(foreign) {
                None => match self.sent.iter().find(|(_, origin)| self.take_a_token() && !origin.is_closed()) {
                    None => Ok(()),
                    Some((setting, origin)) => {
                        let said = format!(
                            "a token goes to `{origin}`, which anybody on the way can read and use: it has to be `https`, or this machine"
                        );
                        refused(setting, said)
                    }
                },
                Some((setting, origin)) => refused(
                    setting,
                    format!(
                        "this storage is asked with the machine's own identity, and the server's setting `{SETTING}` does not name `{origin}`"
                    ),
                ),
            },
        }
    }
}

/// Where the platform that this server runs on (App Service and its like) tells who it is, and what it wants to be shown.
#[derive(Clone, Debug)]
pub struct Platform {
    /// Where it is asked.
    pub endpoint: String,
    /// What it is shown.
    pub header: Secret<String>,
}

impl Platform {
    /// The name of the header that it is shown in.
    pub const HEADER: &str = "x-identity-header";

    /// What the server's environment says of one.
    pub fn of(environment: &HashMap<String, String>) -> Option<Self> {
        let said = |name: &str| environment.get(name).filter(|value| !value.is_empty()).cloned();
        Some(Self { endpoint: said("IDENTITY_ENDPOINT")?, header: Secret::new(said("IDENTITY_HEADER")?) })
    }

    /// The platform, if there is one.
    ///
    /// # Errors
    /// `Invalid` with the setting's name.
    pub fn needed<'a>(of: Option<&'a Self>, setting: &'static str) -> Result<&'a Self, Error> {
        of.ok_or_else(|| {
            let said =
                "the server's environment has no `IDENTITY_ENDPOINT` and `IDENTITY_HEADER`: it runs in no App Service";
            Error::new(Kind::Invalid, said).at(setting)
        })
    }
}

/// The hosts that the machine's own identity may be sent to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trusted(Vec<Origin>);

impl Trusted {
    /// Reads hosts, each maybe with a port: `*` stands for one label; without a port any is meant.
    ///
    /// # Errors
    /// `Invalid`.
    pub fn parse<'a>(hosts: impl IntoIterator<Item = &'a str>) -> Result<Self, Error> {
        let read = |text: &str| {
            let (host, port) = match text.rsplit_once(':') {
                Some((host, port)) if !port.ends_with(']') => (host, port.parse::<u16>().ok().map(Some)),
                _ => (text, Some(None)),
            };
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.*".contains(&b);
            let labels = host.split('.').all(|label| !label.is_empty() && (label == "*" || !label.contains('*')));
            let v6 =
                host.starts_with('[') && host.ends_with(']') && host.bytes().all(|b| plain(b) || b"[]:".contains(&b));
            // A `*` alone, or before a top-level domain, would be everyone.
            let narrow = !host.contains('*') || host.split('.').filter(|label| *label != "*").count() >= 2;
            match port {
                Some(port) if v6 || (labels && narrow && host.bytes().all(plain)) => Ok(Origin {
                    scheme: String::new(),
                    host: host.to_ascii_lowercase(),
                    port,
                }),
                _ => Err(Error::new(
                    Kind::Invalid,
                    format!(
                        "`{}` is not a host like `storage.example.com`, `127.0.0.1:9000` or `*.blob.example.com`, where `*` is one label",
                        shortened(text)
                    ),
                )
                .at(SETTING)),
            }
        };
        hosts.into_iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    fn names(&self, origin: &Origin) -> bool {
        let ports =
            |port: Option<u16>| port.is_none_or(|port| Origin::new(&origin.scheme, "", Some(port)).port == origin.port);
        let alike = |pattern: &str| {
            let (own, other) = (pattern.split('.'), origin.host.split('.'));
            own.clone().count() == other.clone().count()
                && own.zip(other).all(|(own, other)| own == other || (own == "*" && !other.is_empty()))
        };
        self.0.iter().any(|own| ports(own.port) && alike(&own.host))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn https(host: &str) -> Origin {
        Origin::new("https", host, None)
    }

    #[test]
    fn the_providers_hosts_are_trusted_and_none_that_only_looks_like_one() {
        let trusted = Trusted::parse(PROVIDERS).unwrap();
        for good in [
            "sts.eu-west-1.amazonaws.com",
            "storage.googleapis.com",
            "lakeaccount.blob.core.windows.net",
            "a.z01.blob.storage.azure.net",
            "*.s3.eu-1.amazonaws.com",
            "LOGIN.microsoftonline.com",
        ] {
            assert!(trusted.names(&https(good)), "{good}");
        }
        for bad in [
            "evil.example",
            "googleapis.com.evil.example",
            "evilgoogleapis.com",
            "blob.core.windows.net",
            "a.b.blob.core.windows.net",
            ".blob.core.windows.net",
            "ec2-1-2-3-4.compute-1.amazonaws.com",
            "x.execute-api.eu-west-1.amazonaws.com",
            "storage.googleapis.com.",
            "127.0.0.1",
        ] {
            assert!(!trusted.names(&https(bad)), "{bad}");
        }
        let own = Trusted::parse(["127.0.0.1:9000", "minio.example", "[::1]", "[::2]:1", "s.example:443"]).unwrap();
        for (origin, good) in [
            (Origin::new("http", "127.0.0.1", Some(9000)), true),
            (Origin::new("http", "127.0.0.1", Some(9001)), false),
            (Origin::new("http", "127.0.0.1", None), false),
            (Origin::new("http", "minio.example", Some(9001)), true),
            (Origin::new("http", "[::1]", Some(5)), true),
            (Origin::new("http", "[::2]", Some(1)), true),
            (Origin::new("https", "s.example", None), true),
            (Origin::new("https", "s.example", Some(444)), false),
        ] {
            assert_eq!(own.names(&origin), good, "{origin}");
        }
        for bad in ["", "*", "*.com", "a*.example.com", "https://x.example", "x.example/", "x:y", "x..y", "u@x.example"]
        {
            assert_eq!(Trusted::parse([bad]).unwrap_err().field(), Some(SETTING), "{bad}");
        }
    }

    #[test]
    fn a_secret_goes_where_it_went_before_and_for_the_same_thing() {
        let before =
            Hosts::new(Proof::Kept).sent("endpoint", https("a.example")).sent("token_service", https("b.example"));
        let beyond = |hosts: Hosts| hosts.beyond(&before).map(|(setting, origin)| format!("{setting} {origin}"));
        assert_eq!(beyond(before.clone()), None);
        assert_eq!(beyond(Hosts::new(Proof::Kept).sent("endpoint", https("a.example"))), None);
        for (hosts, new) in [
            (Hosts::new(Proof::Kept).sent("endpoint", https("b.example")), "endpoint https://b.example"),
            (
                Hosts::new(Proof::Kept).sent("endpoint", Origin::new("https", "a.example", Some(8443))),
                "endpoint https://a.example:8443",
            ),
            (
                Hosts::new(Proof::Kept).sent("endpoint", Origin::new("http", "a.example", None)),
                "endpoint http://a.example",
            ),
            (Hosts::new(Proof::Kept).sent("authority", https("a.example")), "authority https://a.example"),
        ] {
            assert_eq!(beyond(hosts).as_deref(), Some(new));
        }
        assert!(before.allow(&Origin::new("https", "A.example", Some(443))) && !before.allow(&https("x.a.example")));
        let zone = Hosts::new(Proof::Kept).sent("region", https("*.s3.eu-1.example"));
        assert!(zone.allow(&https("lake.s3.eu-1.example")) && !zone.allow(&https("s3.eu-1.example")));
        assert!(!zone.allow(&https("lakes3.eu-1.example")));
    }

    #[test]
    fn the_machines_identity_goes_where_the_servers_file_says() {
        let trusted = Trusted::parse(["*.store.example"]).unwrap();
        for proof in [Proof::MachineToken, Proof::MachineSignature] {
            let sent = |host| Hosts::new(proof).sent("endpoint", https(host)).check(&trusted);
            assert!(sent("a.store.example").is_ok());
            let refused = sent("evil.example").unwrap_err();
            assert_eq!((refused.kind(), refused.field()), (Kind::Invalid, Some("endpoint")));
            assert!(
                refused.message().contains("https://evil.example") && refused.message().contains(SETTING),
                "{refused}"
            );
        }
        assert!(Hosts::new(Proof::Kept).sent("endpoint", https("evil.example")).check(&trusted).is_ok());
        // A token is good for whoever reads it on the way; a signature is for one request.
        let near = Trusted::parse(["*.store.example", "127.0.0.1", "[::1]", "localhost"]).unwrap();
        for (host, closed) in [("a.store.example", false), ("127.0.0.1", true), ("[::1]", true), ("localhost", true)] {
            let sent = |proof| Hosts::new(proof).sent("endpoint", Origin::new("http", host, Some(8080))).check(&near);
            assert_eq!(sent(Proof::MachineToken).is_ok(), closed, "{host}");
            assert!(sent(Proof::MachineSignature).is_ok() && sent(Proof::Kept).is_ok(), "{host}");
        }
        for (host, port, good) in [
            ("169.254.169.254", None, true),
            ("metadata.google.internal", None, true),
            ("a.store.example", None, true),
            ("169.254.169.254", Some(8080), false),
            ("169.254.169.254.evil.example", None, false),
            ("127.0.0.1", Some(8080), false),
            ("10.0.0.1", None, false),
        ] {
            let mut hosts = Hosts::new(Proof::MachineToken);
            hosts.tell("identity.endpoint", Origin::new("http", host, port));
            assert_eq!(hosts.check(&trusted).is_ok(), good, "{host}");
        }
    }
}
