//! What every dialect stands on: claims a path for a dialect, finds the route, proves the caller, counts, and turns what
//! comes back into HTTP once. It knows no dialect: each is a [`Dialect`] value made in its own folder.
//!
//! A new dialect is a folder with a `dialect(shared, settings) -> Dialect` and an `error.rs` with its `row` and `body`, and a
//! line where the binary lists them. The tests of every route then go over it by themselves; they only ask how its
//! envelope is known.

mod aws;
mod carrier;
mod cors;
mod decode;
mod form;
mod heavy;
mod identity;
mod limit;
pub mod location;
mod login;
mod metric;
mod number;
mod oauth;
mod page;
mod proof;
mod query;
mod rates;
mod read;
mod reading;
mod refusal;
mod refuse;
mod registrar;
mod reply;
mod route;
mod serve;
mod session;
mod trail;
mod xml;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use valetkey_core::cors::Rules;
use valetkey_core::fair::{Budget, LiveNodes};
use valetkey_core::health::Health;
use valetkey_core::keyring::SharedKeyring;
use valetkey_core::nouns::identity::{Identities, Logins, Signatures};
use valetkey_core::nouns::package::Packages;
use valetkey_core::nouns::parent::Parents;
use valetkey_core::nouns::share::Shares;
use valetkey_core::nouns::signing::OwnIdentity;
use valetkey_core::nouns::trail::Trail;
use valetkey_core::nouns::usage::Usage;
use valetkey_core::nouns::workspace::Workspaces;
use valetkey_core::port::Revocations;
use valetkey_core::time::Entropy;
use valetkey_core::vending::Vending;

pub use aws::{account_number, user_arn};
pub use carrier::Carrier;
pub use cors::EXPOSED;
pub use form::Form;
pub use heavy::{Heavy, HeavyLimits, PIECE, Piece, Place, Stop, Telling};
pub use identity::exchange;
pub use limit::{Class, Limiter, Quota, WindowLeft, usual_headers};
pub use login::LoginBack;
pub use oauth::{CLIENT_CODES, ClientRefused, TokenAnswer, access_token, client_form};
pub use page::{Listing, Page};
pub use proof::{Proof, Signature, Unproven};
pub use query::{Query, Words};
pub use rates::{RateLimits, Window};
pub use read::{basic, bearer, json};
pub use reading::Reading;
pub use refusal::{Refused, Row};
pub use registrar::Registrar;
pub use reply::Reply;
pub use route::{Actions, Authority, Call, Dialect, Entry, Envelope, Large, Params, Plain, Route, Table, no_headers};
pub use serve::Service;
#[cfg(test)]
pub(crate) use serve::router;
pub use session::{Console, SignIn};
pub use xml::{Xml, xml_time};

/// What every dialect works with.
#[derive(Clone)]
pub struct Shared {
    /// Where credentials are asked for.
    pub vending: Vending,
    /// Makes and ends what the directory answers with.
    pub registry: Registrar,
    /// What happened.
    pub trail: Arc<dyn Trail>,
    /// What accounts used.
    pub usage: Arc<dyn Usage>,
    /// Workspaces and their projects.
    pub workspaces: Arc<dyn Workspaces>,
    /// Packages.
    pub packages: Arc<dyn Packages>,
    /// Randomness, for tokens.
    pub entropy: Arc<dyn Entropy>,
    /// What is shared.
    pub shares: Arc<dyn Shares>,
    /// The keys that seal what the server hands out and takes back.
    pub keyring: SharedKeyring,
    /// The parent access keys.
    pub parents: Arc<dyn Parents>,
    /// Which credentials were ended early.
    pub leases: Arc<dyn Revocations>,
    /// The bytes of bodies that may be held at once.
    pub bodies: Arc<Budget>,
    /// How external storages have answered this node.
    pub health: Health,
    /// Identity providers, and the sessions that their tokens open.
    pub identities: Arc<dyn Identities>,
    /// Checks who signed an identity token.
    pub signatures: Arc<dyn Signatures>,
    /// This server as an issuer of identity tokens, if it is one. SECURITY: it is never trusted as a provider of callers.
    pub own: Option<Arc<dyn OwnIdentity>>,
    /// Asks identity providers where people log in.
    pub logins: Arc<dyn Logins>,
    /// The console, where it is on.
    pub console: Option<Arc<Console>>,
    /// Makes the answers that are too heavy for the runtime.
    pub heavy: Heavy,
}

/// What the edge allows a request.
#[derive(Clone, Debug)]
pub struct EdgeLimits {
    /// The most bytes of a request's body.
    pub body_bytes: usize,
    /// The longest a request's body may take to arrive.
    pub body_time: Duration,
    /// How often callers and strangers may ask.
    pub rates: RateLimits,
    /// Who else counts towards them.
    pub nodes: LiveNodes,
    /// What pages of other origins are allowed on routes that vend.
    pub cors: Option<Rules>,
}

impl Default for EdgeLimits {
    fn default() -> Self {
        Self {
            body_bytes: 64 * 1024,
            body_time: Duration::from_secs(10),
            rates: RateLimits::default(),
            nodes: LiveNodes::default(),
            cors: None,
        }
    }
}

/// The address a request came from, put into the request's extensions by whoever accepts connections. Strangers are
/// rate-limited by it; without it they share one allowance.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// The address: a trusted proxy's word, or the connection's.
    pub address: IpAddr,
    /// Whether it is the client's own. A trusted proxy that names nobody says nothing of who asks.
    pub is_client: bool,
}

impl Peer {
    /// The client's own address, if that is known.
    pub fn client(self) -> Option<IpAddr> {
        self.is_client.then_some(self.address)
    }
}

/// The path that a request is served under when it came in by another door than the API's own, put into its extensions by whoever
/// lets it in there. What it signed is the path that it names itself.
#[derive(Clone, Copy, Debug)]
pub struct Mounted(pub &'static str);
