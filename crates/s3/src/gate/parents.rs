//! Who asks with a parent access key, or with a credential that was signed with one: the form of Cloudflare R2.
//!
//! The order of the checks is that of the published form: the token's shape, the key, the token's signature, what it says, its
//! time, and last the signature of the request. What refuses is worded as R2 words it.

use std::sync::Arc;

use http::request::Parts;
use jiff::Timestamp;
use s3s::{S3Error, S3ErrorCode};
use valetkey_core::Secret;
use valetkey_core::id::TokenId;
use valetkey_core::lease::Provenance;
use valetkey_core::nouns::parent::{Child, Parent, ParentScope, SKEW, SessionToken, Unfit};
use valetkey_sigv4::{ChunkKey, Claimed, Query};

use crate::error::{Result, of_domain, refuse, refuse_custom};
use crate::gate::ending::may_log;
use crate::gate::proof::{unproven, untimely, worded};
use crate::gate::session::{Arrived, Reach, Session, expired};
use crate::gate::{Gate, unknown_key};

/// What R2 answers to a session token that is not of its form, or says what cannot be.
fn unacceptable(why: Unfit) -> S3Error {
    // R2 does not say which claim it is, and so nor do we; whoever runs the server should find out.
    if may_log().is_some() {
        tracing::info!("not taken: {why}");
    }
    match why {
        Unfit::Malformed | Unfit::Claims(_) => refuse(S3ErrorCode::InvalidArgument, "X-Amz-Security-Token"),
        Unfit::Forged => refuse_custom(
            "InvalidToken",
            http::StatusCode::FORBIDDEN,
            "The security token included in the request is invalid",
        ),
    }
}

impl Gate {
    /// Proves who asks with an access key id of 32 hexadecimal digits.
    pub(super) async fn prove_parent(
        &self,
        id: TokenId,
        parts: &Parts,
        claimed: &Claimed,
        path: &str,
        query: &Query,
        host: &str,
    ) -> Result<(Session, ChunkKey)> {
        let token = claimed.unverified_token.as_ref().map(|token| SessionToken::read(token.reveal())).transpose();
        let token = token.map_err(unacceptable)?;
        let now = self.standing.clock.now();
        let found = self.standing.parents.parent(id, now).await;
        let parent = found.map_err(|error| of_domain("looking an access key up", &error))?.ok_or_else(unknown_key)?;
        if !self.hosts.serves(host, parent.caller.account) {
            return Err(unknown_key());
        }
        claimed.covered(parts).map_err(worded)?;
        let (session, secret) = match token {
            None => (self.own(&parent, now), parent.secret.clone()),
            Some(token) => {
                let child = token.verify(&parent.secret).map_err(unacceptable)?;
                (self.child(&parent, &child, host, now)?, token.secret_access_key())
            }
        };
        claimed.timely(now).map_err(|refused| untimely(claimed, refused))?;
        let secret: Secret<String> = secret;
        let chunk_key = claimed.verify(parts, path, query, host, &secret).map_err(|refused| unproven(refused, host))?;
        Ok((session, chunk_key))
    }

    /// The parent itself: everything within its reach, as long as its token lives.
    fn own(&self, parent: &Parent, now: Timestamp) -> Session {
        let reach = parent.reach.iter().filter(|ceiling| self.buckets.serves(ceiling.storage));
        let mut origin = Provenance {
            // Nothing was vended.
            lease: None,
            account: parent.caller.account,
            caller: parent.caller.id,
            token: parent.token,
            storage: self.buckets.own(),
            opened: now,
        };
        origin.opened = self.standing.leases.opening(&origin, now);
        Session {
            origin,
            narrowed_from: Arc::default(),
            until: parent.caller.token_until.unwrap_or(Timestamp::MAX),
            reach: Reach::several(
                self.buckets.own(),
                reach.map(|ceiling| (ceiling.storage, Arc::clone(&ceiling.rights))),
            ),
            operations: None,
            parent: Some(parent.token),
            standing: Arc::clone(&self.standing),
            arrived: Arrived::default(),
        }
    }

    /// What was signed with the parent: what it says, as far as the parent reaches.
    fn child(&self, parent: &Parent, child: &Child, host: &str, now: Timestamp) -> Result<Session> {
        let account = parent.caller.account;
        if child.parent != parent.token || child.account != account {
            return Err(unacceptable(Unfit::Claims("iss or sub")));
        }
        if !self.hosts.is_for(&child.audience, host, account) {
            return Err(unacceptable(Unfit::Claims("aud")));
        }
        child.begun(now).map_err(unacceptable)?;
        let own = || parent.reach.iter().filter(|ceiling| self.buckets.serves(ceiling.storage));
        let opens = |ceiling: &ParentScope| child.opens(ceiling, now).map(|rights| (ceiling.storage, Arc::new(rights)));
        let inside: Vec<_> = own().filter_map(opens).collect();
        let opened = own().filter(|ceiling| child.opens(ceiling, now).is_some());
        let longest = opened.map(|ceiling| ceiling.max_lifetime.ends(child.issued)).max();
        let origin = Provenance {
            lease: Some(child.lease()),
            account,
            caller: parent.caller.id,
            token: parent.token,
            storage: self.buckets.own(),
            // It may have been signed that much before it says.
            opened: child.issued.checked_sub(SKEW).unwrap_or(child.issued),
        };
        let until = [parent.caller.token_until, longest].into_iter().flatten().fold(child.until, Timestamp::min);
        self.standing.check(&origin, until)?;
        // Longer than the parent's grants allow: it counted until then.
        if inside.is_empty() && own().any(|ceiling| child.opens(ceiling, child.issued).is_some()) {
            return Err(expired());
        }
        Ok(Session {
            origin,
            narrowed_from: Arc::default(),
            until,
            reach: Reach::several(self.buckets.own(), inside),
            operations: child.operations,
            parent: Some(parent.token),
            standing: Arc::clone(&self.standing),
            arrived: Arrived::default(),
        })
    }
}
