//! What the demo tells of Unity Catalog: its share, as a catalog.

use std::path::Path;

use serde::Serialize;

use crate::dev::making::token;
use crate::dev::share::{self, CALLER, ShareState};

/// What scripts are told.
#[derive(Serialize)]
pub(crate) struct UnityReady<'a> {
    /// Clients put `/api/2.1/unity-catalog` behind it.
    url: &'a str,
    token: &'a str,
    catalog: &'static str,
    /// The table's whole name.
    table: String,
}

impl<'a> UnityReady<'a> {
    /// Of a demo that listens there.
    pub(crate) fn new(api: &'a str, state: &'a ShareState) -> Self {
        Self { url: api, token: &state.token, catalog: share::SHARE, table: share::full_name() }
    }

    /// How to read the table with Polars.
    pub(crate) fn example(&self, s3: &str, data_dir: &Path) -> String {
        let Self { url, token: _, catalog: _, table } = self;
        let names = table.replace('.', "\", \"");
        format!(
            "  TOKEN=\"{}\" python3 -c 'import os, polars; print(polars.Catalog(\"{url}\", bearer_token=os.environ[\"TOKEN\"], \
             require_https=False).scan_table(\"{names}\", storage_options={{\"aws_endpoint_url\": \"{s3}\", \"aws_allow_http\": \"true\", \
             \"aws_region\": \"auto\"}}).collect().height)'   # pip install polars deltalake",
            token(data_dir, CALLER)
        )
    }
}
