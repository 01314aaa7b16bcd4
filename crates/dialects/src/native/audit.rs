//! Who changed what, and whether the ledger is whole: `/audit` and `/ledger/verify`. For operators.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use valetkey_core::audit::{Change, ChangeFilter, Place};
use valetkey_core::error::Noun;
use valetkey_core::name::shortened;
use valetkey_core::nouns::registry::{HeadFound, LedgerHead};
use valetkey_core::{Error, Kind};

use super::error::Problem;
use super::state::Native;
use super::{leases, lists, wire};
use crate::edge::{Call, Reply};

/// What may be asked of changes.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the parameters, which are read one by one")]
pub(super) struct ChangeQuery {
    /// Only those made since (RFC 3339).
    since: Option<String>,
    /// Only those of the last N seconds.
    since_secs: Option<u32>,
    /// Only those of a kind of thing: `account`, `caller`, `token`, `grant`, `storage` ...
    noun: Option<String>,
    /// Only those that this caller made (id, `account/name`, or name in your own account).
    caller: Option<String>,
    /// Only those before this one: `next_before` of the page before.
    before: Option<String>,
    /// At most this many: 1 to 500, 50 unless given.
    limit: Option<u32>,
}

/// A change of the registry.
#[derive(Serialize, ToSchema)]
pub(super) struct ChangeResponse {
    /// When.
    at: String,
    /// Who: the caller's name, its id where that has no name any more, or `server` for a command on the server's machine.
    by: String,
    /// The id of the token that was shown.
    token: Option<String>,
    /// The address the request came from.
    from: Option<String>,
    /// What was done: `made`, `changed`, `removed`, `ended`, `suspended`, `activated`.
    done: String,
    /// To what kind of thing.
    noun: String,
    /// Its id, or its name where it has no id.
    id: String,
    /// Its name, or what was changed of it; never a secret.
    about: String,
    /// Its place in the ledger: the page and the entry in it.
    place: String,
}

/// Changes, the newest first.
#[derive(Serialize, ToSchema)]
pub(super) struct ChangePage {
    /// The changes.
    changes: Vec<ChangeResponse>,
    /// The `before` of the next page, if there may be one.
    next_before: Option<String>,
}

fn place(place: Place) -> String {
    format!("{}.{}", place.page, place.entry)
}

fn placed(text: &str) -> Result<Place, Error> {
    let parts = text.split_once('.').and_then(|(page, entry)| Some((page.parse().ok()?, entry.parse().ok()?)));
    let (page, entry) = parts.ok_or_else(|| {
        let said = format!("`{}` is no place in the ledger; one is written PAGE.ENTRY", shortened(text));
        Error::new(Kind::Invalid, said).at("before")
    })?;
    Ok(Place { page, entry })
}

/// Lists who changed what, the newest first. For operators.
#[utoipa::path(get, operation_id = "list_changes", path = "/api/v1/audit", tag = "ledger", params(ChangeQuery), responses(
    (status = 200, description = "The changes", body = ChangePage),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn list(native: Arc<Native>, call: Call) -> Result<Reply, Error> {
    let query = &call.query;
    let since = lists::since(query, call.now)?;
    let noun = query.get("noun").map(|text| {
        Noun::ALL.into_iter().find(|noun| noun.to_string() == text).ok_or_else(|| {
            let known: Vec<String> = Noun::ALL.into_iter().map(|noun| noun.to_string()).collect();
            let said = format!("`{}` is none of `{}`", shortened(text), known.join("`, `"));
            Error::new(Kind::Invalid, said).at("noun")
        })
    });
    let limit = leases::page_size(query.get("limit"))?;
    let before = query.get("before").map(placed).transpose()?;
    let by = native.caller_of_list(&call, None, query.get("caller")).await?.map(|known| known.id);
    let filter = ChangeFilter { since, before, noun: noun.transpose()?, by, limit };
    let found = native.shared.registry.changes(&filter).await?;
    let full = u32::try_from(found.len()).is_ok_and(|count| count >= limit);
    let next_before = found.last().filter(|_| full).map(|change| place(change.place));
    let mut names = HashMap::new();
    for caller in found.iter().filter_map(|change| change.by.caller) {
        if let std::collections::hash_map::Entry::Vacant(name) = names.entry(caller) {
            let known = native.shared.registry.caller_by_id(caller).await?;
            name.insert(known.map_or_else(|| caller.to_string(), |known| known.name.to_string()));
        }
    }
    let shown = |change: Change| ChangeResponse {
        at: wire::at(change.at),
        by: change.by.caller.and_then(|caller| names.get(&caller).cloned()).unwrap_or_else(|| "server".to_owned()),
        token: change.by.token.map(|token| token.to_string()),
        from: change.by.from.map(|from| from.to_string()),
        done: change.deed.into(),
        noun: change.noun.into(),
        id: change.id.into(),
        about: change.about.into(),
        place: place(change.place),
    };
    Reply::json(&ChangePage { changes: found.into_iter().map(shown).collect(), next_before })
}

/// What a verification of the ledger found.
#[derive(Serialize, ToSchema)]
pub(super) struct VerifiedResponse {
    /// Whether everything fits.
    intact: bool,
    /// The last page, `SEQ:HASH`: its number and the SHA-256 of it and all before it. Note it elsewhere and ask for it later
    /// with `expect_head`.
    head: String,
    /// The last page of each chain: servers that share a database write one each. `expect_head` takes any of them.
    chains: Vec<String>,
    /// The page before the first that is there, of each chain whose oldest pages were removed: what an archive has to reach.
    begins: Vec<String>,
    /// What became of the head that was expected: `head`, it still is the last page; `grown`, it is on the chain, the ledger
    /// has grown since; `missing`, it is not on the chain; `swept`, its page was removed when its time was over.
    expected: Option<&'static str>,
    /// Leases on record.
    leases: u64,
    /// Pages of the ledger.
    pages: u64,
    /// Revocations on record.
    revocations: u64,
    /// Tokens that were compared with the ledger.
    tokens: u64,
    /// Changes of the registry on record.
    changes: u64,
    /// The first page that does not fit, or whose leases are said otherwise in the database.
    broken_at: Option<u64>,
    /// What the database says of revocations and tokens and the ledger does not, or the other way round; the first few.
    astray: Vec<String>,
    /// What was there before the ledger covered revocations and tokens: taken as it was found then.
    before: Option<BeforeResponse>,
    /// What was compared with the ledger.
    covers: &'static [&'static str],
    /// What was not.
    leaves_out: &'static [&'static str],
}

/// What was there before the ledger covered it.
#[derive(Serialize, ToSchema)]
pub(super) struct BeforeResponse {
    /// The page from which on it is covered.
    page: u64,
    /// Revocations.
    revocations: u64,
    /// Tokens.
    tokens: u64,
}

const COVERS: &[&str] = &[
    "each page against the one before",
    "leases, voids, what storages gave and which leases are ended",
    "revocations, both ways",
    "tokens: whose they are, what proves them, when they end",
    "who changed what of the registry",
];

const LEAVES_OUT: &[&str] = &[
    "what accounts, grants, storages and shares say now",
    "counts, packages, objects",
    "another chain in the place of this one: note its head elsewhere",
];

fn head(head: LedgerHead) -> String {
    format!("{}:{}", head.seq, data_encoding::HEXLOWER.encode(&head.hash))
}

fn expected(text: &str) -> Result<LedgerHead, Error> {
    let read = || {
        let (seq, hash) = text.split_once(':')?;
        let hash = data_encoding::HEXLOWER_PERMISSIVE.decode(hash.as_bytes()).ok()?;
        Some(LedgerHead { seq: seq.parse().ok()?, hash: hash.try_into().ok()? })
    };
    read().ok_or_else(|| {
        let said = "a head is written SEQ:HASH, with 64 hexadecimal digits, as verifying prints it";
        Error::new(Kind::Invalid, said).at("expect_head")
    })
}

/// What may be asked of a verification.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the parameters, which are read one by one")]
pub(super) struct VerifyQuery {
    /// A head that was noted earlier, `SEQ:HASH`: whether it is still on the chain.
    expect_head: Option<String>,
}

/// Reads the whole ledger and checks it. For operators.
#[utoipa::path(get, operation_id = "verify_ledger", path = "/api/v1/ledger/verify", tag = "ledger", params(VerifyQuery), responses(
    (status = 200, description = "What was found", body = VerifiedResponse),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn verify(native: Arc<Native>, call: Call) -> Result<Reply, Error> {
    let query = &call.query;
    let noted = query.get("expect_head").map(expected).transpose()?;
    let found = native.shared.registry.verify_against(noted).await?;
    Reply::json(&VerifiedResponse {
        intact: found.intact(),
        head: head(found.head),
        chains: found.chains.into_iter().map(head).collect(),
        begins: found.begins.into_iter().map(head).collect(),
        expected: found.expected.map(|found| match found {
            HeadFound::Head => "head",
            HeadFound::Grown => "grown",
            HeadFound::Missing => "missing",
            HeadFound::Swept => "swept",
        }),
        leases: found.leases,
        pages: found.pages,
        revocations: found.revocations,
        tokens: found.tokens,
        changes: found.changes,
        broken_at: found.broken_at,
        astray: found.astray,
        before: found.before.map(|before| BeforeResponse {
            page: before.page,
            revocations: before.revocations,
            tokens: before.tokens,
        }),
        covers: COVERS,
        leaves_out: LEAVES_OUT,
    })
}
