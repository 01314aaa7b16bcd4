//! What providers share with recipients: shares, the tables in them, and who was given which. The port that keeps them.
//!
//! A share opens nothing by itself. Giving it to a recipient makes one grant for each of its tables, bound to the share
//! ([`Origin::Share`]), so that policy decides here as everywhere. Both change in one step.

mod link;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

pub use link::{LinkCode, LinkDigest, ProfileKind, ProfileLink};

use crate::caller::Caller;
use crate::error::{Error, Kind, Noun};
use crate::field::Attribute;
use crate::grant::{Grant, Grantee, Origin};
use crate::id::{AccountId, CallerId, GrantId, ShareId, TableId, TokenId};
use crate::lease::Revoker;
use crate::name::Name;
use crate::nouns::registry::TokenRecord;
use crate::nouns::table::{NewTable, SharedName, SharedTable, TableRoot};
use crate::scope::{Action, Actions, Paths, Scope};
use crate::time::Lifetime;
use crate::token::{Maker, PlainToken};

/// The most characters of a share's comment (Delta Sharing protocol, "List Shares").
const COMMENT_CHARS: usize = 65_536;

/// A share: a named collection of tables that a provider gives to recipients.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Share {
    /// Its id.
    pub id: ShareId,
    /// The provider.
    pub account: AccountId,
    /// Its name, unique on this server in whatever case.
    pub name: SharedName,
    /// A sentence for people.
    pub comment: Option<Box<str>>,
    /// When it was made.
    pub made: Timestamp,
}

/// Reads a share's comment.
///
/// # Errors
/// `Invalid` when it is too long.
pub fn comment(text: &str) -> Result<Box<str>, Error> {
    if text.chars().count() > COMMENT_CHARS {
        let said = format!("the comment is longer than {COMMENT_CHARS} characters");
        return Err(Error::new(Kind::Invalid, said).at(Attribute::Comment));
    }
    Ok(text.into())
}

/// What a share lets its recipients do: read objects and list them.
pub const READ: Actions = Actions::NONE.with(Action::GetObject).with(Action::ListBucket);

impl SharedTable {
    /// The grant that opens this table, and nothing else, to a recipient of its share.
    ///
    /// # Errors
    /// `Internal` when its directories do not make a scope.
    pub fn grant(&self, id: GrantId, recipient: &Recipient) -> Result<Grant, Error> {
        let Recipient { share, account, to, max_lifetime, until, made: _ } = recipient;
        let paths = std::iter::once(&self.root).chain(&self.auxiliary).map(TableRoot::path);
        let paths = Paths::only(paths.collect::<Result<Vec<_>, Error>>()?)?;
        // SECURITY: whoever shares lets read, never write.
        let scope =
            Scope::new(self.bucket.clone(), paths, READ).ok_or_else(|| Error::internal("to read is no action"))?;
        Ok(Grant {
            id,
            // Nobody chose it: an id in it makes it unique, and more than an id keeps it a name.
            name: Name::parse(&format!("share.{id}"))?,
            account: *account,
            to: *to,
            storage: self.storage,
            origin: Origin::Share(*share),
            scope: scope.into(),
            max_lifetime: *max_lifetime,
            from: None,
            until: *until,
            conditions: None,
        })
    }
}

/// Whom a share was given to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Recipient {
    /// The share.
    pub share: ShareId,
    /// The account that may read it.
    pub account: AccountId,
    /// Which of its callers.
    pub to: Grantee,
    /// No credential of it lives longer.
    pub max_lifetime: Lifetime,
    /// It opens nothing from then on.
    pub until: Option<Timestamp>,
    /// When it was given.
    pub made: Timestamp,
}

impl Recipient {
    fn includes(&self, caller: CallerId, now: Timestamp) -> bool {
        let named = match self.to {
            Grantee::Everyone => true,
            Grantee::Caller(own) => own == caller,
            Grantee::Group(_) => false,
        };
        named && self.until.is_none_or(|until| now < until)
    }
}

/// A share with its tables.
#[derive(Clone, Debug)]
pub struct Shelf {
    /// The share.
    pub share: Share,
    /// Its tables, in order of schema and name.
    tables: Vec<Arc<SharedTable>>,
}

impl Shelf {
    /// Every table, in order of schema and name.
    pub fn tables(&self) -> &[Arc<SharedTable>] {
        &self.tables
    }

    /// The names of its schemas, in order, each as its first table spells it.
    pub fn schemas(&self) -> Vec<&SharedName> {
        let mut names: Vec<&SharedName> = self.tables.iter().map(|table| &table.schema).collect();
        names.dedup();
        names
    }

    /// The tables of a schema, in order; none if there is no such schema.
    pub fn schema(&self, schema: &str) -> &[Arc<SharedTable>] {
        let schema = schema.to_lowercase();
        let from = self.tables.partition_point(|table| table.schema.folded() < schema.as_str());
        let rest = self.tables.get(from..).unwrap_or_default();
        let count = rest.partition_point(|table| table.schema.folded() == schema);
        rest.get(..count).unwrap_or_default()
    }

    /// A table by the names of its schema and itself.
    pub fn table(&self, schema: &str, name: &str) -> Option<&Arc<SharedTable>> {
        let (tables, name) = (self.schema(schema), name.to_lowercase());
        let at = tables.binary_search_by(|table| table.name.folded().cmp(name.as_str())).ok()?;
        tables.get(at)
    }
}

/// Everything that was shared with one account, indexed. Immutable, kept in memory like the account's grants.
#[derive(Debug, Default)]
pub struct SharedWith {
    /// In order of the shares' names.
    shelves: Vec<(Shelf, Vec<Recipient>)>,
    by_name: HashMap<Box<str>, usize>,
    /// Where each table is: its shelf's place and its own.
    by_id: HashMap<TableId, (usize, usize)>,
}

impl SharedWith {
    /// Puts together what is stored: shares, their tables, and the account's entries as their recipient.
    pub fn new(shares: Vec<Share>, tables: Vec<SharedTable>, recipients: &[Recipient]) -> Self {
        let mut of_share: HashMap<ShareId, Vec<Arc<SharedTable>>> = HashMap::new();
        for table in tables {
            of_share.entry(table.share).or_default().push(Arc::new(table));
        }
        let mut shelves: Vec<(Shelf, Vec<Recipient>)> = shares
            .into_iter()
            .map(|share| {
                let mut tables = of_share.remove(&share.id).unwrap_or_default();
                tables.sort_by(|one, two| (&one.schema, &one.name).cmp(&(&two.schema, &two.name)));
                let recipients = recipients.iter().filter(|one| one.share == share.id).copied().collect();
                (Shelf { share, tables }, recipients)
            })
            .collect();
        shelves.sort_by(|(one, _), (two, _)| one.share.name.cmp(&two.share.name));
        let by_name =
            shelves.iter().enumerate().map(|(at, (shelf, _))| (shelf.share.name.folded().into(), at)).collect();
        let places = shelves.iter().enumerate().flat_map(|(at, (shelf, _))| {
            shelf.tables.iter().enumerate().map(move |(own, table)| (table.id, (at, own)))
        });
        let by_id = places.collect();
        Self { shelves, by_name, by_id }
    }

    /// The shares a caller of the account may know of, in order of their names.
    pub fn shelves(&self, caller: &Caller, now: Timestamp) -> impl Iterator<Item = &Shelf> {
        let id = caller.id;
        let given = move |recipients: &[Recipient]| recipients.iter().any(|one| one.includes(id, now));
        self.shelves.iter().filter(move |(_, recipients)| given(recipients)).map(|(shelf, _)| shelf)
    }

    /// A share by its name. One that was not given to the caller is as good as absent.
    pub fn shelf(&self, caller: &Caller, name: &str, now: Timestamp) -> Option<&Shelf> {
        let at = self.by_name.get(&*name.to_lowercase())?;
        let (found, recipients) = self.shelves.get(*at)?;
        recipients.iter().any(|one| one.includes(caller.id, now)).then_some(found)
    }

    /// A table by its id. One of a share that was not given to the caller is as good as absent.
    pub fn table(&self, caller: &Caller, id: TableId, now: Timestamp) -> Option<&Arc<SharedTable>> {
        let (share, own) = self.by_id.get(&id)?;
        let (found, recipients) = self.shelves.get(*share)?;
        let given = recipients.iter().any(|one| one.includes(caller.id, now));
        found.tables.get(*own).filter(|_| given)
    }
}

/// Keeps shares. Every change is durable when the call returns, and seen by every decision made afterwards on this node;
/// shares, recipients and their grants change together.
#[async_trait]
pub trait Shares: Send + Sync {
    /// Every share, in order of their names.
    async fn shares(&self) -> Result<Vec<Share>, Error>;

    /// The tables of a share, in order of schema and name.
    async fn tables(&self, share: ShareId) -> Result<Vec<SharedTable>, Error>;

    /// Whom a share was given to, in the order it was.
    async fn recipients(&self, share: ShareId) -> Result<Vec<Recipient>, Error>;

    /// What was shared with an account. When warm it makes no query.
    async fn shared_with(&self, account: AccountId) -> Result<Arc<SharedWith>, Error>;

    /// Uses a link: stores the token for its caller, if the link is there, was never used and is in time. Of many who try
    /// at once, one succeeds.
    async fn redeem_link(
        &self,
        code: &LinkDigest,
        token: &PlainToken,
        now: Timestamp,
    ) -> Result<Option<(ProfileLink, TokenRecord)>, Error>;
}

/// Makes, gives and takes back what is shared. Administration: nobody comes to it without an authority.
#[async_trait]
pub trait ShareAdmin: Shares {
    /// Makes a share.
    async fn create_share(
        &self,
        account: AccountId,
        name: &SharedName,
        comment: Option<&str>,
        now: Timestamp,
    ) -> Result<Share, Error>;

    /// Removes a share with its tables and recipients; with `end_credentials` what was vended of it ends too.
    async fn remove_share(&self, share: ShareId, end_credentials: bool, by: Revoker) -> Result<(), Error>;

    /// Puts a table into a share.
    async fn add_table(&self, share: ShareId, table: NewTable, now: Timestamp) -> Result<SharedTable, Error>;

    /// Takes a table out of its share.
    async fn remove_table(&self, table: TableId, end_credentials: bool, by: Revoker) -> Result<(), Error>;

    /// Gives a share to a recipient, or changes the limits it was given with.
    async fn add_recipient(&self, recipient: Recipient, by: Revoker) -> Result<(), Error>;

    /// Takes a share from a recipient.
    async fn remove_recipient(
        &self,
        share: ShareId,
        account: AccountId,
        to: Grantee,
        end_credentials: bool,
        by: Revoker,
    ) -> Result<(), Error>;

    /// Keeps a link to download a profile, and answers with it as it is kept: it and what comes of it end as its maker allows.
    async fn create_link(
        &self,
        code: &LinkDigest,
        link: ProfileLink,
        maker: Maker,
        now: Timestamp,
    ) -> Result<ProfileLink, Error>;

    /// Ends every link of a caller that was not used. Says how many.
    async fn end_links(&self, caller: CallerId) -> Result<u64, Error>;

    /// Lets a token end at an instant, if it would not end earlier.
    async fn end_token_at(&self, token: TokenId, until: Timestamp) -> Result<(), Error>;
}

/// Refuses as if the share were not there.
pub fn no_share() -> Error {
    Error::not_found(Noun::Share)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::StorageId;
    use crate::name::BucketName;
    use crate::nouns::table::{History, TableAccess};

    fn caller(of: u8) -> Caller {
        Caller {
            id: CallerId::from_bytes([of; 16]),
            account: AccountId::from_bytes([1; 16]),
            name: Name::parse("ann").unwrap(),
            role: crate::caller::Role::Member,
            token: TokenId::from_bytes([1; 16]),
            token_until: None,
            held: None,
            identity: None,
            as_of: 0,
        }
    }

    fn shared(share: u8, schema: &str, name: &str) -> SharedTable {
        SharedTable {
            id: TableId::from_bytes([share; 16]),
            share: ShareId::from_bytes([share; 16]),
            schema: SharedName::part(schema).unwrap(),
            name: SharedName::part(name).unwrap(),
            storage: StorageId::from_bytes([1; 16]),
            bucket: BucketName::parse("lake").unwrap(),
            root: TableRoot::parse("t").unwrap(),
            auxiliary: Vec::new(),
            access: TableAccess::Both,
            history: History::Shared,
            format: None,
        }
    }

    fn share(of: u8, name: &str) -> Share {
        Share {
            id: ShareId::from_bytes([of; 16]),
            account: AccountId::from_bytes([9; 16]),
            name: SharedName::parse(name).unwrap(),
            comment: None,
            made: Timestamp::UNIX_EPOCH,
        }
    }

    fn given(share: u8, to: Grantee, until: Option<i64>) -> Recipient {
        Recipient {
            share: ShareId::from_bytes([share; 16]),
            account: AccountId::from_bytes([1; 16]),
            to,
            max_lifetime: Lifetime::secs(60),
            until: until.map(|at| Timestamp::from_second(at).unwrap()),
            made: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_caller_sees_what_it_was_given_and_nothing_else() {
        let tables = vec![shared(1, "S", "b"), shared(1, "s", "A"), shared(1, "r", "z"), shared(2, "s", "a")];
        let recipients = [given(1, Grantee::Everyone, Some(100)), given(2, Grantee::Caller(caller(2).id), None)];
        let with = SharedWith::new(vec![share(2, "Beta"), share(1, "alpha")], tables, &recipients);
        let at = |secs| Timestamp::from_second(secs).unwrap();
        let names = |of: u8, secs| -> Vec<String> {
            with.shelves(&caller(of), at(secs)).map(|shelf| shelf.share.name.to_string()).collect()
        };
        assert_eq!(names(1, 0), ["alpha"]);
        assert_eq!(names(2, 0), ["alpha", "Beta"]);
        assert_eq!(names(2, 100), ["Beta"]);
        assert!(with.shelf(&caller(1), "beta", at(0)).is_none());
        let shelf = with.shelf(&caller(1), "ALPHA", at(0)).unwrap();
        assert_eq!(shelf.schemas().iter().map(|name| name.folded().to_owned()).collect::<Vec<_>>(), ["r", "s"]);
        assert_eq!(shelf.schema("S").len(), 2);
        assert_eq!(shelf.table("s", "B").unwrap().name.as_str(), "b");
        assert!(shelf.table("r", "b").is_none() && shelf.schema("q").is_empty());
    }

    proptest! {
        #[test]
        fn a_tables_grant_reads_its_directories_and_nothing_beside_them(
            root in "[a-z]{1,4}(/[a-z]{1,4}){0,2}",
            tail in prop::sample::select(vec!["", "/x", "2", "-secret/x", "/_delta_log/0.json"]),
        ) {
            let mut table = shared(1, "s", "t");
            table.root = TableRoot::parse(&root).unwrap();
            let grant = table.grant(GrantId::from_bytes([7; 16]), &given(1, Grantee::Everyone, None)).unwrap();
            let key = format!("{root}{tail}");
            let inside = tail.is_empty() || tail.starts_with('/');
            for action in Action::ALL {
                let reads = READ.contains(action);
                prop_assert_eq!(grant.scope.scope().unwrap().covers("lake", key.as_bytes(), action), inside && reads);
            }
            prop_assert_eq!(table.root.holds(key.as_bytes()), inside);
            prop_assert_eq!(grant.origin, Origin::Share(table.share));
        }
    }
}
