//! The ledger as a whole, and its verification.

use async_trait::async_trait;
use valetkey_core::Error;
use valetkey_core::audit::{Change, ChangeFilter};
use valetkey_core::nouns::node::Node;
use valetkey_core::nouns::registry::{Chains, LedgerHead, Verified};

use crate::database::Database;
use crate::settings::Settings;
use crate::sql::notes;
use crate::sql::{nodes, pages};

#[async_trait]
impl Chains for Database {
    async fn verify_against(&self, expected: Option<LedgerHead>) -> Result<Verified, Error> {
        self.settle().await?;
        self.verify(expected).await
    }

    async fn nodes(&self) -> Result<Vec<Node>, Error> {
        let now = self.shared.clock.now();
        if self.is_shared() {
            return nodes::list(&mut self.reader().await?, self.chain(), now.as_millisecond()).await;
        }
        let Settings { node, embedded, .. } = &self.shared.settings;
        Ok(vec![Node {
            id: None,
            name: node.as_str().into(),
            version: nodes::VERSION.into(),
            heard: Some(now),
            live: true,
            this: true,
            chain: 1,
            head: u64::try_from(pages::head_of(&mut self.reader().await?, self.chain()).await?.seq).unwrap_or(0),
            embedded: *embedded,
        }])
    }

    async fn changes(&self, filter: &ChangeFilter) -> Result<Vec<Change>, Error> {
        notes::changes(&mut self.reader().await?, filter).await
    }
}
