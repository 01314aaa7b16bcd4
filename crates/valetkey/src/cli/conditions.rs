//! Flags that say what has to hold besides for a grant to open anything.

use valetkey_dialects::native::api::grants::GrantConditions;

/// What has to hold besides: every kind of flag that is given; of one that is repeated, any.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Conditions {
    /// It opens something only from this network (`10.0.0.0/8`) or address. May be repeated
    #[arg(long = "if-network", value_name = "CIDR")]
    networks: Vec<String>,
    /// It opens something only at these hours in UTC (`mon-fri 08:00-18:00`); no credential outlives them. May be repeated
    #[arg(long = "if-hours", value_name = "HOURS")]
    hours: Vec<String>,
    /// The identity provider whose token has to claim what --if-claim says
    #[arg(long = "if-provider", value_name = "PROVIDER", requires = "claims")]
    provider: Option<String>,
    /// It opens something only to who is known by a token that claims this (`ref=refs/heads/main`). May be repeated
    #[arg(long = "if-claim", value_name = "CLAIM=VALUE", requires = "provider")]
    claims: Vec<String>,
    /// It opens something only to a client that calls its session so (`ci-7`, `glob:ci-*`), in AWS STS. May be repeated
    #[arg(long = "if-session-name", value_name = "NAME")]
    session_names: Vec<String>,
    /// It opens something only to a client that shows this, in AWS STS. May be repeated
    #[arg(long = "if-external-id", value_name = "ID")]
    external_ids: Vec<String>,
}

/// The flags, for what wants one of them.
pub(super) const FLAGS: [&str; 6] = ["networks", "hours", "provider", "claims", "session_names", "external_ids"];

impl Conditions {
    /// The conditions, if there are any.
    pub(super) fn given(&self) -> Option<GrantConditions> {
        let listed = |list: &Vec<String>| (!list.is_empty()).then(|| list.clone());
        let Self { networks, hours, provider, claims, session_names, external_ids } = self;
        let own = GrantConditions {
            networks: listed(networks),
            hours: listed(hours),
            provider: provider.clone(),
            claims: listed(claims),
            session_names: listed(session_names),
            external_ids: listed(external_ids),
        };
        (own != GrantConditions::default()).then_some(own)
    }
}
