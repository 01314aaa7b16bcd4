//! A piece of a body while it is being filled: in memory as far as its account's share goes, and in a file that nobody sees beyond
//! that. So no sender keeps another one's bytes out, however many it sends at once and however slowly.

use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use valetkey_core::fair::Share;

use crate::error::{Result, of_disk};
use crate::objects::Objects;
use crate::objects::files::Draft;

/// Bytes that stay in memory before they go to the file together: fewer cost a call each, more a buffer of that size for every upload.
const TOGETHER: usize = 64 * 1024;

/// The piece.
pub(super) struct Heap {
    objects: Arc<Objects>,
    share: Share,
    here: BytesMut,
    /// What came before that.
    aside: Option<(Draft, usize)>,
}

fn failed(error: io::Error) -> s3s::S3Error {
    of_disk("keeping a piece of a body", error)
}

impl Heap {
    /// An empty one.
    pub(super) fn new(objects: Arc<Objects>, share: Share) -> Self {
        Self { objects, share, here: BytesMut::new(), aside: None }
    }

    /// Bytes that are in it.
    pub(super) fn size(&self) -> usize {
        self.here.len() + self.aside.as_ref().map_or(0, |(_, size)| *size)
    }

    /// What it holds of memory.
    pub(super) fn share(self) -> Share {
        self.share
    }

    pub(super) async fn add(&mut self, bytes: Bytes) -> Result<()> {
        let fits = self.aside.is_none() && self.share.reach(self.here.len() + bytes.len());
        self.here.extend_from_slice(&bytes);
        if fits || self.here.len() < TOGETHER {
            return Ok(());
        }
        let pushed = self.here.split().freeze();
        let (objects, aside) = (Arc::clone(&self.objects), self.aside.take());
        let written = self.objects.aside(move || {
            let (mut draft, size) = match aside {
                Some(aside) => aside,
                None => (objects.draft()?, 0),
            };
            let size = size + pushed.len();
            draft.append(&[pushed])?;
            Ok((draft, size))
        });
        self.aside = Some(written.await.map_err(failed)?);
        self.here = BytesMut::new();
        self.share.give_back(self.share.bytes().saturating_sub(TOGETHER));
        Ok(())
    }

    /// Takes everything out.
    pub(super) async fn take(&mut self) -> Result<Bytes> {
        let here = std::mem::take(&mut self.here);
        let Some((mut draft, size)) = self.aside.take() else { return Ok(here.freeze()) };
        let read = self.objects.aside(move || {
            let mut all = Vec::with_capacity(size + here.len());
            draft.file().seek(SeekFrom::Start(0))?;
            let got = draft.file().take(size as u64).read_to_end(&mut all)?;
            if got != size {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "what was put aside is not all there"));
            }
            all.extend_from_slice(&here);
            Ok(Bytes::from(all))
        });
        read.await.map_err(failed)
    }
}
