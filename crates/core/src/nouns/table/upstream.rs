//! A catalog that another server keeps: it knows the tables, we know who may reach their files.

use std::fmt;

use async_trait::async_trait;

use crate::error::Error;
use crate::name::Name;

/// What is asked of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CatalogAsk<'a> {
    /// The method.
    pub method: &'static str,
    /// The parts of the path below its own prefix, as they are before they are encoded.
    pub path: Vec<&'a str>,
    /// Parameters of the query.
    pub query: Vec<(&'static str, &'a str)>,
    /// A JSON object, where something is sent.
    pub body: Option<Vec<u8>>,
}

/// What it answered: a success, or a refusal of what was asked. That it refuses this server itself is an error.
#[derive(Clone, PartialEq, Eq)]
pub struct CatalogAnswer {
    /// The status.
    pub status: u16,
    /// The body; JSON where there is one. It may hold credentials: it is not passed on as it is.
    pub body: Vec<u8>,
}

/// A catalog of Iceberg tables that another server keeps, for one account.
#[async_trait]
pub trait UpstreamCatalog: fmt::Debug + Send + Sync {
    /// Its name here, which clients give as their warehouse.
    fn name(&self) -> &Name;

    /// The name of the account that it is for.
    fn account(&self) -> &Name;

    /// Asks it. Nothing that changes something is asked twice.
    ///
    /// # Errors
    /// `Upstream`, `UpstreamTimeout`, `Unavailable` or `RateLimited`: it did not answer, or not as a catalog does.
    async fn ask(&self, what: &CatalogAsk<'_>) -> Result<CatalogAnswer, Error>;
}
