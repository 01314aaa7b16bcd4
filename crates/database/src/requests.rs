//! Requests for access: asked for, decided, and what is approved made a grant in the same step.

use async_trait::async_trait;
use jiff::Timestamp;
use valetkey_core::Error;
use valetkey_core::audit::Deed;
use valetkey_core::caller::Caller;
use valetkey_core::error::Noun;
use valetkey_core::id::{GrantId, RequestId, RequestRuleId};
use valetkey_core::nouns::request::{
    AccessRequest, Decision, NewRequest, RequestAdmin, RequestFilter, RequestRule, Requests,
};

use crate::database::Database;
use crate::memory::Touches;
use crate::sql::requests;

#[async_trait]
impl Requests for Database {
    async fn request_rules(&self) -> Result<Vec<RequestRule>, Error> {
        requests::rules(&mut self.reader().await?).await
    }

    async fn access_request(&self, id: RequestId) -> Result<Option<AccessRequest>, Error> {
        requests::by_id(&mut self.reader().await?, id).await
    }

    async fn access_requests(&self, filter: &RequestFilter) -> Result<Vec<AccessRequest>, Error> {
        requests::list(&mut self.reader().await?, filter).await
    }
}

#[async_trait]
impl RequestAdmin for Database {
    async fn create_request_rule(&self, new: RequestRule, now: Timestamp) -> Result<RequestRule, Error> {
        let new = RequestRule { id: RequestRuleId::new(now, self.noise()), version: 1, made: now, ..new };
        self.administer(move |db, notes| {
            Box::pin(async move {
                requests::create_rule(db, &new).await?;
                notes.did(Deed::Made, Noun::RequestRule, new.id, &new.about());
                Ok((new, Touches::Nothing))
            })
        })
        .await
    }

    async fn ask_access(&self, new: NewRequest, by: &Caller, now: Timestamp) -> Result<AccessRequest, Error> {
        let (id, by) = (RequestId::new(now, self.noise()), by.clone());
        self.administer(move |db, notes| {
            Box::pin(async move {
                let made = requests::ask(db, id, new, &by, now).await?;
                notes.did(Deed::Made, Noun::Request, id, &made.about());
                Ok((made, Touches::Nothing))
            })
        })
        .await
    }

    async fn decide_request(
        &self,
        id: RequestId,
        how: Decision,
        note: Box<str>,
        by: &Caller,
        now: Timestamp,
    ) -> Result<AccessRequest, Error> {
        let (grant, by) = (GrantId::new(now, self.noise()), by.clone());
        self.administer(move |db, notes| {
            Box::pin(async move {
                let done = requests::decide(db, (id, grant), (how, &note), &by, now, notes).await?;
                let touches = if how == Decision::Approved { Touches::Account(done.account) } else { Touches::Nothing };
                Ok((done, touches))
            })
        })
        .await
    }
}
