//! Which operations there are, what each of them needs of a scope, and which words of a request it understands.
//!
//! SECURITY: denies by default. An operation without a row here is refused, even if something behind could do it; so is a
//! query parameter or an `x-amz-` header that the row or the list below does not have: what we do not understand must
//! not look as if it had been done.

mod rows;

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use http::{HeaderMap, Uri};
use s3s::access::{S3Access, S3AccessContext};
use s3s::dto::{CopyObjectInput, CopySource, UploadPartCopyInput};
use s3s::path::S3Path;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Result};
use valetkey_core::scope::{Action, Listing, Part, Path, Paths};

pub(crate) use crate::access::rows::operations;
use crate::access::rows::{Conditions, FORWARDED, HEADERS, Needs, READ, ROWS, Row};
use crate::bucket::Buckets;
use crate::error::{Result, denied, not_implemented, refuse, refuse_with};
use crate::forward::road::Road;
use crate::gate::aside::Aside;
use crate::gate::proof;
use crate::gate::session::{Holder, Operation, Session};
use crate::gate::slot::{Slot, Takes};
use crate::objects::BucketId;

/// A request that may be done, and that goes on to a storage. SECURITY: made only by [`Access::check`], when all of it is decided.
pub(crate) struct Going {
    pub(crate) op: &'static str,
    pub(crate) road: Road,
    pub(crate) bucket: String,
    pub(crate) number: BucketId,
    pub(crate) key: Option<String>,
    _decided: (),
}

/// Where such a request is put down, for the gate.
#[derive(Clone)]
pub(crate) struct Turn {
    buckets: Arc<Buckets>,
    passed: Arc<Mutex<Option<Going>>>,
}

impl Turn {
    pub(crate) fn new(buckets: Arc<Buckets>) -> Self {
        Self { buckets, passed: Arc::default() }
    }

    pub(crate) fn take(&self) -> Option<Going> {
        self.passed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The bucket and the key that a path names.
fn named(path: &S3Path) -> Option<(&str, Option<&str>)> {
    match path {
        S3Path::Root => None,
        S3Path::Bucket { bucket } => Some((bucket, None)),
        S3Path::Object { bucket, key } => Some((bucket, Some(key))),
    }
}

/// Refuses a header that is not understood, or not with this value.
fn understood(headers: &HeaderMap, goes_on: bool) -> Result<()> {
    for (name, value) in headers {
        let name = name.as_str();
        if !name.starts_with("x-amz-") || name.starts_with("x-amz-meta-") || HEADERS.contains(&name) {
            continue;
        }
        let good: &[&[u8]] = match name {
            // Every object belongs to the bucket's owner and nobody else: these say what is.
            "x-amz-acl" => &[b"private", b"bucket-owner-full-control"],
            "x-amz-storage-class" if goes_on && is_word(value.as_bytes()) => continue,
            "x-amz-storage-class" => &[b"STANDARD"],
            "x-amz-tagging-directive" => &[b"COPY", b"REPLACE"],
            // Our accounts have none of Amazon's numbers, so it is always another.
            "x-amz-expected-bucket-owner" | "x-amz-source-expected-bucket-owner" => return Err(denied()),
            _ => &[],
        };
        if !good.contains(&value.as_bytes()) {
            return Err(not_implemented(name));
        }
    }
    Ok(())
}

/// Whether it is a word as storage classes are: which ones there are, the storage knows.
fn is_word(value: &[u8]) -> bool {
    (1..=32).contains(&value.len())
        && value.iter().all(|byte| byte.is_ascii_uppercase() || matches!(byte, b'_' | b'0'..=b'9'))
}

/// Refuses a condition that is not understood: what is passed over could overwrite what it was to keep.
fn understood_conditions(aside: &Aside, row: &Row) -> Result<()> {
    let unknown = match row.conditions {
        Conditions::Reads => None,
        Conditions::Only(known) => aside.conditions().find(|name| !known.contains(name)),
    };
    unknown.map_or(Ok(()), |name| Err(not_implemented(name)))
}

fn understood_query(uri: &Uri, aside: &Aside, row: &Row) -> Result<()> {
    if row.query != READ && !aside.overridden().is_empty() {
        return Err(not_implemented("?response-…"));
    }
    for (name, value) in proof::query(uri.query())?.iter() {
        // `x-id` and its like are for the sender's own logs.
        let known = row.query.contains(&name) || name.starts_with("x-");
        let versioned = name == "versionId" && value != "null";
        if !known || versioned {
            return Err(not_implemented(format_args!("?{}", valetkey_core::name::shortened(name))));
        }
    }
    Ok(())
}

fn allowed(session: &Session, needs: Needs, path: &S3Path) -> bool {
    let reach = &session.reach;
    match (needs, path) {
        (Needs::Key(action), S3Path::Object { bucket, key }) => reach.covers(bucket, key.as_bytes(), action),
        (Needs::Bucket(action), S3Path::Bucket { bucket }) => reach.paths_of(bucket, action).next().is_some(),
        (Needs::Config(action), S3Path::Bucket { bucket }) => {
            reach.paths_of(bucket, action).any(|paths| *paths == Paths::Whole)
        }
        // R2 tells buckets only to who administers the account.
        (Needs::Buckets, S3Path::Root) => session.parent.is_none(),
        (Needs::Key(_) | Needs::Bucket(_) | Needs::Config(_) | Needs::Buckets, _) => false,
    }
}

/// What of a listing may be told; of anything else, all. The operation asks again, for each key.
fn lists(session: &Session, row: &Row, path: &S3Path, uri: &Uri) -> Result<Listing> {
    let (Needs::Bucket(action @ (Action::ListBucket | Action::ListUploads)), S3Path::Bucket { bucket }) =
        (row.needs, path)
    else {
        return Ok(Listing::All);
    };
    let query = proof::query(uri.query())?;
    let prefix = query.once("prefix").unwrap_or_default().as_bytes();
    let rights = session.reach.listing(bucket, prefix, action);
    Ok(rights.map_or(Listing::Refused, |rights| rights.listing(bucket, prefix, action)))
}

/// The most paths that a refusal names.
const MOST_NAMED: usize = 3;

/// What a credential opens, in a bucket of this name.
fn opens(session: &Session, bucket: &str) -> String {
    let shown = |bytes: &[u8]| valetkey_core::name::shortened(&String::from_utf8_lossy(bytes));
    let of_part = |part: &Part| {
        let actions: Vec<&str> = part.actions().iter().map(Action::as_str).collect();
        let paths = match part.paths() {
            Paths::Whole => "everything".to_owned(),
            Paths::Only(paths) => {
                let named: Vec<String> = paths
                    .iter()
                    .take(MOST_NAMED)
                    .map(|path| match &path {
                        Path::Object(key) => format!("`{}`", shown(key)),
                        Path::Directory(directory) => format!("`{}/`", shown(directory)),
                        Path::Prefix(prefix) => format!("`{}*`", shown(prefix)),
                    })
                    .collect();
                let more = paths.len().saturating_sub(named.len());
                if more > 0 { format!("{} and {more} more", named.join(", ")) } else { named.join(", ") }
            }
        };
        format!("{} on {paths}", actions.join(", "))
    };
    let here: Vec<String> = session
        .reach
        .in_bucket(bucket)
        .flat_map(|rights| rights.parts().iter())
        .take(MOST_NAMED)
        .map(of_part)
        .collect();
    if here.is_empty() { "nothing".to_owned() } else { here.join("; ") }
}

/// Refuses what is outside of a credential's scope. Its holder is told what is inside; who only has a URL that was signed with it is not.
fn outside(session: &Session, path: &S3Path, holder: bool) -> S3Error {
    match path {
        S3Path::Bucket { bucket } | S3Path::Object { bucket, .. } if holder => {
            let opens = opens(session, bucket);
            let bucket = valetkey_core::name::shortened(bucket);
            refuse_with(
                S3ErrorCode::AccessDenied,
                format!("Access Denied. In the bucket `{bucket}` this credential opens {opens}."),
            )
        }
        S3Path::Root | S3Path::Bucket { .. } | S3Path::Object { .. } => denied(),
    }
}

/// Refuses to copy from what the credential may not read.
pub(crate) fn allowed_source(session: Option<&Session>, source: &CopySource) -> Result<()> {
    let CopySource::Bucket { bucket, key, version_id } = source else {
        return Err(not_implemented("a copy from an access point"));
    };
    if version_id.as_deref().is_some_and(|version| version != "null") {
        return Err(not_implemented("versionId"));
    }
    match session {
        Some(session) if session.reach.covers(bucket, key.as_bytes(), Action::GetObject) => Ok(()),
        Some(_) | None => Err(denied()),
    }
}

/// The rules above, where the S3 crate asks for them.
pub(crate) struct Access {
    /// Whether buckets are listed.
    pub(crate) list_buckets: bool,
}

/// Sees to the body, as far as the operation takes one before it begins. SECURITY: only now, when it is decided that it may be done;
/// and whoever held the body back until its credential had ended is refused here, whatever the operation is.
async fn receive(cx: &mut S3AccessContext<'_>, row: &Row, session: &Session) -> Result<()> {
    let takes = row.body.ok_or_else(|| not_implemented(row.name))?;
    let slot = cx.extensions_mut().get::<Slot>().cloned().ok_or_else(denied)?;
    match takes {
        Takes::Stream => Ok(()),
        Takes::Nothing => slot.ignore(session).await,
        // Once it is there, the gate comes again with it.
        Takes::Document => slot.want(),
    }
}

#[async_trait]
impl S3Access for Access {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let asked = cx.s3_op().name().to_owned();
        let row = ROWS.iter().find(|row| row.name == asked).ok_or_else(|| not_implemented(&asked))?;
        if let Some(operation) = cx.extensions_mut().get::<Operation>() {
            operation.tell(row.name);
        }
        let session = cx.extensions_mut().get::<Session>().cloned().ok_or_else(denied)?;
        let named = session.operations.is_none_or(|operations| operations.allow(row.name));
        let named = named && (self.list_buckets || row.needs != Needs::Buckets);
        let listing = lists(&session, row, cx.s3_path(), cx.uri())?;
        if !named || !allowed(&session, row.needs, cx.s3_path()) || listing == Listing::Refused {
            let holder = cx.extensions_mut().get::<Holder>().is_some();
            return Err(outside(&session, cx.s3_path(), holder));
        }
        let aside = cx.extensions_mut().get::<Aside>().cloned().ok_or_else(denied)?;
        let turn = cx.extensions_mut().get::<Turn>().cloned();
        // What a listing on the scope's border shows is put together here.
        let goes_on = FORWARDED.contains(&row.name) && (listing == Listing::All || row.name == "ListMultipartUploads");
        let place = self::named(cx.s3_path()).filter(|_| goes_on);
        let way = turn.as_ref().zip(place).and_then(|(turn, (bucket, key))| {
            let (road, number) = turn.buckets.road(session.storage_of(bucket)?, bucket)?;
            Some((road, number, bucket.to_owned(), key.map(str::to_owned)))
        });
        understood(cx.headers(), way.is_some())?;
        understood_conditions(&aside, row)?;
        understood_query(cx.uri(), &aside, row)?;
        receive(cx, row, &session).await?;
        let (Some(turn), Some((road, number, bucket, key))) = (turn, way) else { return Ok(()) };
        let unknown = || refuse(S3ErrorCode::NoSuchBucket, "The specified bucket does not exist");
        let passed = Going { op: row.name, road, bucket, number: number.ok_or_else(unknown)?, key, _decided: () };
        *turn.passed.lock().unwrap_or_else(PoisonError::into_inner) = Some(passed);
        // The gate takes it from here; the library has no more to do with it.
        Err(denied())
    }

    async fn copy_object(&self, request: &mut S3Request<CopyObjectInput>) -> S3Result<()> {
        allowed_source(request.extensions.get(), &request.input.copy_source)
    }

    async fn upload_part_copy(&self, request: &mut S3Request<UploadPartCopyInput>) -> S3Result<()> {
        allowed_source(request.extensions.get(), &request.input.copy_source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_understood_by_name_and_value() {
        let check = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            understood(&headers, false).map_err(|error| error.code().as_str().to_owned())
        };
        for (name, value) in [
            ("x-amz-acl", "private"),
            ("x-amz-storage-class", "STANDARD"),
            ("x-amz-meta-anything", "x"),
            ("amz-sdk-invocation-id", "x"),
            ("x-amz-sdk-checksum-algorithm", "CRC32"),
        ] {
            assert_eq!(check(name, value), Ok(()), "{name}");
        }
        for (name, value) in [
            ("x-amz-acl", "public-read"),
            ("x-amz-storage-class", "GLACIER"),
            ("x-amz-server-side-encryption", "AES256"),
            ("x-amz-tagging", "a=b"),
            ("x-amz-grant-read", "id=1"),
            ("x-amz-object-lock-mode", "COMPLIANCE"),
            ("x-amz-website-redirect-location", "/x"),
            ("x-amz-write-offset-bytes", "0"),
            ("x-amz-never-heard-of", "x"),
        ] {
            assert_eq!(check(name, value), Err("NotImplemented".to_owned()), "{name}");
        }
        assert_eq!(check("x-amz-expected-bucket-owner", "123456789012"), Err("AccessDenied".to_owned()));
        let class = |value: &'static str| {
            let headers = HeaderMap::from_iter([("x-amz-storage-class".parse().unwrap(), value.parse().unwrap())]);
            understood(&headers, true).is_ok()
        };
        assert!(class("GLACIER_IR") && !class("glacier") && !class("A B"));
    }
}
