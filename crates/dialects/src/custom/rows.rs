//! The table of refusals of a file: every kind has a row, or the file says which row answers for it.

use std::collections::BTreeMap;

use valetkey_core::Kind;

use super::error::{self, is_status};
use super::text::kept;
use super::written;
use crate::edge::Row;

/// The word for our own table.
const USUAL: &str = "usual";
/// One row for the four ways in which a token proves nobody.
const TOKEN: &str = "token";

/// The refusals that a file says, by their kinds.
pub(super) struct Rows {
    own: BTreeMap<&'static str, Row>,
    default: Option<Row>,
}

impl Rows {
    /// Reads them.
    pub(super) fn read(default: Option<&str>, written: BTreeMap<String, written::Row>) -> Result<Self, String> {
        let own: BTreeMap<_, _> = written.into_iter().map(|(name, row)| one(name, row)).collect::<Result<_, _>>()?;
        let row = match default {
            None | Some(USUAL) => None,
            Some(name) => {
                let row = own.get(name).copied();
                Some(row.ok_or_else(|| {
                    format!("`refusals.default` is `{name}`; it is `{USUAL}`, or has a row in `refusals.kinds`")
                })?)
            }
        };
        let rows = Self { own, default: row };
        let mut left: Vec<&str> =
            Kind::ALL.iter().filter(|kind| rows.said(**kind).is_none()).map(|kind| kind.slug()).collect();
        left.dedup();
        if default.is_none() && !left.is_empty() {
            let left = left.join("`, `");
            return Err(format!(
                "`refusals` has no row for `{left}`; write them, or `default = \"{USUAL}\"` for our own"
            ));
        }
        Ok(rows)
    }

    /// The row of a kind.
    pub(super) fn of(&self, kind: Kind) -> Row {
        self.said(kind).or(self.default).unwrap_or_else(|| error::row(kind))
    }

    fn said(&self, kind: Kind) -> Option<Row> {
        let row = self.own.get(kind.slug()).or_else(|| self.own.get(TOKEN).filter(|_| is_token(kind)));
        row.copied()
    }
}

fn one(name: String, written: written::Row) -> Result<(&'static str, Row), String> {
    let written::Row { status, code, title } = written;
    let kind = Kind::ALL.iter().find(|kind| kind.slug() == name || (name == TOKEN && is_token(**kind)));
    let Some(kind) = kind else {
        let mut all: Vec<&str> = Kind::ALL.iter().map(|kind| kind.slug()).collect();
        all.dedup();
        return Err(format!(
            "`refusals.kinds.{name}` is no kind of refusal; those are `{TOKEN}`, `{}`",
            all.join("`, `")
        ));
    };
    let usual = error::row(*kind);
    let status = status.unwrap_or(usual.status);
    if !is_status(status) {
        return Err(format!("`refusals.kinds.{name}.status` is {status}; a refusal's is 400 to 599"));
    }
    let (code, title) = (code.map_or(usual.code, kept), title.map_or(usual.title, kept));
    Ok((kept(name), Row { status, code, title }))
}

fn is_token(kind: Kind) -> bool {
    matches!(kind, Kind::Unauthenticated(_))
}
