//! One route of a file, found to be possible.

use http::Method;
use valetkey_core::ask::GrantRef;
use valetkey_core::name::{BucketName, shortened};
use valetkey_core::storage::Shape;
use valetkey_core::time::Lifetime;

use super::field::Field;
use super::path::placeholders;
use super::template::{NASTY, Template, Values};
use super::text::{Opens, Text, is_segment, kept};
use super::told;
use super::written::{self, Access, Carried};

/// The lifetime of a credential where a file says none, in seconds.
const USUAL: u32 = 3600;

/// One of its routes.
pub(super) struct RouteSpec {
    pub(super) method: Method,
    pub(super) path: &'static str,
    /// What must name the caller's own account.
    pub(super) account: Option<Text>,
    pub(super) opens: Opens,
    pub(super) access: Access,
    pub(super) lifetime: Lifetime,
    pub(super) carries: &'static [Shape],
    pub(super) fields: Vec<Field>,
    pub(super) answer: Template,
    /// Whether the answer says when the credential ends.
    pub(super) tells_end: bool,
}

impl RouteSpec {
    /// Reads a route.
    pub(super) fn of(written: written::Route) -> Result<Self, String> {
        let written::Route {
            method,
            path,
            account,
            datasets,
            grant,
            workspace,
            bucket,
            prefix,
            whole_bucket,
            access,
            ttl_secs,
            carries,
            fields,
            answer,
        } = written;
        let method = match method.as_str() {
            "GET" => Method::GET,
            "POST" => Method::POST,
            _ => return Err("`method` is `GET` or `POST`".to_owned()),
        };
        let fields = fields.into_iter().map(|(key, field)| Field::read(&key, field)).collect::<Result<Vec<_>, _>>()?;
        if method == Method::GET && fields.iter().any(Field::is_in_body) {
            return Err("a `GET` has no body: its fields are in `query` or `header`".to_owned());
        }
        let mut known = placeholders(&path)?;
        let own: Vec<&str> = fields.iter().filter(|field| field.is_word()).map(|field| field.key).collect();
        let clash = own.iter().chain(&["caller", "account"]).find(|name| known.contains(name));
        if let Some(name) = clash {
            return Err(format!("`{{{name}}}` of the path is also another name"));
        }
        known.extend(own);
        known.extend(["caller", "account"]);
        let text = |name: &str, text: String| Text::read(&text, &known).map_err(|said| format!("`{name}`: {said}"));
        let opens = match (datasets, grant, workspace, bucket) {
            (true, None, None, None) => Opens::Datasets,
            (false, Some(grant), None, None) => {
                let fixed = !grant.contains('{') && GrantRef::parse(&grant).is_err();
                if fixed {
                    return Err(format!("`grant`: `{}` is not a grant's name or id", shortened(&grant)));
                }
                Opens::Grant(text("grant", grant)?)
            }
            (false, None, Some(workspace), None) => Opens::Workspace(text("workspace", workspace)?),
            (false, None, None, Some(bucket)) => {
                if !bucket.contains('{') {
                    BucketName::parse(&bucket).map_err(|error| format!("`bucket`: {error}"))?;
                }
                let prefix = match (prefix.clone(), whole_bucket) {
                    (Some(prefix), false) => {
                        if !prefix.split('/').all(is_segment) {
                            return Err(
                                "`prefix` is a directory, without slashes around it or twice in a row".to_owned()
                            );
                        }
                        Some(text("prefix", prefix)?)
                    }
                    (None, true) => None,
                    _ => return Err("with `bucket` say `prefix`, or `whole_bucket = true`".to_owned()),
                };
                Opens::Place(text("bucket", bucket)?, prefix)
            }
            _ => return Err("say one of `datasets = true`, `grant`, `workspace` and `bucket`".to_owned()),
        };
        if (prefix.is_some() || whole_bucket) && !matches!(opens, Opens::Place(..)) {
            return Err("`prefix` and `whole_bucket` go with `bucket`".to_owned());
        }
        Field::check_all(&fields, &opens)?;
        let lifetime =
            Lifetime::parse(i64::from(ttl_secs.unwrap_or(USUAL))).map_err(|error| format!("`ttl_secs`: {error}"))?;
        let account = account.map(|given| text("account", given)).transpose()?;
        let tells_end = ["expiration", "ttl_secs"].iter().any(|name| answer.contains(name));
        let answer = Template::read(&answer).map_err(|said| format!("`answer` {said}"))?;
        let carries = carries.unwrap_or_else(|| vec![Carried::S3]);
        if carries.is_empty() {
            return Err("`carries` is empty".to_owned());
        }
        let carries: Vec<Shape> = carries
            .into_iter()
            .map(|carried| match carried {
                Carried::S3 => Shape::S3,
                Carried::Azure => Shape::Azure,
                Carried::Google => Shape::Google,
            })
            .collect();
        let route = Self {
            method,
            path: kept(path),
            account,
            opens,
            access: access.unwrap_or(Access::Read),
            lifetime,
            carries: Vec::leak(carries),
            fields,
            answer,
            tells_end,
        };
        route.try_answers()?;
        Ok(route)
    }

    /// The names of its placeholders.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
    }

    /// Writes the answer once for each form of credential, with what is optional and without.
    fn try_answers(&self) -> Result<(), String> {
        for shape in self.carries {
            for full in [true, false] {
                let mut request = Values::new();
                for name in self.names() {
                    request.insert(name, NASTY.into());
                }
                for field in &self.fields {
                    request.insert(field.key, field.sample(full));
                }
                let values = told::sample(*shape, full, request, matches!(self.opens, Opens::Workspace(_)));
                self.answer.write(&values).map_err(|said| format!("`answer` {said}"))?;
            }
        }
        Ok(())
    }
}
