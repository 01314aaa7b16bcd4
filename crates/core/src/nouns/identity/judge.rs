//! What a token claims, held against what is configured: every check of a claim, in the order of RFC 8725 and `OpenID` Connect Core 3.1.3.7.
//!
//! SECURITY: the signature is checked elsewhere, before anything here is believed; but for [`IdentityProvider::plausible`], which
//! only says whether a token deserves that keys are asked for again.

use jiff::{SignedDuration, Timestamp};

use crate::claims::{Claims, Condition, instant};
use crate::error::{Error, Kind, Stranger};
use crate::json::Json;
use crate::name::shortened;
use crate::nouns::identity::provider::{IdentityProvider, Proven, TrustRule};
use crate::nouns::identity::rule::subject;

/// The longest text of a claim that is kept, in bytes: `OpenID` Connect Core limits `sub` to 255.
const LONGEST_KEPT: usize = 512;

impl Claims {
    fn audiences(&self) -> Option<Vec<&str>> {
        match self.get("aud")? {
            Json::Text(one) => Some(vec![one]),
            list @ Json::List(_) => list.texts(),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::Whole(_) | Json::Object(_) => None,
        }
    }

    /// Whether it leaves groups out that its owner has, as Microsoft Entra does where there are many.
    fn leaves_out_groups(&self) -> bool {
        self.get("_claim_names").is_some() || self.get("hasgroups").is_some()
    }
}

/// A token that is not taken. Why is for the log: to a stranger it says nothing of what is configured.
pub fn not_taken(why: impl Into<String>) -> Error {
    Error::new(Kind::Unauthenticated(Stranger::Unknown), "the identity token is not one that this server takes")
        .note(why)
}

impl IdentityProvider {
    /// Checks what does not depend on rules: issuer, times and audience.
    ///
    /// # Errors
    /// `Unauthenticated`.
    pub fn plausible(&self, claims: &Claims, now: Timestamp) -> Result<Timestamp, Error> {
        if claims.issuer() != Some(&*self.issuer) {
            return Err(not_taken("another issuer"));
        }
        let leeway = SignedDuration::from_secs(i64::from(self.leeway_secs));
        let latest = now.checked_add(leeway).map_err(|_| not_taken("a time out of range"))?;
        let earliest = now.checked_sub(leeway).map_err(|_| not_taken("a time out of range"))?;
        let until = claims.expires().ok_or_else(|| not_taken("no `exp`, or one that is no time"))?;
        if until <= earliest {
            let said = format!("the identity token expired at {until:.0}; this server's time is {now:.0}");
            return Err(Error::new(Kind::Unauthenticated(Stranger::Expired), said));
        }
        for name in ["nbf", "iat"] {
            let Some(value) = claims.get(name) else { continue };
            let at = instant(value).ok_or_else(|| not_taken(format!("an `{name}` that is no time")))?;
            if at > latest {
                return Err(not_taken(format!("`{name}` is {at:.0}, which is yet to come")));
            }
            let oldest = earliest.checked_sub(SignedDuration::from_secs(i64::from(self.max_age_secs)));
            if name == "iat" && oldest.is_ok_and(|oldest| at < oldest) {
                return Err(not_taken(format!("issued at {at:.0}, which is too long ago")));
            }
        }
        self.meant_for_us(claims)?;
        Ok(until)
    }

    /// Checks that the token was made for this server. One audience or a list of one is the same; none is nobody's.
    fn meant_for_us(&self, claims: &Claims) -> Result<(), Error> {
        let audiences = claims.audiences().unwrap_or_default();
        if !audiences.iter().any(|own| self.audiences.iter().any(|wanted| **wanted == **own)) {
            let said = "the identity token is for another audience";
            return Err(Error::new(Kind::Unauthenticated(Stranger::Unknown), said)
                .note(format!("it is for {}", shortened(&audiences.join(", ")))));
        }
        if self.parties.is_empty() {
            return Ok(());
        }
        match claims.get("azp").map(Json::text) {
            Some(Some(party)) if self.parties.iter().any(|own| **own == *party) => Ok(()),
            None if audiences.len() == 1 => Ok(()),
            Some(_) | None => Err(not_taken("made for a client (`azp`) that is not allowed")),
        }
    }

    /// Who a token proves whose signature was checked, by the first rule that it holds.
    ///
    /// # Errors
    /// `Unauthenticated`; `Forbidden` if the token is good and no rule admits it.
    pub fn judge(&self, claims: &Claims, now: Timestamp) -> Result<Proven<'_>, Error> {
        let until = self.plausible(claims, now)?;
        let missing = |claim: &str| not_taken(format!("the claim `{claim}` is missing, or no plain value"));
        let subject = subject(&self.subject, claims.json()).map_err(|claim| missing(claim.as_str()))?;
        let kept = |text: &str| text.len() <= LONGEST_KEPT && !text.chars().any(char::is_control);
        if !kept(&subject) {
            return Err(not_taken("its subject is too long, or has control characters in it"));
        }
        let jti = match claims.get("jti") {
            None => None,
            Some(jti) => Some(jti.text().filter(|text| kept(text)).ok_or_else(|| missing("jti"))?),
        };
        let Some(rule) = self.rules.iter().find(|rule| rule.holds(claims)) else {
            let left_out =
                if claims.leaves_out_groups() { "; it leaves out groups, of which there are too many" } else { "" };
            let said = format!("no rule of the identity provider `{}` admits this token", self.name);
            return Err(
                Error::new(Kind::Forbidden, said).note(format!("the subject is `{}`{left_out}", shortened(&subject)))
            );
        };
        let caller = rule.caller.fill(&subject, claims.json()).map_err(|claim| missing(claim.as_str()))?;
        let longer =
            rule.outlive_secs.and_then(|secs| now.checked_add(SignedDuration::from_secs(i64::from(secs))).ok());
        Ok(Proven {
            provider: self,
            rule,
            caller,
            subject: subject.into(),
            jti: jti.map(Into::into),
            issued: claims.get("iat").and_then(instant),
            until: longer.map_or(until, |longer| longer.max(until)),
        })
    }
}

impl TrustRule {
    fn holds(&self, claims: &Claims) -> bool {
        Condition::all_hold(&self.conditions, claims)
    }
}
