//! CORS rules of a bucket.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What pages of some origins may do.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CorsRule {
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Origins, as in `https://app.example.com`; one `*` in each stands for any text.
    pub allowed_origins: Vec<String>,
    /// `GET`, `HEAD`, `PUT`, `POST` or `DELETE`.
    pub allowed_methods: Vec<String>,
    /// Headers that a page may send; one `*` in each stands for any text.
    #[serde(default)]
    pub allowed_headers: Vec<String>,
    /// Headers of an answer that a page may read.
    #[serde(default)]
    pub exposed_headers: Vec<String>,
    /// For how many seconds a browser may remember; at most 86400.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age_secs: Option<u32>,
}

/// A bucket's CORS rules: of several that fit a page the first answers.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CorsRequest {
    /// At most 100.
    pub rules: Vec<CorsRule>,
}
