//! What stands first on the S3 endpoint's address: tells requests of the STS API and of S3 Access Grants, which some clients send there,
//! from those of S3.

use std::convert::Infallible;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::header::CONTENT_TYPE;
use http::{Method, Request, Response};
use http_body_util::Either;
use hyper::body::Incoming;
use valetkey_dialects::access_grants;
use valetkey_dialects::edge::{Mounted, Service};

type Body = Either<valetkey_s3::Body, axum::body::Body>;

/// Objects, and the API that some clients expect at the same address.
#[derive(Clone)]
pub(super) struct Door {
    pub(super) objects: valetkey_s3::Endpoint,
    pub(super) dialects: Service,
    /// Where the API of actions is among the dialects.
    pub(super) path: &'static str,
}

/// Whether a request is of S3 Access Grants: a path that a bucket could have too, and a header that no request of S3 has.
fn is_of_grants<B>(request: &Request<B>) -> bool {
    request.uri().path().starts_with(access_grants::PATH) && request.headers().contains_key(access_grants::ACCOUNT_ID)
}

/// Whether a request is of a query API: it names an action, or is a form. No request of S3 is either at the root: its own parameters
/// have other names, and browsers' forms have another type.
fn is_action<B>(request: &Request<B>) -> bool {
    let query = request.uri().query().unwrap_or_default();
    let named = query.split('&').any(|pair| pair.starts_with("Action="));
    let told = request.headers().get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    let form = b"application/x-www-form-urlencoded";
    let is_form = told.get(..form.len()).is_some_and(|start| start.eq_ignore_ascii_case(form));
    let asks = match *request.method() {
        Method::POST => {
            named || (is_form && query.split('&').all(|pair| pair.is_empty() || pair.starts_with("Version=")))
        }
        Method::GET => named,
        _ => false,
    };
    asks && request.uri().path() == "/"
}

impl tower::Service<Request<Incoming>> for Door {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Incoming>) -> Self::Future {
        let is_action = is_action(&request);
        if is_action {
            request.extensions_mut().insert(Mounted(self.path));
        }
        if is_action || is_of_grants(&request) {
            let answer = tower::Service::call(&mut self.dialects, request.map(axum::body::Body::new));
            return Box::pin(async move { Ok(answer.await?.map(Either::Right)) });
        }
        let objects = self.objects.clone();
        Box::pin(async move { Ok(objects.answer(request).await.map(Either::Left)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_of_that_name_is_not_taken_for_access_grants() {
        let is = |target: &str, header: &str| {
            is_of_grants(&Request::get(target).header(header, "123456789012").body(()).unwrap())
        };
        let path = "/v20180820/accessgrantsinstance/dataaccess?target=s3://lake";
        assert!(is(path, "x-amz-account-id") && is("/v20180820/accessgrantsinstances", "X-Amz-Account-Id"));
        assert!(!is(path, "x-amz-date") && !is("/v20180820/other", "x-amz-account-id"));
    }

    #[test]
    fn nothing_of_s3_is_taken_for_an_action() {
        let form = "application/x-www-form-urlencoded";
        let is = |method: &str, target: &str, told: &str| {
            is_action(&Request::builder().method(method).uri(target).header(CONTENT_TYPE, told).body(()).unwrap())
        };
        for (method, target, told) in [
            ("POST", "/", form),
            ("POST", "/", "Application/X-WWW-Form-Urlencoded; charset=utf-8"),
            ("POST", "/?Version=2011-06-15", form),
            ("POST", "/?Action=AssumeRoleWithWebIdentity&Version=2011-06-15", ""),
            ("GET", "/?Version=2011-06-15&Action=GetCallerIdentity", ""),
        ] {
            assert!(is(method, target, told), "{method} {target}");
        }
        for (method, target, told) in [
            ("POST", "/?delete", form),
            ("POST", "/", "multipart/form-data; boundary=x"),
            ("POST", "/bucket", form),
            ("POST", "/bucket?Action=AssumeRole", ""),
            ("GET", "/", form),
            ("GET", "/?prefix=Action=x", ""),
            ("PUT", "/?Action=AssumeRole", form),
            ("POST", "/", ""),
        ] {
            assert!(!is(method, target, told), "{method} {target}");
        }
    }
}
