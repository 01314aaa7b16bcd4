//! How much each account keeps, and how much it may. What is on its way counts like what is there, so that many uploads at once
//! do not get past what one would not.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sqlx::sqlite::SqlitePool;
use valetkey_core::account::Kept;
use valetkey_core::id::AccountId;

use crate::error::{Result, refuse_custom, refuse_with};
use crate::objects::{Index, sql};

/// Bytes of one upload behind which the index is asked again what is there: by so much each upload under way may pass a quota.
const ASK_AGAIN: u64 = 8 * 1024 * 1024;

/// The refusal of what is more than an account may keep.
pub(crate) fn exceeded() -> s3s::S3Error {
    refuse_custom(
        "QuotaExceeded",
        http::StatusCode::FORBIDDEN,
        "Your account keeps as much as it may. Delete objects, or end uploads, to make room.",
    )
}

/// The refusal of one more upload in parts than an account may have open.
pub(crate) fn too_many_uploads(most: u64) -> s3s::S3Error {
    let said =
        format!("Your account has {most} multipart uploads open, which is the most. Complete or abort some of them.");
    let mut error = refuse_with(s3s::S3ErrorCode::Custom("QuotaExceeded".into()), said);
    error.set_status_code(http::StatusCode::FORBIDDEN);
    error
}

/// What is on its way, by account.
#[derive(Clone, Default)]
pub(crate) struct Coming(Arc<Mutex<HashMap<AccountId, u64>>>);

impl Coming {
    fn all(&self) -> MutexGuard<'_, HashMap<AccountId, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bytes of one upload, from its first to the commit that makes them stored ones.
pub(crate) struct Claim {
    coming: Coming,
    index: SqlitePool,
    account: AccountId,
    most: u64,
    /// What was stored when the index was asked, and how many bytes of this upload ago that was.
    stored: u64,
    since: u64,
    bytes: u64,
}

impl Claim {
    /// Begins an upload of an account that may keep so many bytes.
    ///
    /// # Errors
    /// `QuotaExceeded` when it keeps that much already.
    pub(crate) async fn begin(coming: &Coming, index: &SqlitePool, account: AccountId, most: u64) -> Result<Self> {
        let (coming, index) = (coming.clone(), index.clone());
        let mut claim = Self { coming, index, account, most, stored: 0, since: 0, bytes: 0 };
        claim.ask().await?;
        if claim.stored >= most { Err(exceeded()) } else { Ok(claim) }
    }

    async fn ask(&mut self) -> Result<()> {
        let row = sqlx::query_scalar::<_, i64>("SELECT bytes FROM usage WHERE account = ?")
            .bind(&self.account.to_bytes()[..])
            .fetch_optional(&self.index)
            .await
            .map_err(sql("reading the index"))?;
        (self.stored, self.since) = (row.unwrap_or(0).max(0).cast_unsigned(), 0);
        Ok(())
    }

    /// Takes note of more bytes.
    ///
    /// # Errors
    /// `QuotaExceeded` when they are too many, with all that is on its way.
    pub(crate) async fn grow(&mut self, bytes: u64) -> Result<()> {
        let coming = self.add(bytes);
        if self.since >= ASK_AGAIN || self.stored.saturating_add(coming) > self.most {
            self.ask().await?;
        }
        self.fits(coming)
    }

    /// Takes note of its end: only what passes here may be stored. What was asked on the way may be out of date, since others were
    /// stored meanwhile.
    ///
    /// # Errors
    /// `QuotaExceeded` when it is too much, with all that is on its way.
    pub(crate) async fn settle(&mut self) -> Result<()> {
        // INVARIANT: what is on its way is looked at before what is stored. An upload leaves the one after it came into the other, so
        // that it may be seen twice in between, but is never missed.
        let coming = self.add(0);
        self.ask().await?;
        self.fits(coming)
    }

    /// Adds bytes to what is on its way; says how much that is.
    fn add(&mut self, bytes: u64) -> u64 {
        self.bytes += bytes;
        self.since += bytes;
        let mut all = self.coming.all();
        let coming = all.entry(self.account).or_default();
        *coming += bytes;
        *coming
    }

    fn fits(&self, coming: u64) -> Result<()> {
        if self.stored.saturating_add(coming) > self.most { Err(exceeded()) } else { Ok(()) }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut all = self.coming.all();
        if let Some(coming) = all.get_mut(&self.account) {
            *coming = coming.saturating_sub(self.bytes);
            if *coming == 0 {
                all.remove(&self.account);
            }
        }
    }
}

/// What one account keeps, or each of them; those that keep nothing may be left out.
pub(super) async fn kept(index: &SqlitePool, account: Option<AccountId>) -> sqlx::Result<HashMap<AccountId, Kept>> {
    let one = account.map(|account| account.to_bytes().to_vec());
    let rows = sqlx::query_as::<_, (Vec<u8>, i64, i64)>(match one {
        Some(_) => "SELECT account, bytes, objects FROM usage WHERE account = ?",
        None => "SELECT account, bytes, objects FROM usage WHERE ? IS NULL",
    });
    let number = |stored: i64| stored.max(0).cast_unsigned();
    let kept = |(account, bytes, objects): (Vec<u8>, i64, i64)| {
        let account = AccountId::from_bytes(account.try_into().ok()?);
        Some((account, Kept { bytes: number(bytes), objects: number(objects) }))
    };
    Ok(rows.bind(one).fetch_all(index).await?.into_iter().filter_map(kept).collect())
}

/// How many objects an account keeps.
pub(super) async fn objects_of(index: &mut Index, account: AccountId) -> sqlx::Result<u64> {
    let objects = sqlx::query_scalar::<_, i64>("SELECT objects FROM usage WHERE account = ?");
    let objects = objects.bind(&account.to_bytes()[..]).fetch_optional(index).await?;
    Ok(objects.unwrap_or(0).max(0).cast_unsigned())
}

/// How many uploads in parts an account has open.
pub(super) async fn uploads_of(index: &mut Index, account: AccountId) -> sqlx::Result<u64> {
    let uploads = sqlx::query_scalar::<_, i64>("SELECT uploads FROM usage WHERE account = ?");
    let uploads = uploads.bind(&account.to_bytes()[..]).fetch_optional(index).await?;
    Ok(uploads.unwrap_or(0).max(0).cast_unsigned())
}
