//! Files that are read again when they change: the keyring and the certificates.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

/// How often files are looked at: who replaced one sees it taken up while still looking.
const EVERY: Duration = Duration::from_secs(2);

/// A thing made of files, and how to make it again.
pub(crate) struct Watched {
    /// What it is, for the log.
    pub(crate) what: &'static str,
    pub(crate) files: Vec<PathBuf>,
    /// Makes it again; on an error the old one stays.
    pub(crate) reload: Arc<dyn Fn() -> anyhow::Result<()> + Send + Sync>,
}

impl Watched {
    fn times(&self) -> Vec<Option<SystemTime>> {
        self.files.iter().map(|file| std::fs::metadata(file).and_then(|meta| meta.modified()).ok()).collect()
    }
}

/// Reloads what changed, looking every two seconds, and everything at a hang-up signal.
pub(crate) async fn watch(watched: Vec<Watched>, stop: CancellationToken) {
    let Ok(mut hang_up) = signal(SignalKind::hangup()) else {
        error!("the hang-up signal cannot be waited for; files are only read at the start");
        return;
    };
    let mut seen: Vec<_> = watched.iter().map(Watched::times).collect();
    loop {
        let all = tokio::select! {
            () = stop.cancelled() => return,
            _ = hang_up.recv() => true,
            () = tokio::time::sleep(EVERY) => false,
        };
        for (one, before) in watched.iter().zip(&mut seen) {
            let times = one.times();
            if !all && times == *before {
                continue;
            }
            *before = times;
            match (one.reload)() {
                Ok(()) => {
                    info!(what = one.what, "reloaded");
                    metrics::gauge!("vk_reload_successful", "what" => one.what).set(1.0);
                }
                Err(error) => {
                    error!(what = one.what, error = %format!("{error:#}"), "could not be reloaded; the old one stays");
                    metrics::gauge!("vk_reload_successful", "what" => one.what).set(0.0);
                }
            }
        }
    }
}
