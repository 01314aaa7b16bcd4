//! What a caller has, and where: the reading operations.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use valetkey_core::error::Noun;
use valetkey_core::{Error, Kind};

use super::data_access::{one_of, scope_of_instances};
use super::error::invalid;
use super::grants::{self, Entry, Location};
use super::state::{AccessGrants, answer};
use super::target::Place;
use crate::edge::{Call, Reply, Xml, account_number, user_arn, xml_time};

pub(super) const OF_CALLER: &[&str] =
    &["grantscope", "nextToken", "maxResults", "allowedByApplication", "instanceScope"];
pub(super) const PAGE: &[&str] = &["nextToken", "maxResults"];
pub(super) const OF_GRANTS: &[&str] =
    &["granteetype", "granteeidentifier", "permission", "grantscope", "application_arn", "nextToken", "maxResults"];
pub(super) const OF_LOCATIONS: &[&str] = &["locationscope", "nextToken", "maxResults"];

/// Amazon S3 Control API Reference: `maxResults` of every list.
const MOST: usize = 1000;
/// The longest id, and so the longest token of a page: it is the last id of the page before.
const LONGEST_ID: usize = 64;

/// The first so many of what comes after a token, in the order of their ids.
struct Page<T> {
    after: String,
    most: usize,
    rows: BTreeMap<String, T>,
}

impl<T> Page<T> {
    fn asked(call: &Call) -> Result<Self, Error> {
        let given = call.query.get("maxResults").map(|text| text.parse::<usize>().ok().filter(|most| *most <= MOST));
        let most = match given {
            Some(None) => return Err(invalid(format!("`maxResults` is a number from 0 to {MOST}")).at("maxResults")),
            // A page of nothing would never end.
            Some(Some(0)) | None => MOST,
            Some(Some(most)) => most,
        };
        let after = call.query.get("nextToken").unwrap_or_default().to_owned();
        let plain = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_lowercase() || byte == b'-';
        if after.len() > LONGEST_ID || !after.bytes().all(plain) {
            return Err(invalid("`nextToken` is not one that a page ended with").at("nextToken"));
        }
        Ok(Self { after, most, rows: BTreeMap::new() })
    }

    fn add(&mut self, id: String, row: T) {
        if id <= self.after {
            return;
        }
        self.rows.insert(id, row);
        if self.rows.len() > self.most + 1 {
            self.rows.pop_last();
        }
    }

    /// Writes the token of the next page, and the list.
    fn write(mut self, xml: Xml, list: &str, item: &str, one: impl Fn(Xml, &T) -> Xml) -> Xml {
        let more = self.rows.len() > self.most;
        if more {
            self.rows.pop_last();
        }
        let next = self.rows.last_key_value().map(|(id, _)| id.as_str());
        let xml = xml.some("NextToken", next.filter(|_| more));
        xml.within(list, |xml| self.rows.values().fold(xml, |xml, row| xml.within(item, |xml| one(xml, row))))
    }
}

impl Page<Entry> {
    /// With those of the caller's grants that are wanted.
    async fn filled(
        mut self,
        own: &AccessGrants,
        call: &Call,
        wanted: impl Fn(&Entry) -> bool + Send + 'static,
    ) -> Result<Self, Error> {
        own.over(call, move |snapshot, call| {
            for entry in grants::live(snapshot, call).flat_map(|grant| grants::entries(call, &grant)) {
                if wanted(&entry) {
                    self.add(entry.id.clone(), entry);
                }
            }
            self
        })
        .await
    }
}

/// What a scope has to start with; `s3://` alone is anything.
fn start<'c>(call: &'c Call, name: &'static str) -> Result<&'c str, Error> {
    match call.query.get(name) {
        Some(given) if !given.starts_with("s3://") => Err(invalid(format!("`{name}` starts with `s3://`")).at(name)),
        given => Ok(given.unwrap_or_default()),
    }
}

/// `ListCallerAccessGrants`.
pub(super) async fn of_caller(own: Arc<AccessGrants>, call: Call) -> Result<Reply, Error> {
    scope_of_instances(&call)?;
    let start = start(&call, "grantscope")?;
    // No grant here is for an application.
    let none = call.query.flag("allowedByApplication")?.unwrap_or(false);
    let page = Page::asked(&call)?;
    let start = start.to_owned();
    let page = page.filled(&own, &call, move |entry| !none && entry.scope.starts_with(&start)).await?;
    answer(&call, "ListCallerAccessGrants", |xml| {
        page.write(xml, "CallerAccessGrantsList", "AccessGrant", |xml, entry| {
            xml.text("Permission", entry.permission.as_str())
                .text("GrantScope", &entry.scope)
                .text("AccessGrantsInstanceArn", &own.arn(&call, "default"))
        })
    })
}

/// `ListAccessGrants`: the caller's, since nobody who signs with a key administers an account.
pub(super) async fn grants(own: Arc<AccessGrants>, call: Call) -> Result<Reply, Error> {
    let start = start(&call, "grantscope")?;
    let kind = one_of(&call, "granteetype", &["IAM", "DIRECTORY_USER", "DIRECTORY_GROUP"])?;
    let permission = one_of(&call, "permission", &["READ", "WRITE", "READWRITE"])?;
    let whose = call.query.get("granteeidentifier").is_none_or(|given| given == user_arn(&call.caller));
    let application = call.query.get("application_arn").is_none_or(|given| given == "ALL");
    let any = kind.is_none_or(|kind| kind == "IAM") && whose && application;
    let page = Page::asked(&call)?;
    let (start, permission) = (start.to_owned(), permission.map(str::to_owned));
    let is_of = move |entry: &Entry| {
        let allows = permission.as_ref().is_none_or(|word| word == entry.permission.as_str());
        any && allows && entry.scope.starts_with(&start)
    };
    let page = page.filled(&own, &call, is_of).await?;
    answer(&call, "ListAccessGrants", |xml| {
        page.write(xml, "AccessGrantsList", "AccessGrant", |xml, entry| shown(&own, &call, xml, entry))
    })
}

fn shown(own: &AccessGrants, call: &Call, xml: Xml, entry: &Entry) -> Xml {
    let Entry { id, scope, sub_prefix, permission, location, made_ms } = entry;
    xml.some("CreatedAt", made(*made_ms).as_deref())
        .text("AccessGrantId", id)
        .text("AccessGrantArn", &own.arn(call, &format!("default/grant/{id}")))
        .within("Grantee", |xml| xml.text("GranteeType", "IAM").text("GranteeIdentifier", &user_arn(&call.caller)))
        .text("Permission", permission.as_str())
        .text("AccessGrantsLocationId", &location.id())
        .within("AccessGrantsLocationConfiguration", |xml| xml.text("S3SubPrefix", sub_prefix))
        .text("GrantScope", scope)
}

fn made(ms: i64) -> Option<String> {
    Timestamp::from_millisecond(ms).ok().map(xml_time)
}

/// `GetAccessGrant`.
pub(super) async fn grant(own: Arc<AccessGrants>, call: Call) -> Result<Reply, Error> {
    let id = call.params.get("id")?;
    let snapshot = own.snapshot(&call).await?;
    let found = grants::live(&snapshot, &call)
        .filter(|grant| id.starts_with(&grant.id.as_hex()))
        .flat_map(|grant| grants::entries(&call, &grant));
    let entry = found.into_iter().find(|entry| entry.id == id).ok_or_else(|| {
        Error::new(Kind::NotFound(Noun::Grant), "there is no such access grant").coded("NoSuchAccessGrantError")
    })?;
    answer(&call, "GetAccessGrant", |xml| shown(&own, &call, xml, &entry))
}

fn instance_shown(own: &AccessGrants, call: &Call, xml: Xml) -> Xml {
    xml.text("AccessGrantsInstanceArn", &own.arn(call, "default"))
        .text("AccessGrantsInstanceId", "default")
        .some("CreatedAt", made(call.caller.account.made_ms()).as_deref())
}

/// `GetAccessGrantsInstance`: the account.
pub(super) fn instance(own: &AccessGrants, call: &Call) -> Result<Reply, Error> {
    answer(call, "GetAccessGrantsInstance", |xml| instance_shown(own, call, xml))
}

/// `ListAccessGrantsInstances`.
pub(super) fn instances(own: &AccessGrants, call: &Call) -> Result<Reply, Error> {
    let mut page = Page::asked(call)?;
    page.add("default".to_owned(), ());
    answer(call, "ListAccessGrantsInstances", |xml| {
        page.write(xml, "AccessGrantsInstancesList", "AccessGrantsInstance", |xml, ()| instance_shown(own, call, xml))
    })
}

/// `GetAccessGrantsInstanceForPrefix`: the account, where the caller has anything in the bucket; else there is none for it.
pub(super) async fn for_prefix(own: Arc<AccessGrants>, call: Call) -> Result<Reply, Error> {
    let given =
        call.query.get("s3prefix").ok_or_else(|| invalid("the parameter `s3prefix` is missing").at("s3prefix"))?;
    let bucket = Place::read("s3prefix", given, false)?.bucket;
    let snapshot = own.snapshot(&call).await?;
    let opens = call.caller.held.iter().any(|held| held.opens.iter().any(|(_, scope)| *scope.bucket() == bucket));
    if !opens || !snapshot.knows_bucket(&call.caller, &bucket) {
        let said = "there is no access grants instance for this bucket";
        return Err(Error::new(Kind::NotFound(Noun::Bucket), said).coded("AccessGrantsInstanceNotExistsError"));
    }
    answer(&call, "GetAccessGrantsInstanceForPrefix", |xml| {
        xml.text("AccessGrantsInstanceArn", &own.arn(&call, "default")).text("AccessGrantsInstanceId", "default")
    })
}

fn location_shown(own: &AccessGrants, call: &Call, xml: Xml, location: &Location) -> Xml {
    let id = location.id();
    xml.text("AccessGrantsLocationId", &id)
        .text("AccessGrantsLocationArn", &own.arn(call, &format!("default/location/{id}")))
        .text("LocationScope", &location.scope())
        .text("IAMRoleArn", &format!("arn:aws:iam::{}:role/valetkey", account_number(call.caller.account)))
}

/// `ListAccessGrantsLocations`: the buckets in which the caller has grants.
pub(super) async fn locations(own: Arc<AccessGrants>, call: Call) -> Result<Reply, Error> {
    let start = start(&call, "locationscope")?;
    let mut page = Page::asked(&call)?;
    let all = own.over(&call, |snapshot, call| {
        grants::live(snapshot, call).map(|grant| Location::of(&grant)).collect::<BTreeSet<_>>()
    });
    let all = all.await?;
    for location in all.into_iter().filter(|location| location.scope().starts_with(start)) {
        page.add(location.id(), location);
    }
    answer(&call, "ListAccessGrantsLocations", |xml| {
        page.write(xml, "AccessGrantsLocationsList", "AccessGrantsLocation", |xml, location| {
            location_shown(&own, &call, xml, location)
        })
    })
}

/// `GetAccessGrantsLocation`.
pub(super) async fn location(own: Arc<AccessGrants>, call: Call) -> Result<Reply, Error> {
    let id = call.params.get("id")?.to_owned();
    let found = own.over(&call, move |snapshot, call| {
        let all: BTreeSet<Location> = grants::live(snapshot, call).map(|grant| Location::of(&grant)).collect();
        all.into_iter().find(|location| location.id() == id)
    });
    let location = found.await?.ok_or_else(|| {
        Error::new(Kind::NotFound(Noun::Bucket), "there is no such location").coded("NoSuchAccessGrantsLocationError")
    })?;
    answer(&call, "GetAccessGrantsLocation", |xml| location_shown(&own, &call, xml, &location))
}
