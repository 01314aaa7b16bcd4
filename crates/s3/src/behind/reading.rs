//! Reads ranges of objects in another store, in one round trip where what is asked for says which bytes those are.

use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::Stream;
use futures::stream::BoxStream;
use s3s::StdError;
use s3s::stream::{ByteStream, RemainingLength};

use crate::behind::port::{Failure, Opened, Window};
use crate::behind::{Behind, failed};
use crate::error::{Result, internal};
use crate::objects::record::Record;

/// How often a read starts over because the object was replaced under it.
const TRIES: usize = 8;

impl Behind {
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
                        return Ok(Some((Arc::new(record), Reading::new(opened))));
                    }
                }
                Err(failure @ (Failure::Throttled(_) | Failure::Unavailable(_) | Failure::NoBucket)) => {
                    return Err(failed(doing, &failure));
                }
                // A range that is not there: what is wrong with it the look below tells.
                Err(Failure::Clash | Failure::Unfit(_) | Failure::Failed(_)) => {}
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
                Ok(Some(opened)) if opened.range == range => return Ok(Some((record, Reading::new(opened)))),
                Ok(Some(_)) => return Err(internal(doing, "the store behind sent another range")),
                // Replaced or removed between the two.
                Ok(None) | Err(Failure::Clash) => {}
                Err(failure) => return Err(failed(doing, &failure)),
            }
        }
        Err(internal(doing, "the object was replaced again and again"))
    }
}

/// A range of an object's bytes.
pub(crate) struct Reading {
    /// Only ever reached through `&mut`; the lock is what lets it be handed between threads.
    bytes: Mutex<BoxStream<'static, std::result::Result<Bytes, Failure>>>,
    remaining: u64,
}

impl Reading {
    fn new(opened: Opened) -> Self {
        let Opened { range, bytes, .. } = opened;
        Self { bytes: Mutex::new(bytes), remaining: range.end - range.start }
    }

    fn empty() -> Self {
        Self { bytes: Mutex::new(Box::pin(futures::stream::empty())), remaining: 0 }
    }
}

impl Stream for Reading {
    type Item = std::result::Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let bytes = self.bytes.get_mut().unwrap_or_else(PoisonError::into_inner);
        let next = ready!(bytes.as_mut().poll_next(cx));
        Poll::Ready(match next {
            Some(Ok(bytes)) => match self.remaining.checked_sub(bytes.len() as u64) {
                Some(remaining) => {
                    self.remaining = remaining;
                    Some(Ok(bytes))
                }
                None => Some(Err(torn("more bytes came than there are"))),
            },
            Some(Err(failure)) => Some(Err(torn(&failure.to_string()))),
            None if self.remaining > 0 => Some(Err(torn("it ended early"))),
            None => None,
        })
    }
}

fn torn(why: &str) -> StdError {
    tracing::warn!(error = why, "reading from the store behind failed: {why}");
    "the store behind failed while an object was read".into()
}

impl ByteStream for Reading {
    fn remaining_length(&self) -> RemainingLength {
        RemainingLength::new_exact(usize::try_from(self.remaining).unwrap_or(usize::MAX))
    }
}
