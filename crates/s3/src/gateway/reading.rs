//! Reads ranges of objects in another store, in one round trip where what is asked for says which bytes those are.

use std::fmt;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::Stream;
use futures::stream::BoxStream;
use s3s::StdError;
use s3s::stream::{ByteStream, RemainingLength};

use crate::error::{Result, Unread, internal};
use crate::gateway::port::{Failure, Opened, Window};
use crate::gateway::{Gateway, failed};
use crate::objects::proof::Proof;
use crate::objects::reading::ROTTEN;
use crate::objects::record::Record;
use crate::objects::shown;

/// How often a read starts over because the object was replaced under it. One writer in a loop wins a few rounds, not eight; more would
/// let it hold a reader for ever.
const TRIES: usize = 8;

impl Gateway {
    /// Opens the range of an object that `plan` wants of it; `likely` is which that will be, if that can be told before.
    pub(crate) async fn open_range(
        &self,
        key: &[u8],
        likely: Option<Window>,
        plan: impl Fn(&Record) -> Result<Range<u64>>,
    ) -> Result<Option<(Arc<Record>, Reading)>> {
        let Ok(key) = self.fits(key) else { return Ok(None) };
        let doing = "reading an object";
        if let Some(window) = likely {
            match self.backend.read(&self.name, key, window, None).await {
                Ok(None) => return Ok(None),
                Ok(Some(opened)) => {
                    let record = self.record_of(key, &opened.found).await?;
                    if plan(&record)? == opened.range {
                        let reading = self.reading(key, &record, opened);
                        return Ok(Some((Arc::new(record), reading)));
                    }
                }
                Err(failure @ (Failure::Throttled(_) | Failure::Unavailable(_) | Failure::NoBucket)) => {
                    return Err(failed(doing, &failure));
                }
                // A range that is not there: what is wrong with it the look below tells.
                Err(Failure::Clash | Failure::Unfit(_) | Failure::Full | Failure::Failed(_)) => {}
            }
        }
        for _ in 0..TRIES {
            let found = self.backend.head(&self.name, key).await.map_err(|failure| failed(doing, &failure))?;
            let Some(found) = found else { return Ok(None) };
            let record = Arc::new(self.record_of(key, &found).await?);
            let range = plan(&record)?;
            if range.is_empty() {
                return Ok(Some((record, Reading::empty())));
            }
            let window = Window::Range(range.clone());
            match self.backend.read(&self.name, key, window, Some(&found.version)).await {
                Ok(Some(opened)) if opened.range == range => {
                    let reading = self.reading(key, &record, opened);
                    return Ok(Some((record, reading)));
                }
                Ok(Some(_)) => return Err(internal(doing, "the storage behind the gateway sent another range")),
                // Replaced or removed between the two.
                Ok(None) | Err(Failure::Clash) => {}
                Err(failure) => return Err(failed(doing, &failure)),
            }
        }
        Err(internal(doing, "the object was replaced again and again"))
    }

    /// A whole object that was written from here is held against the checksum that was kept of it.
    fn reading(&self, key: &str, record: &Record, opened: Opened) -> Reading {
        let proof = if opened.range == (0..record.size) { Proof::by_checksum(record) } else { None };
        let Opened { range, bytes, .. } = opened;
        let what = shown(&self.name, key.as_bytes());
        Reading { bytes: Mutex::new(bytes), remaining: range.end - range.start, proof, what }
    }
}

/// A range of an object's bytes.
pub(crate) struct Reading {
    /// Only ever reached through `&mut`; the lock is what lets it be handed between threads.
    bytes: Mutex<BoxStream<'static, std::result::Result<Bytes, Failure>>>,
    remaining: u64,
    proof: Option<Proof>,
    /// Which object it is, for the log.
    what: String,
}

impl Reading {
    fn empty() -> Self {
        let bytes: BoxStream<'static, _> = Box::pin(futures::stream::empty());
        Self { bytes: Mutex::new(bytes), remaining: 0, proof: None, what: String::new() }
    }

    /// Takes note of bytes, and says whether they may go on: the last ones only if all are what was written.
    fn passes(&mut self, bytes: &Bytes) -> std::result::Result<(), &'static str> {
        let remaining = self.remaining.checked_sub(bytes.len() as u64);
        self.remaining = remaining.ok_or("more bytes came than there are")?;
        if let Some(proof) = &mut self.proof {
            proof.update(bytes);
        }
        if self.remaining == 0 && self.proof.take().is_some_and(|proof| !proof.holds()) {
            metrics::counter!("vk_s3_damaged_objects_total").increment(1);
            return Err(ROTTEN);
        }
        Ok(())
    }

    fn torn(&self, why: impl fmt::Display) -> StdError {
        let what = &self.what;
        tracing::warn!(object = what, error = %why, "reading {what} from the storage behind the gateway failed: {why}");
        Unread.into()
    }
}

impl Stream for Reading {
    type Item = std::result::Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let bytes = self.bytes.get_mut().unwrap_or_else(PoisonError::into_inner);
        let next = ready!(bytes.as_mut().poll_next(cx));
        Poll::Ready(match next {
            Some(Ok(bytes)) => match self.passes(&bytes) {
                Ok(()) => Some(Ok(bytes)),
                Err(why) => Some(Err(self.torn(why))),
            },
            Some(Err(failure)) => Some(Err(self.torn(failure))),
            None if self.remaining > 0 => Some(Err(self.torn("it ended early"))),
            None => None,
        })
    }
}

impl ByteStream for Reading {
    fn remaining_length(&self) -> RemainingLength {
        RemainingLength::new_exact(usize::try_from(self.remaining).unwrap_or(usize::MAX))
    }
}
