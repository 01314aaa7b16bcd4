//! How stores are asked over HTTP.

use std::time::Duration;

use object_store::client::{HttpClient, HttpConnector};
use object_store::{ClientConfigKey, ClientOptions};
use reqwest::redirect::Policy;

/// What a store's client is made of.
pub(crate) fn options(allow_http: bool) -> ClientOptions {
    ClientOptions::new().with_allow_http(allow_http)
}

/// Clients that follow no redirects. SECURITY: a request carries credentials and objects, and an answer is taken for the store's: a
/// store, or who stands in for it, would send both to hosts that nobody named, within the server's own network too.
#[derive(Debug)]
pub(crate) struct Straight;

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
            // Objects may take long; a pause may not.
            .connect_timeout(Duration::from_secs(5))
            .read_timeout(Duration::from_mins(1))
            .build()
            .map_err(|error| object_store::Error::Generic { store: "HTTP", source: Box::new(error) })?;
        Ok(HttpClient::new(client))
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
                let store = Settings::parse(&settings).unwrap().open(secrets.as_bytes()).unwrap();
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
