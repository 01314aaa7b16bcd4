//! The registry that packages are pushed to and pulled from (OCI Distribution Specification 1.1, as far as the SDK uses
//! it): blobs in one piece, image manifests, tags. Blobs are found under the organization too, without a package's name.
//!
//! Packages are the organization's. Who may write in one of its workspaces may push, who may read in one may pull.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, header};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use valetkey_core::account::Account;
use valetkey_core::ask::Wanted;
use valetkey_core::error::Noun;
use valetkey_core::name::Name;
use valetkey_core::nouns::package::{Digest, Manifest, Reference, Tag, Upload, UploadKey};
use valetkey_core::nouns::workspace;
use valetkey_core::scope::Actions;
use valetkey_core::{Error, Kind};

use super::Dreadnode;
use crate::edge::{Call, Reply, json};

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const BYTES: &str = "application/octet-stream";

/// How long an upload may take from its beginning to its end.
const UPLOAD: SignedDuration = SignedDuration::from_mins(15);

/// The manifests that are taken: their media types are handed out again, so only known ones.
const IMAGE_MANIFESTS: [&str; 2] =
    ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"];

impl Dreadnode {
    /// Refuses who may do that in none of the organization's workspaces: to those who may not even read, there is no
    /// package.
    async fn may(&self, call: &Call, actions: Actions) -> Result<Account, Error> {
        let snapshot = self.organization(call).await?;
        let workspaces = self.shared.workspaces.workspaces(call.caller.account).await?;
        let mut reads = false;
        for workspace in workspaces.iter() {
            if self.opens(&snapshot, call, workspace, Wanted::all_of(actions)) {
                return Ok(snapshot.account().clone());
            }
            reads = reads || self.opens(&snapshot, call, workspace, Wanted::all_of(workspace::READ));
        }
        if reads {
            return Err(Error::new(Kind::Forbidden, "no workspace of this organization is open to you for writing"));
        }
        Err(Error::not_found(Noun::Package))
    }
}

fn digest(call: &Call) -> Result<Digest, Error> {
    call.params.get("digest")?.parse().map_err(|error: Error| error.at("path.digest"))
}

fn package(call: &Call) -> Result<Name, Error> {
    Name::parse(call.params.get("name")?).map_err(|error| error.at("path.name"))
}

fn content_digest(reply: Reply, digest: Digest) -> Result<Reply, Error> {
    Ok(reply.header(CONTENT_DIGEST, value(&digest.to_string())?))
}

fn value(text: &str) -> Result<HeaderValue, Error> {
    HeaderValue::from_str(text).map_err(|error| Error::internal("a header could not be written").caused_by(error))
}

pub(super) async fn head_blob(dreadnode: Arc<Dreadnode>, call: Call) -> Result<Reply, Error> {
    let digest = digest(&call)?;
    let account = dreadnode.may(&call, workspace::READ).await?;
    let size = dreadnode.shared.packages.blob_size(account.id, digest).await?;
    let size = size.ok_or_else(|| Error::not_found(Noun::Package))?;
    let reply = Reply::empty().header(header::CONTENT_TYPE, HeaderValue::from_static(BYTES));
    content_digest(reply.header(header::CONTENT_LENGTH, HeaderValue::from(size)), digest)
}

pub(super) async fn get_blob(dreadnode: Arc<Dreadnode>, call: Call) -> Result<Reply, Error> {
    let digest = digest(&call)?;
    let account = dreadnode.may(&call, workspace::READ).await?;
    let body = dreadnode.shared.packages.blob(account.id, digest).await?;
    content_digest(Reply::written(body.ok_or_else(|| Error::not_found(Noun::Package))?, BYTES), digest)
}

/// Begins an upload. A client that asks to mount a blob instead is answered as the specification says for a registry that
/// does not do it: with an upload.
pub(super) async fn begin(dreadnode: Arc<Dreadnode>, call: Call) -> Result<Reply, Error> {
    let package = package(&call)?;
    if !call.body.is_empty() {
        return Err(Error::new(Kind::Malformed, "this route takes no body; send it to the `Location` of the answer"));
    }
    let account = dreadnode.may(&call, workspace::WORK).await?;
    let mut random = [0; 32];
    dreadnode.shared.entropy.fill(&mut random);
    let key = UploadKey::from_bytes(random);
    let location = format!("/api/v1/{}/{package}/blobs/uploads/{}", account.name, key.reveal());
    let upload = Upload { key: key.digest(), account: account.id, caller: call.caller.id, package };
    let until = call.now.checked_add(UPLOAD).map_err(|_| Error::internal("there is no time left for an upload"))?;
    dreadnode.shared.packages.begin_upload(&upload, until, call.now).await?;
    Ok(Reply::accepted().header(header::LOCATION, value(&location)?))
}

/// The upload that a request would finish, and what it announces.
async fn finished(dreadnode: &Dreadnode, call: &Call) -> Result<(Account, Upload, Digest), Error> {
    let package = package(call)?;
    let Some(given) = call.query.get("digest") else {
        return Err(Error::new(Kind::Malformed, "the parameter `digest` is missing"));
    };
    let digest: Digest = given.parse().map_err(|error: Error| error.at("query.digest"))?;
    let account = dreadnode.may(call, workspace::WORK).await?;
    let key = UploadKey::parse(call.params.get("upload")?).ok_or_else(no_upload)?;
    let upload = Upload { key: key.digest(), account: account.id, caller: call.caller.id, package };
    Ok((account, upload, digest))
}

fn no_upload() -> Error {
    Error::new(Kind::NotFound(Noun::Package), "no such upload; begin one")
}

/// Refuses a blob that would be refused whatever it holds, before it is read.
pub(super) async fn may_finish(dreadnode: Arc<Dreadnode>, call: Call) -> Result<(), Error> {
    finished(&dreadnode, &call).await.map(drop)
}

pub(super) async fn finish(dreadnode: Arc<Dreadnode>, call: Call) -> Result<Reply, Error> {
    let (account, upload, digest) = finished(&dreadnode, &call).await?;
    let location = format!("/api/v1/{}/{}/blobs/{digest}", account.name, upload.package);
    let ended = dreadnode.shared.packages.finish_upload(&upload, digest, call.body.into(), call.now).await;
    ended.map_err(|error| if error.kind() == no_upload().kind() { no_upload() } else { error })?;
    content_digest(Reply::made_empty().header(header::LOCATION, value(&location)?), digest)
}

/// An image manifest, as far as it is looked into: what it names has to be there.
#[derive(Deserialize)]
struct Image {
    #[serde(rename = "schemaVersion")]
    schema_version: u64,
    config: Descriptor,
    #[serde(default)]
    layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
}

/// The most blobs one manifest may name.
const MOST_BLOBS: usize = 1000;

/// What a manifest names.
fn needs(body: &[u8]) -> Result<Vec<Digest>, Error> {
    let Image { schema_version, config, layers } = json(body).map_err(|error| error.at("body"))?;
    if schema_version != 2 || layers.len() >= MOST_BLOBS {
        let said = format!("an image manifest has `schemaVersion` 2 and names at most {MOST_BLOBS} blobs");
        return Err(Error::new(Kind::Malformed, said));
    }
    let named = std::iter::once(config).chain(layers);
    named.map(|blob| blob.digest.parse().map_err(|error: Error| error.at("body.digest"))).collect()
}

/// What a manifest is said to be, and what it is to be called.
async fn put(dreadnode: &Dreadnode, call: &Call) -> Result<(Account, Name, &'static str, Reference), Error> {
    let package = package(call)?;
    let media_type = call.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = IMAGE_MANIFESTS.into_iter().find(|known| *known == media_type).ok_or_else(|| {
        Error::new(Kind::Malformed, format!("the content type of a manifest is `{}`", IMAGE_MANIFESTS.join("` or `")))
    })?;
    let reference = reference(call)?;
    Ok((dreadnode.may(call, workspace::WORK).await?, package, media_type, reference))
}

/// Refuses a manifest that would be refused whatever it says, before it is read.
pub(super) async fn may_put_manifest(dreadnode: Arc<Dreadnode>, call: Call) -> Result<(), Error> {
    put(&dreadnode, &call).await.map(drop)
}

pub(super) async fn put_manifest(dreadnode: Arc<Dreadnode>, call: Call) -> Result<Reply, Error> {
    let (account, package, media_type, reference) = put(&dreadnode, &call).await?;
    // Some milliseconds for the largest.
    let (body, place) = (call.body.clone(), dreadnode.shared.heavy.enter(call.caller.account).await?);
    let (needs, own) = place.work(move |_| Ok((needs(&body)?, Digest::of(&body)))).await?;
    drop(place);
    let tag = match reference {
        Reference::Tag(tag) => Some(tag),
        Reference::Digest(given) => {
            given.check(own)?;
            None
        }
    };
    let manifest = Manifest { digest: own, media_type: media_type.into(), body: call.body.into() };
    let packages = &dreadnode.shared.packages;
    packages.put_manifest(account.id, &package, tag.as_ref(), &manifest, &needs, call.now).await?;
    let location = format!("/api/v1/{}/{package}/manifests/{own}", account.name);
    content_digest(Reply::made_empty().header(header::LOCATION, value(&location)?), own)
}

fn reference(call: &Call) -> Result<Reference, Error> {
    Reference::parse(call.params.get("reference")?).map_err(|error| error.at("path.reference"))
}

pub(super) async fn get_manifest(dreadnode: Arc<Dreadnode>, call: Call) -> Result<Reply, Error> {
    let (package, reference) = (package(&call)?, reference(&call)?);
    let account = dreadnode.may(&call, workspace::READ).await?;
    let found = dreadnode.shared.packages.manifest(account.id, &package, &reference).await?;
    let Manifest { digest, media_type, body } = found.ok_or_else(|| Error::not_found(Noun::Package))?;
    content_digest(Reply::written(body, BYTES).header(header::CONTENT_TYPE, value(&media_type)?), digest)
}

#[derive(Serialize)]
struct Tags<'a> {
    name: String,
    tags: Vec<&'a str>,
}

pub(super) async fn tags(dreadnode: Arc<Dreadnode>, call: Call) -> Result<Reply, Error> {
    let package = package(&call)?;
    let most = call
        .query
        .get("n")
        .map(str::parse)
        .transpose()
        .map_err(|_| Error::new(Kind::Invalid, "`n` is the number of tags to list").at("query.n"))?;
    let account = dreadnode.may(&call, workspace::READ).await?;
    let tags = dreadnode.shared.packages.tags(account.id, &package).await?;
    if tags.is_empty() {
        return Err(Error::not_found(Noun::Package));
    }
    let listed = tags.iter().map(Tag::as_str).filter(|tag| call.query.get("last").is_none_or(|last| *tag > last));
    Reply::json(&Tags {
        name: format!("{}/{package}", account.name),
        tags: listed.take(most.unwrap_or(usize::MAX)).collect(),
    })
}
