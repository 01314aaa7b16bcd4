//! How a node's objects are kept: the endpoint's configuration, and what is swept.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use valetkey_core::cors::Rules;
use valetkey_core::hosts::Platform;
use valetkey_core::storage::Storage;
use valetkey_core::time::Clock;

use crate::config::Config;

/// What the embedded endpoint is configured with.
pub(crate) fn config(config: &Config, storage: &Storage, url: &str) -> anyhow::Result<valetkey_s3::Config> {
    let data_dir = config.data_dir.join("objects");
    Ok(valetkey_s3::Config {
        storage: storage.id,
        embedded: config.s3.embedded,
        space: valetkey_s3::Space::at(&data_dir, config.s3.min_free()),
        data_dir,
        domains: config.s3.domains.clone(),
        r2_hosts: config.s3.r2_hosts.clone(),
        region: config.s3.region.as_str().into(),
        cors: cors(config)?,
        is_https: url.starts_with("https:"),
        list_buckets: config.s3.list_buckets,
        limits: valetkey_s3::Limits {
            quota: config.s3.quota(),
            max_account_uploads: config.s3.max_account_uploads,
            log_keys: config.log.object_keys,
            ..valetkey_s3::Limits::default()
        },
    })
}

/// What pages are allowed of buckets without rules of their own.
pub(crate) fn cors(config: &Config) -> anyhow::Result<Option<Rules>> {
    Rules::of_origins(&config.s3.cors_origins, valetkey_s3::EXPOSED)
        .map_err(|error| anyhow::anyhow!("`s3.cors_origins`: {error}"))
}

/// What pages are allowed on routes that vend.
pub(crate) fn api_cors(config: &Config) -> anyhow::Result<Option<Rules>> {
    Rules::of_origins(&config.api.cors_origins, valetkey_dialects::edge::EXPOSED)
        .map_err(|error| anyhow::anyhow!("`api.cors_origins`: {error}"))
}

/// On which terms the stores behind gateways are used.
pub(crate) fn terms(config: &Config, environment: &HashMap<String, String>) -> valetkey_gateway::Terms {
    valetkey_gateway::Terms {
        wait: Duration::from_secs(config.gateway.timeout_secs),
        min_free: config.s3.min_free(),
        platform: Platform::of(environment),
    }
}

/// Removes once a day what was left unfinished at other stores, and at the start, too, what backups left that were killed.
pub(crate) async fn sweep_daily(endpoint: valetkey_s3::Endpoint, data_dir: PathBuf, end: CancellationToken) {
    loop {
        for root in [data_dir.join("packages"), data_dir.join("objects").join("files")] {
            let left = tokio::task::spawn_blocking(move || valetkey_database::remove_left(&root)).await;
            if let Ok(Err(error)) = left {
                warn!(%error, "what a backup left that was killed could not be removed; it keeps its room on the disk");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_hours(24)) => {}
            () = end.cancelled() => return,
        }
        tokio::select! {
            () = endpoint.sweep() => {}
            () = end.cancelled() => return,
        }
    }
}

/// Ends what was begun in parts and forgotten, once an hour.
pub(crate) async fn end_old_uploads(
    endpoint: valetkey_s3::Endpoint,
    clock: Arc<dyn Clock>,
    age: jiff::SignedDuration,
    end: CancellationToken,
) {
    loop {
        match endpoint.end_uploads_before(clock.now() - age).await {
            Ok(0) => {}
            Ok(ended) => info!(ended, "uploads that were never completed were ended"),
            Err(error) => warn!(%error, detail = error.detail(), "old uploads could not be ended"),
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_hours(1)) => {}
            () = end.cancelled() => return,
        }
    }
}
