//! What is removed because its time is over: a little at a time, behind everybody's back.

use std::time::Duration;

use valetkey_core::Error;

use crate::store::Store;

/// How often it is looked for.
const EVERY: Duration = Duration::from_mins(10);

/// What a sweep removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Swept {
    /// Files of blobs that no row names.
    pub blobs: u64,
}

impl Store {
    /// Sweeps from time to time, until the store stops.
    pub(crate) async fn sweep_in_background(self) {
        loop {
            tokio::select! {
                done = self.sweep() => {
                    if let Err(error) = done {
                        tracing::warn!(error = ?error, "what is over could not be removed; it is tried again");
                    }
                }
                () = self.shared.stop.cancelled() => return,
            }
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = self.shared.stop.cancelled() => return,
            }
        }
    }

    /// Removes what is over: files that belong to no blob. It is done from time to time anyway.
    ///
    /// # Errors
    /// `Unavailable`; what was removed before stays so.
    pub async fn sweep(&self) -> Result<Swept, Error> {
        Ok(Swept { blobs: self.sweep_blobs().await? })
    }
}
