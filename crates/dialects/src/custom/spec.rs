//! A file that was read and found to be possible: every name, template and table in it.

use valetkey_core::Kind;
use valetkey_core::name::{Name, shortened};

use super::error;
use super::path::{base_path, shape};
use super::route::RouteSpec;
use super::rows::Rows;
use super::template::{NASTY, Template};
use super::text::kept;
use super::told;
use super::written::{self, Written};
use crate::edge::Carrier;

/// The most routes of one file.
const MOST_ROUTES: usize = 100;
/// A dialect of one's own.
pub struct Spec {
    pub(super) name: &'static str,
    pub(super) base: String,
    pub(super) carriers: &'static [Carrier],
    pub(super) envelope: Template,
    pub(super) rows: Rows,
    pub(super) routes: Vec<RouteSpec>,
}

impl Spec {
    /// The most bytes of a file: one with a hundred routes has some 50 KiB.
    pub const MOST_BYTES: usize = 256 * 1024;

    /// Reads a file.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn read(text: &str) -> Result<Self, String> {
        if text.len() > Self::MOST_BYTES {
            return Err(format!("the file is too large; the most is {} bytes", Self::MOST_BYTES));
        }
        let Written { name, base, token, refusals, routes } =
            toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
        let name = Name::parse(&name).map_err(|error| format!("`name`: {error}"))?;
        let spec = Self {
            name: kept(name.as_str()),
            base: base_path(base)?,
            carriers: carriers(&token.unwrap_or_else(|| vec!["bearer".to_owned()]))?,
            envelope: Template::read(refusals.body.as_deref().unwrap_or(error::BODY))
                .map_err(|said| format!("`refusals.body`: {said}"))?,
            rows: Rows::read(refusals.default.as_deref(), refusals.kinds)?,
            routes: all_routes(routes)?,
        };
        spec.try_envelope()?;
        Ok(spec)
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What its routes' paths start with.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Where its callers' tokens may stand, the usual place first.
    pub fn carriers(&self) -> &'static [Carrier] {
        self.carriers
    }

    /// Writes each refusal once, so that one that cannot be written is known before anybody is refused.
    fn try_envelope(&self) -> Result<(), String> {
        for kind in Kind::ALL {
            for field in [None, Some(NASTY)] {
                let values = told::refusal(self.rows.of(*kind), *kind, NASTY, field, ("7", 7));
                self.envelope.write(&values).map_err(|said| format!("`refusals.body` of `{}` {said}", kind.slug()))?;
            }
        }
        Ok(())
    }
}

fn carriers(given: &[String]) -> Result<&'static [Carrier], String> {
    let carrier = |text: &String| match text.split_once(':') {
        None if text == "bearer" => Ok(Carrier::Bearer),
        Some(("header", name)) => {
            let read = http::HeaderName::from_bytes(name.as_bytes());
            let known = read.is_ok_and(|name| !["authorization", "cookie", "host"].contains(&name.as_str()));
            if known { Ok(Carrier::Header(kept(name))) } else { Err(format!("`{name}` is not a header for a token")) }
        }
        Some(("basic", name)) if !name.is_empty() => Ok(Carrier::Basic(kept(name))),
        _ => Err("a token is in `bearer`, `header:NAME` or `basic:USER`; not in a URL, which is logged".to_owned()),
    };
    let all = given.iter().map(carrier).collect::<Result<Vec<_>, _>>().map_err(|said| format!("`token`: {said}"))?;
    if all.is_empty() {
        return Err("`token` is empty: nobody could prove who they are".to_owned());
    }
    Ok(Vec::leak(all))
}

fn all_routes(written: Vec<written::Route>) -> Result<Vec<RouteSpec>, String> {
    if !(1..=MOST_ROUTES).contains(&written.len()) {
        return Err(format!("there are {} routes; a file has 1 to {MOST_ROUTES}", written.len()));
    }
    let mut routes: Vec<RouteSpec> = Vec::new();
    for one in written {
        let at = format!("route `{} {}`", shortened(&one.method), shortened(&one.path));
        let route = RouteSpec::of(one).map_err(|said| format!("{at}: {said}"))?;
        let same = |other: &RouteSpec| other.method == route.method && shape(other.path) == shape(route.path);
        if routes.iter().any(same) {
            return Err(format!("{at}: is there twice"));
        }
        routes.push(route);
    }
    Ok(routes)
}
