//! Completes uploads in parts: the parts lie here and go to the other store as one object.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use tokio::task::JoinHandle;

use crate::error::{Result, internal};
use crate::gate::session::{Live, Session};
use crate::gateway::Gateway;
use crate::gateway::writing::{Flow, Held};
use crate::objects::parts::{Completion, Incomplete, UploadId};
use crate::objects::record::{Data, Record};
use crate::objects::uploads::Assembled;

/// Objects up to this size are put at once, as bodies are.
const AT_ONCE: u64 = 8 * 1024 * 1024;

/// What became of an upload.
pub(crate) type Completed = Result<std::result::Result<Arc<Record>, Incomplete>>;

/// An upload being completed.
pub(crate) enum Completing {
    /// It is over.
    Done(std::result::Result<Arc<Record>, Incomplete>),
    /// It takes long: the client is kept waiting with a response that has begun.
    Still(JoinHandle<Completed>),
}

impl Gateway {
    pub(crate) async fn complete_upload(
        &self,
        key: &[u8],
        id: UploadId,
        completion: Completion,
        session: Session,
        patience: Duration,
    ) -> Result<Completing> {
        let key = self.writable(key)?.to_owned();
        let own = self.clone();
        // Runs to its end whether or not the request is still there.
        let mut completing = self.tasks.spawn(async move { own.assemble(&key, id, &completion, &session).await });
        match tokio::time::timeout(patience, &mut completing).await {
            Ok(done) => Ok(Completing::Done(done.map_err(|error| internal("completing an upload", error))??)),
            Err(_) => Ok(Completing::Still(completing)),
        }
    }

    async fn assemble(&self, key: &str, id: UploadId, completion: &Completion, session: &Session) -> Completed {
        let _ending = self.common.ending(id.bytes()).await;
        let Assembled { record: found, origin } = match self.objects.assemble_upload(id, completion).await? {
            Ok(assembled) => assembled,
            Err(incomplete) => return Ok(Err(incomplete)),
        };
        // Ended by another request in between.
        let Some(mut reading) = self.objects.read_parts(&found).await? else {
            return Ok(Err(Incomplete::NoSuchUpload));
        };
        let given = self.given(&found.headers);
        let place = self.common.place(session.origin.account).await?;
        let mut flow = match found.size {
            0..=AT_ONCE => None,
            size => Some(Flow::begin(self, key, &given, Some(size)).await?),
        };
        let mut here = bytes::BytesMut::new();
        while let Some(bytes) = reading.next().await {
            let bytes = bytes.map_err(|error| internal("reading a part", error))?;
            match &mut flow {
                Some(flow) => flow.push(&place, bytes).await?,
                None => here.extend_from_slice(&bytes),
            }
        }
        if let Some(flow) = &mut flow {
            flow.settle().await?;
        }
        // Another is waited for where the object is made, when it is the key's turn.
        drop(place);
        let held = flow.map_or_else(|| Held::Here(here.freeze()), Held::There);
        let parts: Box<[u64]> = match &found.data {
            Data::Files(segments) => segments.iter().map(|segment| segment.size).collect(),
            Data::Here(_) | Data::Gateway(_) => Box::default(),
        };
        let record = Record { data: Data::Gateway(parts), ..found };
        let made = self.commit(key, (held, record), Some(origin), &completion.condition, session).await?;
        let record = match made {
            Ok(record) => record,
            Err(clash) => return Ok(Err(Incomplete::Clash(clash))),
        };
        // A crash before this leaves the upload; completing it again makes the same object.
        self.objects.abort_upload(Live::of_server(), id).await?;
        Ok(Ok(record))
    }
}
