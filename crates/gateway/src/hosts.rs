//! Where a backend's requests go: said of its settings, and held against each request, whatever the library makes of them.

use std::sync::Arc;

use async_trait::async_trait;
use http::HeaderValue;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use valetkey_core::hosts::{Hosts, Origin, Platform};
use valetkey_core::{Error, Kind};

use crate::http::Straight;

/// Where a URL of the settings is.
pub(crate) fn origin(url: &str, setting: &'static str) -> Result<Origin, Error> {
    let bad = || Error::new(Kind::Invalid, "this is not the URL of a storage").at(setting);
    let url = reqwest::Url::parse(url).map_err(|_| bad())?;
    Ok(Origin::new(url.scheme(), url.host_str().ok_or_else(bad)?, url.port()))
}

/// Clients that ask nobody but these hosts. SECURITY: a setting that becomes part of an address cannot lead kept secrets elsewhere.
#[derive(Debug)]
pub(crate) struct Within {
    pub(crate) hosts: Arc<Hosts>,
    pub(crate) straight: Straight,
    pub(crate) shown: Option<Shown>,
}

/// What the server's platform is shown by who asks it for the server's identity.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    to: Origin,
    header: HeaderValue,
}

impl Shown {
    /// Requests go to the platform, too, and show it what it wants to see.
    ///
    /// # Errors
    /// `Invalid` when what the environment says of it is no address, or no header.
    pub(crate) fn to(platform: &Platform, hosts: &mut Hosts) -> Result<Self, Error> {
        let to = origin(&platform.endpoint, "identity")?;
        let unfit = |_| Error::new(Kind::Invalid, "`IDENTITY_HEADER` cannot be a header").at("identity");
        let mut header = HeaderValue::from_str(platform.header.reveal()).map_err(unfit)?;
        header.set_sensitive(true);
        hosts.surround(to.clone());
        Ok(Self { to, header })
    }
}

#[derive(Debug)]
struct Guarded {
    client: HttpClient,
    hosts: Arc<Hosts>,
    shown: Option<Shown>,
}

impl HttpConnector for Within {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let Self { hosts, straight, shown } = self;
        let client = straight.connect(options)?;
        if hosts.is_of_the_machine() && shown.is_none() {
            // Where the machine is told who it is, its own surroundings say.
            return Ok(client);
        }
        Ok(HttpClient::new(Guarded { client, hosts: Arc::clone(hosts), shown: shown.clone() }))
    }
}

#[async_trait]
impl HttpService for Guarded {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let url = request.uri();
        let origin = url.scheme_str().zip(url.host()).map(|(scheme, host)| Origin::new(scheme, host, url.port_u16()));
        if let Some(origin) = origin.filter(|origin| self.hosts.allow(origin)) {
            if let Some(shown) = self.shown.as_ref().filter(|shown| shown.to == origin) {
                request.headers_mut().insert(Platform::HEADER, shown.header.clone());
            }
            self.client.execute(request).await
        } else {
            let elsewhere = std::io::Error::other("the request goes to a host that the settings do not say");
            Err(HttpError::new(HttpErrorKind::Unknown, elsewhere))
        }
    }
}

#[cfg(test)]
mod tests {
    use valetkey_core::hosts::Trusted;

    use crate::settings::Settings;

    const KEYS: &str = r#"{"access_key_id":"AKIA","secret_access_key":"x"}"#;
    const SAS: &str = r#"{"sas_token":"sig=x"}"#;
    const GOOGLE: &str =
        r#"{"service_account_key":{"private_key":"x","private_key_id":"x","client_email":"a@b","disable_oauth":true}}"#;

    fn beyond(before: &str, now: &str, secrets: &str) -> Option<String> {
        let hosts = |settings: &str| Settings::parse(settings).unwrap().hosts(secrets.as_bytes()).unwrap();
        hosts(now).beyond(&hosts(before)).map(|(setting, origin)| format!("{setting} {origin}"))
    }

    #[test]
    fn whatever_leads_kept_secrets_to_another_host_is_seen_and_nothing_else() {
        for (before, now, secrets, new) in [
            (
                r#"{"backend":"s3"}"#,
                r#"{"backend":"s3","region":"eu-1"}"#,
                KEYS,
                Some("endpoint https://s3.eu-1.amazonaws.com"),
            ),
            (
                r#"{"backend":"s3"}"#,
                r#"{"backend":"s3","path_style":false}"#,
                KEYS,
                Some("endpoint https://*.s3.us-east-1.amazonaws.com"),
            ),
            (
                r#"{"backend":"s3","endpoint":"https://a.example"}"#,
                r#"{"backend":"s3","endpoint":"https://a.example/x/","region":"eu-1","buckets":{"here":"there"}}"#,
                KEYS,
                None,
            ),
            (
                r#"{"backend":"s3","endpoint":"https://a.example"}"#,
                r#"{"backend":"s3","endpoint":"http://a.example","allow_http":true}"#,
                KEYS,
                Some("endpoint http://a.example"),
            ),
            (
                r#"{"backend":"s3","endpoint":"https://a.example"}"#,
                r#"{"backend":"s3"}"#,
                KEYS,
                Some("endpoint https://s3.us-east-1.amazonaws.com"),
            ),
            (
                r#"{"backend":"azure","account":"one"}"#,
                r#"{"backend":"azure","account":"two"}"#,
                SAS,
                Some("endpoint https://two.blob.core.windows.net"),
            ),
            (
                r#"{"backend":"azure","account":"one"}"#,
                r#"{"backend":"azure","account":"one","client_id":"c"}"#,
                SAS,
                None,
            ),
            (
                r#"{"backend":"gcs"}"#,
                r#"{"backend":"gcs","endpoint":"https://evil.example"}"#,
                GOOGLE,
                Some("endpoint https://evil.example"),
            ),
        ] {
            assert_eq!(beyond(before, now, secrets).as_deref(), new, "{now}");
        }
    }

    #[test]
    fn the_machines_identity_is_sent_where_the_servers_file_says() {
        let trusted = Trusted::parse(valetkey_core::hosts::PROVIDERS).unwrap();
        for (settings, good) in [
            (r#"{"backend":"s3"}"#, true),
            (r#"{"backend":"s3","region":"eu-1","path_style":false}"#, true),
            (r#"{"backend":"azure","account":"name"}"#, true),
            (r#"{"backend":"azure","account":"name","endpoint":"https://name.blob.core.windows.net"}"#, true),
            (r#"{"backend":"gcs"}"#, true),
            (r#"{"backend":"s3","endpoint":"https://evil.example"}"#, false),
            (r#"{"backend":"azure","account":"name","endpoint":"https://evil.example"}"#, false),
            (
                r#"{"backend":"azure","account":"name","endpoint":"http://127.0.0.1:1","allow_http":true,"client_id":"c"}"#,
                false,
            ),
            (r#"{"backend":"gcs","endpoint":"https://storage.googleapis.com.evil.example"}"#, false),
        ] {
            let hosts = Settings::parse(settings).unwrap().hosts(b"").unwrap();
            assert!(hosts.is_of_the_machine());
            assert_eq!(hosts.check(&trusted).is_ok(), good, "{settings}");
        }
        let kept = Settings::parse(r#"{"backend":"gcs","endpoint":"https://gcs.example"}"#).unwrap();
        assert!(kept.hosts(GOOGLE.as_bytes()).unwrap().check(&trusted).is_ok(), "an operator may name any store");
    }

    /// Answers each request so, and hands on what it was.
    async fn stub(answer: &'static str) -> (String, tokio::sync::mpsc::UnboundedReceiver<String>) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, asked) = tokio::sync::mpsc::unbounded_channel();
        tokio_util::task::TaskTracker::new().spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") && socket.read_buf(&mut head).await.is_ok_and(|read| read > 0) {}
                drop(tell.send(String::from_utf8(head).unwrap()));
                let length = answer.len();
                let answer =
                    format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{answer}");
                drop(socket.write_all(answer.as_bytes()).await);
            }
        });
        (address.to_string(), asked)
    }

    #[tokio::test]
    async fn an_app_service_is_asked_as_published_and_the_store_is_not_shown_what_it_is() {
        use valetkey_core::Secret;
        use valetkey_core::hosts::Platform;

        let token = r#"{"access_token":"eyJ.app","expires_on":"4070908800","resource":"r","token_type":"Bearer"}"#;
        let ((at, mut asked), (store, mut stored)) = (
            stub(token).await,
            stub("<?xml version=\"1.0\"?><EnumerationResults><Blobs/><NextMarker/></EnumerationResults>").await,
        );
        let settings = format!(
            r#"{{"backend":"azure","account":"name","endpoint":"http://{store}","allow_http":true,"client_id":"c","identity":"app-service-identity"}}"#
        );
        let settings = Settings::parse(&settings).unwrap();
        let endpoint = format!("http://{at}/msi/token");
        let platform =
            |header: &str| Some(Platform { endpoint: endpoint.clone(), header: Secret::new(header.to_owned()) });
        let terms = |platform| crate::Terms { platform, ..crate::Terms::default() };
        let wrong = settings.open(b"", &terms(platform("s3cret\n"))).map(drop).unwrap_err();
        assert!(wrong.field() == Some("identity") && !format!("{wrong:?}").contains("s3cret"), "{wrong:?}");
        settings.open(b"", &terms(platform("shown"))).unwrap().probe("lake").await.unwrap();
        let head = asked.recv().await.unwrap().to_ascii_lowercase();
        let line =
            "get /msi/token?api-version=2019-08-01&resource=https%3a%2f%2fstorage.azure.com&client_id=c http/1.1";
        assert!(head.starts_with(line) && head.contains("\r\nx-identity-header: shown\r\n"), "{head}");
        let head = stored.recv().await.unwrap();
        assert!(head.contains("Bearer eyJ.app") && !head.contains("shown"), "{head}");
        // The token goes where the server's file says, as every one of the machine's own.
        let trusted = |hosts: &[&str]| Trusted::parse(hosts.iter().copied()).unwrap();
        let hosts = settings.hosts(b"").unwrap();
        assert!(
            hosts.take_a_token() && hosts.check(&Trusted::parse(valetkey_core::hosts::PROVIDERS).unwrap()).is_err()
        );
        assert!(hosts.check(&trusted(&["127.0.0.1"])).is_ok());
    }

    #[tokio::test]
    async fn a_request_to_another_host_is_not_sent() {
        use std::sync::Arc;

        use object_store::client::{HttpConnector as _, HttpRequestBody};
        use valetkey_core::hosts::{Hosts, Origin, Proof};

        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let elsewhere = listener.local_addr().unwrap();
        let hosts = Hosts::new(Proof::Kept).sent("endpoint", Origin::new("http", "127.0.0.1", Some(1)));
        let straight = crate::http::Straight { wait: std::time::Duration::from_secs(1) };
        let within = super::Within { hosts: Arc::new(hosts), straight, shown: None };
        let client = within.connect(&crate::http::options(true)).unwrap();
        let mut request = object_store::client::HttpRequest::new(HttpRequestBody::empty());
        *request.uri_mut() = format!("http://{elsewhere}/lake/a").parse().unwrap();
        let refused = client.execute(request).await.unwrap_err();
        assert!(format!("{refused:?}").contains("the settings do not say"), "{refused:?}");
    }
}
