//! How stores are asked over HTTP. Nothing is followed, and nothing is waited for or read without end: an answer is small unless
//! whoever asked said that it is an object or a listing.

use std::error::Error as StdError;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::Future as _;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_MATCH};
use http::{Extensions, HeaderMap, Method, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};
use object_store::{ClientConfigKey, ClientOptions};
use reqwest::redirect::Policy;
use tokio::time::{Sleep, sleep, timeout};

use crate::document;

/// The most bytes of an answer that is neither an object nor a listing: a token, the name of an upload.
const MAX_ANSWER: usize = 256 * 1024;
/// The most bytes of a listing, and so many more for each of the keys that were asked for: a key of 1,024 bytes has up to six times
/// as many where each is written as a character reference.
const MAX_LISTING: usize = 64 * 1024;
const MAX_ENTRY: usize = 8 * 1024;
/// The most bytes that are read of a refusal: of all it says its code alone is used, which stands at its start.
const MAX_REFUSAL: usize = 64 * 1024;
/// Bytes of a request's body that have to go out in a second at least.
const LEAST_RATE: u64 = 64 * 1024;
/// How much longer than another request one may take that a store works on: completing an upload of many pieces, for which it says
/// that it is still at it.
const WORK: u32 = 30;

/// What an answer is to be. Said in a request's extensions; an answer for which nobody did is read whole, and is small.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Expect {
    /// An object: its bytes go on as they come.
    Object,
    /// A listing of so many keys at most.
    Listing(usize),
}

impl Expect {
    /// Says so of a request.
    pub(crate) fn said(self) -> Extensions {
        let mut extensions = Extensions::new();
        extensions.insert(self);
        extensions
    }
}

/// An answer that no store gives. The words are ours: they go to the log.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the answer is not a storage's: {0}")]
pub(crate) struct Strange(String);

/// Whether an error says so, or one that it was made of.
pub(crate) fn is_strange(error: &(dyn StdError + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<Strange>() {
            return true;
        }
        next = error.source();
    }
    false
}

/// Whether a request broke off, so that nobody knows whether it was done.
pub(crate) fn is_broken_off(error: &(dyn StdError + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<HttpError>() {
            let kind = error.kind();
            return matches!(kind, HttpErrorKind::Connect | HttpErrorKind::Request | HttpErrorKind::Interrupted);
        }
        next = error.source();
    }
    false
}

fn strange(said: impl Into<String>) -> HttpError {
    HttpError::new(HttpErrorKind::Decode, Strange(said.into()))
}

/// Nothing came for too long.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the storage was silent for {} s: timed out", .0.as_secs())]
struct Silent(Duration);

fn silent(wait: Duration) -> HttpError {
    HttpError::new(HttpErrorKind::Timeout, Silent(wait))
}

/// How long a request with a body of so many bytes may take until its answer begins.
pub(crate) fn patience(wait: Duration, bytes: u64) -> Duration {
    wait.saturating_add(Duration::from_secs(bytes / LEAST_RATE))
}

/// What a store's client is made of.
pub(crate) fn options(allow_http: bool) -> ClientOptions {
    ClientOptions::new().with_allow_http(allow_http)
}

/// Clients that follow no redirects. SECURITY: a request carries credentials and objects, and an answer is taken for the store's: a
/// store, or who stands in for it, would send both to hosts that nobody named, within the server's own network too.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Straight {
    /// How long a store may be silent.
    pub(crate) wait: Duration,
}

impl HttpConnector for Straight {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        // The machine's own credentials are asked for over `http`, whatever the store's URL is; the library says so here.
        let allow_http = options.get_config_value(&ClientConfigKey::AllowHttp).is_some_and(|value| value == "true");
        let client = reqwest::Client::builder()
            .redirect(Policy::none())
            .https_only(!allow_http)
            .http1_only()
            .user_agent("valetkey")
            // What is unpacked has another size.
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate()
            .connect_timeout(Duration::from_secs(5).min(self.wait))
            .build()
            .map_err(|error| object_store::Error::Generic { store: "HTTP", source: Box::new(error) })?;
        Ok(HttpClient::new(Bounded { client: HttpClient::new(client), wait: self.wait }))
    }
}

/// A client whose answers are bounded. SECURITY: all that is asked of a store goes through it, its objects, the server's own
/// identity and tokens alike.
#[derive(Debug)]
struct Bounded {
    client: HttpClient,
    wait: Duration,
}

#[async_trait]
impl HttpService for Bounded {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let expect = request.extensions().get::<Expect>().copied();
        let method = request.method().clone();
        let tag = request.headers().get(IF_MATCH).cloned();
        let works = method == Method::POST;
        let head = patience(self.wait, request.body().content_length() as u64);
        let head = if works { head.max(self.wait.saturating_mul(3)) } else { head };
        let response = timeout(head, self.client.execute(request)).await.map_err(|_| silent(head))??;
        let (parts, body) = response.into_parts();
        let (status, headers) = (parts.status, &parts.headers);
        let whole = if works { self.wait.saturating_mul(WORK) } else { self.wait };
        let body: HttpResponseBody = if !status.is_success() {
            // Its status says what it is: its words are not waited for as long as for an answer.
            refusal(Paced::new(body, self.wait), self.wait / 4).await.into()
        } else if expect == Some(Expect::Object) {
            object(status, headers)?;
            let bare = |tag: Option<&http::HeaderValue>| bare(tag.and_then(|tag| tag.to_str().ok()));
            if tag.is_some() && bare(tag.as_ref()) != bare(headers.get(ETAG)) {
                return Err(strange("it is of another version than was asked for"));
            }
            HttpResponseBody::new(Paced::new(body, self.wait))
        } else if method == Method::HEAD {
            body
        } else {
            let most = match expect {
                Some(Expect::Listing(keys)) => MAX_LISTING.saturating_add(keys.saturating_mul(MAX_ENTRY)),
                Some(Expect::Object) | None => MAX_ANSWER,
            };
            let collecting = timeout(whole, collect(Paced::new(body, self.wait), most));
            let bytes = collecting.await.map_err(|_| silent(whole))??;
            if document::is_page(headers.get(CONTENT_TYPE).map(http::HeaderValue::as_bytes), &bytes) {
                return Err(strange("it is a web page, perhaps one that wants a login"));
            }
            if matches!(expect, Some(Expect::Listing(_))) {
                document::listing(&bytes).map_err(strange)?;
            }
            document::token(&bytes).unwrap_or(bytes).into()
        };
        Ok(HttpResponse::from_parts(parts, body))
    }
}

/// A tag without its quotes.
pub(crate) fn bare(tag: Option<&str>) -> String {
    let tag = tag.unwrap_or_default();
    tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).unwrap_or(tag).to_owned()
}

/// Holds what the head of an object's answer says against itself: what does not fit is told before a byte of it went on.
fn object(status: StatusCode, headers: &HeaderMap) -> Result<(), HttpError> {
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let text = |name| headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
    if text(ETAG).is_none_or(str::is_empty) {
        return Err(strange("it has no entity tag, as every object has"));
    }
    if status != StatusCode::PARTIAL_CONTENT {
        return Ok(());
    }
    let range = text(CONTENT_RANGE).and_then(|range| range.trim().strip_prefix("bytes ")?.split_once('/'));
    let range = range.and_then(|(range, _)| range.split_once('-'));
    let length = range.and_then(|(first, last)| number(last)?.checked_sub(number(first)?)?.checked_add(1));
    match (length, text(CONTENT_LENGTH).and_then(number)) {
        (Some(length), Some(told)) if length != told => {
            Err(strange("its length is another than that of the range it says it is"))
        }
        (Some(_), _) => Ok(()),
        (None, _) => Err(strange("it does not say which range it is")),
    }
}

/// Reads an answer to its end.
async fn collect(mut body: Paced, most: usize) -> Result<Bytes, HttpError> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if bytes.len() + data.len() > most {
            return Err(strange(format!("it has more than {most} bytes")));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.freeze())
}

/// As much of a refusal as came, as text: its status counts, however it ends.
async fn refusal(mut body: Paced, whole: Duration) -> String {
    let mut bytes = BytesMut::new();
    let reading = async {
        while let Some(Ok(frame)) = body.frame().await {
            let Ok(data) = frame.into_data() else { continue };
            let room = MAX_REFUSAL.saturating_sub(bytes.len());
            bytes.extend_from_slice(data.get(..room).unwrap_or(&data));
            if data.len() > room {
                break;
            }
        }
    };
    // Out of time is as good as at its end.
    let _ = timeout(whole, reading).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A body that may not pause for long. Time counts while somebody waits for more, not while nobody asks for it.
struct Paced {
    body: HttpResponseBody,
    wait: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Paced {
    fn new(body: HttpResponseBody, wait: Duration) -> Self {
        Self { body, wait, waiting: None }
    }
}

impl Body for Paced {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.waiting = None;
            return Poll::Ready(frame);
        }
        let wait = self.wait;
        ready!(self.waiting.get_or_insert_with(|| Box::pin(sleep(wait))).as_mut().poll(cx));
        Poll::Ready(Some(Err(silent(wait))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::Bytes;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio_util::task::TaskTracker;
    use valetkey_s3::{Failure, When, Window};

    use crate::Terms;
    use crate::settings::Settings;

    /// Answers every request so, and counts them. Gives the address.
    async fn stub(tasks: &TaskTracker, answer: String) -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        tasks.spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                // The head and what little body there is come in one piece or few; the answer closes.
                let mut buffer = vec![0; 64 * 1024];
                drop(socket.read(&mut buffer).await);
                drop(socket.write_all(answer.as_bytes()).await);
                drop(socket.shutdown().await);
                while socket.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
            }
        });
        (address, asked)
    }

    #[tokio::test]
    async fn no_store_sends_us_elsewhere() {
        let tasks = TaskTracker::new();
        let (elsewhere, strayed) =
            stub(&tasks, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\netag: \"t\"\r\nconnection: close\r\n\r\n".to_owned())
                .await;
        for status in
            ["301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"]
        {
            let (address, asked) = stub(
                &tasks,
                format!("HTTP/1.1 {status}\r\nlocation: http://{elsewhere}/there\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"),
            )
            .await;
            for (settings, secrets) in [
                (
                    format!(r#"{{"backend":"s3","endpoint":"http://{address}","allow_http":true}}"#),
                    r#"{"access_key_id":"AKIA","secret_access_key":"x"}"#,
                ),
                (
                    format!(
                        r#"{{"backend":"azure","account":"name","endpoint":"http://{address}","allow_http":true}}"#
                    ),
                    r#"{"account_key":"c2VjcmV0"}"#,
                ),
                (
                    format!(r#"{{"backend":"gcs","endpoint":"http://{address}","allow_http":true}}"#),
                    r#"{"service_account_key":{"private_key":"x","private_key_id":"x","client_email":"a@b","disable_oauth":true}}"#,
                ),
            ] {
                let store = Settings::parse(&settings).unwrap().open(secrets.as_bytes(), &Terms::default()).unwrap();
                let said = "nobody is followed";
                let bytes = Bytes::from_static(b"object");
                let before = asked.load(Ordering::SeqCst);
                for failure in [
                    store.probe("lake").await.expect_err(said),
                    store.head("lake", "a").await.expect_err(said),
                    store.read("lake", "a", Window::Whole, None).await.map(drop).expect_err(said),
                    store.put("lake", "a", bytes, &[], When::Always).await.expect_err(said),
                    store.list("lake", "", b"", 1).await.expect_err(said),
                    store.delete("lake", "a").await.expect_err(said),
                ] {
                    assert!(matches!(failure, Failure::Failed(_)), "{settings} {status}: {failure:?}");
                }
                assert!(asked.load(Ordering::SeqCst) >= before + 6);
            }
        }
        assert_eq!(strayed.load(Ordering::SeqCst), 0);
    }
}
