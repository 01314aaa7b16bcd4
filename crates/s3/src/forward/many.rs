//! Deletes many objects with one request, each of them asked about by itself.

use data_encoding::BASE64;
use futures::StreamExt as _;
use http::header::{CONTENT_TYPE, HeaderMap};
use http::{Method, Response};
use s3s::{Body, S3Error, S3ErrorCode};
use valetkey_core::scope::Action;

use crate::error::{Result, denied, not_implemented, refuse, refuse_custom};
use crate::forward::context::{Cx, add, written};
use crate::forward::road::{DOCUMENT_TIME, MAX_DOCUMENT};
use crate::forward::xml::Node;
use crate::gateway::port::Sending;
use crate::objects::checksum::Hashes;
use crate::objects::condition::{Clash, Condition};
use crate::wire::clashed;

const DELETING: &str = "deleting objects";
/// Amazon S3 API Reference, `DeleteObjects`: up to 1000 keys.
const MAX_KEYS: usize = 1000;
/// Objects that are deleted at once where each takes a request.
const AT_ONCE: usize = 16;
/// How much longer than with short keys an answer may be: one key has up to 1,024 bytes, six times as many where each is a reference.
const MAX_KEY: usize = 8 * 1024;

/// What became of a key.
enum Outcome {
    Deleted(Vec<Node>),
    Failed { code: String, message: String },
}

impl Outcome {
    fn refused(error: &S3Error) -> Self {
        let (code, message) = (error.code().as_str().to_owned(), error.message().unwrap_or_default().to_owned());
        Self::Failed { code, message }
    }
}

/// A key to delete, and the tag it has to have.
struct Wanted {
    key: String,
    etag: Option<String>,
}

fn malformed() -> S3Error {
    refuse(
        S3ErrorCode::MalformedXML,
        "The XML you provided was not well-formed or did not validate against our published schema",
    )
}

/// Whether a key goes into a document that every storage reads.
fn is_plain(key: &str) -> bool {
    !key.chars().any(|c| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}'))
}

impl Cx {
    pub(super) async fn delete_many(self, document: &[u8]) -> Result<Response<Body>> {
        let asked = Node::parse(document).filter(|asked| asked.name == "Delete").ok_or_else(malformed)?;
        let quiet = asked.text_of("Quiet").is_some_and(|quiet| quiet.trim() == "true");
        let objects: Vec<&Node> = asked.children.iter().filter(|child| child.name == "Object").collect();
        if objects.is_empty() || objects.len() > MAX_KEYS {
            return Err(malformed());
        }
        let mut outcomes: Vec<(String, Option<Outcome>)> = Vec::new();
        let (mut together, mut single) = (Vec::new(), Vec::new());
        for (at, object) in objects.into_iter().enumerate() {
            let key = object.text_of("Key").ok_or_else(malformed)?.to_owned();
            let wanted = self.wanted(object, &key);
            let outcome = match wanted {
                Err(error) => Some(Outcome::refused(&error)),
                Ok(wanted) => {
                    let alone = wanted.etag.is_some() || !is_plain(&key);
                    if alone {
                        single.push((at, wanted));
                    } else {
                        together.push((at, wanted));
                    }
                    None
                }
            };
            outcomes.push((key, outcome));
        }
        let left = if together.len() > 1 { self.bulk(together, &mut outcomes).await? } else { together };
        let each = futures::stream::iter(single.into_iter().chain(left)).map(|(at, wanted)| {
            let own = self.clone();
            async move { (at, own.one(wanted).await) }
        });
        let done: Vec<(usize, Outcome)> = each.buffer_unordered(AT_ONCE).collect().await;
        for (at, outcome) in done {
            if let Some((_, own)) = outcomes.get_mut(at) {
                *own = Some(outcome);
            }
        }
        let mut children = Vec::new();
        for (key, outcome) in outcomes {
            match outcome.unwrap_or_else(|| {
                Outcome::refused(&refuse(S3ErrorCode::InternalError, "It is not known whether it was deleted."))
            }) {
                Outcome::Deleted(_) if quiet => {}
                Outcome::Deleted(more) => {
                    let children_of = [vec![Node::of("Key", key)], more].concat();
                    children.push(Node { name: "Deleted".to_owned(), text: String::new(), children: children_of });
                }
                Outcome::Failed { code, message } => {
                    let children_of = vec![Node::of("Key", key), Node::of("Code", code), Node::of("Message", message)];
                    children.push(Node { name: "Error".to_owned(), text: String::new(), children: children_of });
                }
            }
        }
        let result = Node { name: "DeleteResult".to_owned(), text: String::new(), children };
        Ok(written(&result.document(), HeaderMap::new()))
    }

    fn wanted(&self, object: &Node, key: &str) -> Result<Wanted> {
        if key.is_empty() {
            let said = "The request must contain the specified key of each object.";
            return Err(refuse_custom("UserKeyMustBeSpecified", http::StatusCode::BAD_REQUEST, said));
        }
        if !self.session.reach.covers(&self.bucket, key.as_bytes(), Action::DeleteObject) {
            return Err(denied());
        }
        self.road.takes_key(DELETING, key)?;
        let mut etag = None;
        for child in &object.children {
            match (child.name.as_str(), child.text.trim()) {
                ("Key", _) | ("VersionId", "" | "null") => {}
                ("ETag", tag) => etag = Some(tag.trim_matches('"').to_owned()),
                (name, _) => return Err(not_implemented(valetkey_core::name::shortened(name))),
            }
        }
        Ok(Wanted { key: key.to_owned(), etag })
    }

    /// Deletes keys with one request. Gives back those of a storage that has no such request.
    async fn bulk(
        &self,
        keys: Vec<(usize, Wanted)>,
        outcomes: &mut [(String, Option<Outcome>)],
    ) -> Result<Vec<(usize, Wanted)>> {
        let object =
            |key: &str| Node { name: "Object".to_owned(), text: String::new(), children: vec![Node::of("Key", key)] };
        let children = keys.iter().map(|(_, wanted)| object(&wanted.key)).collect();
        let document = Node { name: "Delete".to_owned(), text: String::new(), children }.document();
        let mut hashes = Hashes::new(&[]);
        hashes.update(document.as_bytes());
        let mut headers = HeaderMap::new();
        add(&mut headers, "content-md5", BASE64.encode(&hashes.finish().md5).as_bytes())?;
        add(&mut headers, CONTENT_TYPE.as_str(), b"application/xml")?;
        let mut asking = self.asking(Method::POST, &[("delete", "")], headers);
        (asking.body, asking.works) = (Sending::Whole(document.into()), true);
        let answer = match self.road.act(self.session.live().await?, DELETING, asking).await {
            Ok(answer) => answer,
            Err(error) if matches!(error.code().as_str(), "NotImplemented" | "MethodNotAllowed") => return Ok(keys),
            Err(error) => return Err(error),
        };
        let mut share = self.share()?;
        let (most, limits) = (MAX_DOCUMENT + keys.len() * MAX_KEY, (Some(&mut share), DOCUMENT_TIME.saturating_mul(4)));
        let node = self.road.document(DELETING, answer, ("DeleteResult", most), limits).await?;
        let mut said: std::collections::HashMap<&str, &Node> = std::collections::HashMap::new();
        for child in &node.children {
            said.extend(child.text_of("Key").map(|key| (key, child)));
        }
        for (at, wanted) in keys {
            let outcome = match said.get(wanted.key.as_str()) {
                Some(child) if child.name == "Deleted" => {
                    let mut more = (*child).clone();
                    more.only(&["DeleteMarker", "DeleteMarkerVersionId", "VersionId"]);
                    Some(Outcome::Deleted(more.children))
                }
                Some(child) => {
                    let status = (http::StatusCode::OK, &HeaderMap::new());
                    Some(Outcome::refused(&self.road.refused(DELETING, status, child)))
                }
                None => None,
            };
            if matches!(outcome, Some(Outcome::Deleted(_)) | None) {
                self.forget(&wanted.key).await?;
            }
            if let Some((_, own)) = outcomes.get_mut(at) {
                *own = outcome;
            }
        }
        Ok(Vec::new())
    }

    /// Deletes one key.
    async fn one(mut self, wanted: Wanted) -> Outcome {
        self.key = Some(wanted.key);
        let condition = wanted.etag.map_or_else(Condition::default, |etag| Condition::etag(&etag));
        let deleted = async {
            match self.holds(&condition).await? {
                Ok(()) => {}
                Err(Clash::Missing) => return Ok(()),
                Err(clash) => return Err(clashed(clash)),
            }
            let asking = self.asking(Method::DELETE, &[], HeaderMap::new());
            let answer = self.road.act(self.session.live().await?, DELETING, asking).await;
            let answer = self.written_over(answer).await;
            self.road.plain(DELETING, answer?).await.map(|_| ())
        };
        match deleted.await {
            Ok(()) => Outcome::Deleted(Vec::new()),
            Err(error) => Outcome::refused(&error),
        }
    }
}
