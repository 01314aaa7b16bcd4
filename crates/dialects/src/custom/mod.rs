//! A dialect of one's own: an API that vends, described by a file and not by code. What a file may say, and an example, are in
//! `docs/dialects/your-own.md`.

mod describe;
mod error;
mod field;
mod path;
mod route;
mod rows;
mod spec;
mod template;
mod text;
mod told;
mod vend;
mod written;

use std::sync::Arc;

use valetkey_core::field::Field as At;
use valetkey_core::{Error, Kind};

pub use self::describe::{Shown, described};
pub use self::spec::Spec;

use self::route::RouteSpec;
use self::vend::Own;
use crate::edge::{Class, Dialect, Proof, Refused, Route, Shared, no_headers, usual_headers};

/// Paths on the API's address that are the server's own, and no dialect's.
const SERVERS: &[&str] = &["/console", "/healthz", "/livez", "/metrics", "/readyz"];

/// Adds the dialects of files to those that are there. One that has a name or a path of another's is refused: which of them answers
/// would be a guess.
///
/// # Errors
/// `Invalid`, with both names.
pub fn add(shared: &Arc<Shared>, dialects: &mut Vec<Dialect>, specs: Vec<Spec>) -> Result<(), Error> {
    for spec in specs {
        let own = dialect(shared, spec);
        if dialects.iter().any(|other| other.name == own.name) {
            return Err(Error::new(Kind::Invalid, format!("there are two APIs named `{}`", own.name)));
        }
        let theirs = dialects.iter().find_map(|other| Some((other.meets(&own)?, format!("`{}`", other.name))));
        let servers =
            || Some(((*SERVERS.iter().find(|path| own.meets_path(path))?).to_owned(), "the server".to_owned()));
        if let Some((path, whose)) = theirs.or_else(servers) {
            let said = format!("the API `{}` is at `{}`, where {whose} answers (`{path}`)", own.name, own.base);
            return Err(Error::new(Kind::Invalid, said));
        }
        dialects.push(own);
    }
    Ok(())
}

/// Makes the dialect of a file.
fn dialect(shared: &Arc<Shared>, spec: Spec) -> Dialect {
    let Spec { name, base, carriers, envelope, rows, routes } = spec;
    let mut served: Vec<Route> = routes.into_iter().map(|route| served(shared, name, route)).collect();
    // The literal ones first: a placeholder takes their segments too.
    served.sort_by_key(|route| route.path.split('/').map(|part| part.starts_with('{')).collect::<Vec<_>>());
    Dialect {
        name,
        base,
        claims: &[""],
        alias: None,
        proof: Proof::Carried(carriers),
        actions: None,
        row: Arc::new(move |kind| rows.of(kind)),
        codes: &[],
        body: Arc::new(move |refused| refusal(&envelope, refused)),
        body_type: "application/json",
        refused: no_headers,
        quota: usual_headers,
        routes: served,
    }
}

fn served(shared: &Arc<Shared>, name: &'static str, route: RouteSpec) -> Route {
    let (method, path) = (route.method.clone(), route.path);
    let known: Vec<&'static str> = route.fields.iter().filter_map(field::Field::in_query).collect();
    let own = Arc::new(Own { shared: Arc::clone(shared), name, route });
    let handler = move |call| vend::vend(Arc::clone(&own), call);
    Route::token(method, path, Class::Credentials, handler).query(Vec::leak(known))
}

fn refusal(envelope: &template::Template, refused: &Refused<'_>) -> Vec<u8> {
    let Refused { row, kind, said, field, code: _, request_id, request_number } = *refused;
    let field = field.and_then(|field| match field {
        At::Other(name) => Some(&**name),
        At::Bucket => Some("bucket"),
        At::Access | At::Grant | At::Lifetime | At::Parts | At::Paths | At::Storage | At::Attribute(_) => None,
    });
    let values = told::refusal(row, kind, said, field, (request_id, request_number));
    // Each was written once when the file was read; what is left are the words of one request.
    envelope.write(&values).unwrap_or_else(|_| br#"{"error":"internal"}"#.to_vec())
}
