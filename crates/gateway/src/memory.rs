//! A store in memory, for tests: as capable as the clouds', and gone with the process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::TryStreamExt as _;
use object_store::list::{PaginatedListOptions, PaginatedListResult, PaginatedListStore};
use object_store::memory::InMemory;
use object_store::{ListResult, ObjectStore as _, Result};

use crate::cloud::{Cloud, Kind, Store};

/// Lists in order, which the store below does not promise.
struct Sorted(Arc<InMemory>);

#[async_trait]
impl PaginatedListStore for Sorted {
    async fn list_paginated(&self, prefix: Option<&str>, opts: PaginatedListOptions) -> Result<PaginatedListResult> {
        let mut objects: Vec<_> = self.0.list(None).try_collect().await?;
        objects.sort_by(|one, other| one.location.as_ref().cmp(other.location.as_ref()));
        let behind = opts.page_token.or(opts.offset).unwrap_or_default();
        objects.retain(|meta| {
            let key = meta.location.as_ref();
            key.starts_with(prefix.unwrap_or_default()) && key > behind.as_str()
        });
        let limit = opts.max_keys.unwrap_or(1000);
        let mut result = ListResult { common_prefixes: Vec::new(), objects: Vec::new(), extensions: http_extensions() };
        let mut page_token = None;
        let mut last: Option<(String, String)> = None;
        for meta in objects {
            let key = meta.location.to_string();
            let rest = key.get(prefix.unwrap_or_default().len()..).unwrap_or_default();
            let folder = opts.delimiter.as_ref().and_then(|delimiter| rest.find(&**delimiter));
            let folder = folder.and_then(|at| key.get(..prefix.unwrap_or_default().len() + at)).map(str::to_owned);
            if let (Some(folder), Some((told, behind))) = (&folder, &mut last)
                && folder == told
            {
                *behind = key;
                continue;
            }
            if result.objects.len() + result.common_prefixes.len() == limit {
                page_token = last.map(|(_, behind)| behind);
                break;
            }
            if let Some(folder) = folder {
                result.common_prefixes.push(object_store::path::Path::parse(&folder)?);
                last = Some((folder, key));
            } else {
                result.objects.push(meta);
                last = Some((String::new(), key));
            }
        }
        Ok(PaginatedListResult { result, page_token })
    }
}

fn http_extensions() -> object_store::Extensions {
    object_store::Extensions::new()
}

/// Opens a store where every bucket is there.
pub(crate) fn open() -> Cloud {
    let stores: Mutex<BTreeMap<String, Store>> = Mutex::default();
    let open = move |bucket: &str| {
        let mut stores = stores.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let store = stores.entry(bucket.to_owned()).or_insert_with(|| {
            let objects = Arc::new(InMemory::new());
            Store { objects: Arc::clone(&objects) as Arc<_>, lists: Arc::new(Sorted(objects)) }
        });
        Ok(store.clone())
    };
    Cloud::new(Kind::Memory, BTreeMap::new(), Box::new(open))
}
