//! A credential that was fetched, as the bytes that are sealed.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use valetkey_core::credential::{AzureSas, Credential, GoogleToken, Issued, LeftOut, Narrowed, S3Keys, Trace};
use valetkey_core::id::{AccountId, CallerId, LeaseId, StorageId, TokenId};
use valetkey_core::lease::Provenance;
use valetkey_core::scope::Action;
use valetkey_core::{Error, Secret};

use super::held::Held;

type Text<'a> = Cow<'a, str>;

/// What another version has beside it makes it unreadable, and it is fetched anew.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire<'a> {
    credential: WireCredential<'a>,
    expiration_s: i64,
    key_id: Option<Text<'a>>,
    request_id: Option<Text<'a>>,
    narrowed: Vec<(Option<Text<'a>>, Text<'a>)>,
    origin: WireOrigin,
    ends_ms: i64,
    lasts_ms: i64,
    renew_ms: i64,
    good_ms: Option<i64>,
    gave_ms: Option<i64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
enum WireCredential<'a> {
    S3 { access_key_id: Text<'a>, secret_access_key: Text<'a>, session_token: Text<'a> },
    Azure { sas_token: Text<'a> },
    Google { access_token: Text<'a> },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireOrigin {
    lease: Option<[u8; 16]>,
    account: [u8; 16],
    caller: [u8; 16],
    token: [u8; 16],
    storage: [u8; 16],
    opened_ms: i64,
}

fn text(secret: &Secret<String>) -> Text<'_> {
    Text::Borrowed(secret.reveal())
}

/// Before an action that nothing is left out of.
const BEYOND: &str = "beyond ";

/// What is sealed.
pub(super) fn write(held: &Held) -> Result<Secret<Vec<u8>>, Error> {
    let Held { issued, origin, ends, lasts, renew, good, gave } = held;
    let Issued { credential, trace, narrowed } = issued;
    let wire = Wire {
        credential: match &**credential {
            Credential::S3(keys) => WireCredential::S3 {
                access_key_id: Text::Borrowed(&keys.access_key_id),
                secret_access_key: text(&keys.secret_access_key),
                session_token: text(&keys.session_token),
            },
            Credential::Azure(sas) => WireCredential::Azure { sas_token: text(&sas.sas_token) },
            Credential::Google(token) => WireCredential::Google { access_token: text(&token.access_token) },
        },
        expiration_s: credential.expiration().as_second(),
        key_id: trace.as_ref().map(|trace| Text::Borrowed(&*trace.key_id)),
        request_id: trace.as_ref().and_then(|trace| trace.request_id.as_deref()).map(Text::Borrowed),
        narrowed: narrowed
            .iter()
            .map(|Narrowed { what, why }| {
                let action = match what {
                    LeftOut::Action(action) => Some(Text::Borrowed(action.as_str())),
                    LeftOut::DirectoryKeys => None,
                    LeftOut::Beyond(action) => Some(Text::Owned(format!("{BEYOND}{action}"))),
                };
                (action, Text::Borrowed(&**why))
            })
            .collect(),
        origin: WireOrigin {
            lease: origin.lease.map(LeaseId::to_bytes),
            account: origin.account.to_bytes(),
            caller: origin.caller.to_bytes(),
            token: origin.token.to_bytes(),
            storage: origin.storage.to_bytes(),
            opened_ms: origin.opened.as_millisecond(),
        },
        ends_ms: ends.as_millisecond(),
        lasts_ms: lasts.as_millisecond(),
        renew_ms: renew.as_millisecond(),
        good_ms: millis(*good),
        gave_ms: gave.and_then(millis),
    };
    serde_json::to_vec(&wire).map(Secret::new).map_err(|_| Error::internal("a credential cannot be written"))
}

/// Nothing of what is for ever.
fn millis(time: SignedDuration) -> Option<i64> {
    i64::try_from(time.as_millis()).ok()
}

/// What was sealed; nothing if it is not what [`write()`] writes.
pub(super) fn read(plain: &Secret<Vec<u8>>) -> Option<Held> {
    let wire: Wire<'_> = serde_json::from_slice(plain.reveal()).ok()?;
    let secret = |text: Text<'_>| Secret::new(text.into_owned());
    let expiration = Timestamp::from_second(wire.expiration_s).ok()?;
    let credential = match wire.credential {
        WireCredential::S3 { access_key_id, secret_access_key, session_token } => Credential::S3(S3Keys {
            access_key_id: access_key_id.into_owned(),
            secret_access_key: secret(secret_access_key),
            session_token: secret(session_token),
            expiration,
        }),
        WireCredential::Azure { sas_token } => Credential::Azure(AzureSas { sas_token: secret(sas_token), expiration }),
        WireCredential::Google { access_token } => {
            Credential::Google(GoogleToken { access_token: secret(access_token), expiration })
        }
    };
    let left_out = |(action, why): (Option<Text<'_>>, Text<'_>)| {
        let what = match action {
            Some(action) => match action.strip_prefix(BEYOND) {
                Some(action) => LeftOut::Beyond(Action::parse(action)?),
                None => LeftOut::Action(Action::parse(&action)?),
            },
            None => LeftOut::DirectoryKeys,
        };
        Some(Narrowed { what, why: Cow::Owned(why.into_owned()) })
    };
    let request_id = wire.request_id.map(Into::into);
    let trace = wire.key_id.map(|key_id| Arc::new(Trace { key_id: key_id.into(), request_id, expiration }));
    let WireOrigin { lease, account, caller, token, storage, opened_ms } = wire.origin;
    let at = |ms: i64| Timestamp::from_millisecond(ms).ok();
    Some(Held {
        issued: Issued {
            credential: Arc::new(credential),
            trace,
            narrowed: wire.narrowed.into_iter().map(left_out).collect::<Option<_>>()?,
        },
        origin: Provenance {
            lease: lease.map(LeaseId::from_bytes),
            account: AccountId::from_bytes(account),
            caller: CallerId::from_bytes(caller),
            token: TokenId::from_bytes(token),
            storage: StorageId::from_bytes(storage),
            opened: at(opened_ms)?,
        },
        ends: at(wire.ends_ms)?,
        lasts: at(wire.lasts_ms)?,
        renew: at(wire.renew_ms)?,
        good: wire.good_ms.map_or(SignedDuration::MAX, SignedDuration::from_millis),
        gave: wire.gave_ms.map(SignedDuration::from_millis),
    })
}
