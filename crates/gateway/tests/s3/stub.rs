//! A storage that answers what a test says, and takes down what it is asked.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;
use valetkey_gateway::{Settings, Terms};
use valetkey_s3::{Backend, Config};

use crate::rig::Rig;

/// What the stub does with a request.
#[derive(Clone)]
pub(crate) enum Does {
    /// Reads all of it and answers so.
    Answers(String),
    /// Answers so as soon as it has its head, and reads on.
    Hurries(String),
    /// Reads all of it, answers so and ends the connection.
    Cuts(String),
    /// Reads all of it, and says one after the other when the test lets it.
    Works(Vec<String>, Arc<tokio::sync::Semaphore>),
    /// Reads all of it, and says nothing.
    IsSilent,
}

/// What it was asked.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// Whether all of the body came.
    pub(crate) whole: bool,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    }

    pub(crate) fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }
}

pub(crate) struct Stub {
    pub(crate) address: String,
    script: Arc<Mutex<VecDeque<Does>>>,
    seen: mpsc::UnboundedReceiver<Seen>,
    _tasks: TaskTracker,
}

/// The ways to the stubs that tests have, by the directory of their rig.
static WAYS: OnceLock<Mutex<HashMap<PathBuf, Arc<dyn Backend>>>> = OnceLock::new();

pub(crate) fn way(dir: &Path) -> Option<Arc<dyn Backend>> {
    WAYS.get_or_init(Mutex::default).lock().unwrap().get(dir).cloned()
}

/// Puts such a rig in front of a way.
pub(crate) fn lead(dir: &Path, way: Arc<dyn Backend>) {
    WAYS.get_or_init(Mutex::default).lock().unwrap().insert(dir.to_owned(), way);
}

const NOTHING: &str = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";

/// An answer with a document, or whatever else the body is.
pub(crate) fn says(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len())
}

async fn serve(mut socket: TcpStream, script: Arc<Mutex<VecDeque<Does>>>, seen: mpsc::UnboundedSender<Seen>) {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match socket.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        let head = String::from_utf8(head).unwrap();
        if head.starts_with("GET /lake?list-type=2") && head.contains("max-keys=1&") || head.contains("max-keys=1 ") {
            // The look whether the bucket is there.
            socket.write_all(says("200 OK", "", NOTHING).as_bytes()).await.unwrap();
            continue;
        }
        let does =
            script.lock().unwrap().pop_front().unwrap_or_else(|| Does::Answers(says("200 OK", "etag: \"e\"\r\n", "")));
        if let Does::Hurries(answer) = &does {
            socket.write_all(answer.as_bytes()).await.unwrap();
        }
        let mut one = Seen { head, body: Vec::new(), whole: false };
        let length: usize = one.header("content-length").map_or(0, |text| text.parse().unwrap());
        let mut buffer = vec![0; 64 * 1024];
        while one.body.len() < length {
            match socket.read(&mut buffer).await {
                Ok(read @ 1..) => one.body.extend_from_slice(&buffer[..read]),
                _ => break,
            }
        }
        one.whole = one.body.len() == length;
        let whole = one.whole;
        drop(seen.send(one));
        if !whole {
            return;
        }
        match does {
            Does::Answers(answer) => drop(socket.write_all(answer.as_bytes()).await),
            Does::Hurries(_) => {}
            Does::Cuts(answer) => {
                drop(socket.write_all(answer.as_bytes()).await);
                return;
            }
            Does::Works(pieces, gate) => {
                for piece in pieces {
                    gate.acquire().await.unwrap().forget();
                    drop(socket.write_all(piece.as_bytes()).await);
                }
            }
            Does::IsSilent => drop(socket.read(&mut buffer).await),
        }
    }
}

impl Stub {
    /// Starts a stub and a rig in front of it.
    pub(crate) async fn start(change: impl FnOnce(&mut Config)) -> (Rig, Self) {
        Self::of(true, change).await
    }

    /// The same, of a storage of which it is said or not that it takes keys as they are.
    pub(crate) async fn of(exact_keys: bool, change: impl FnOnce(&mut Config)) -> (Rig, Self) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (tasks, script) = (TaskTracker::new(), Arc::new(Mutex::new(VecDeque::new())));
        let (tell, seen) = mpsc::unbounded_channel();
        let (own, does) = (tasks.clone(), Arc::clone(&script));
        tasks.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                own.spawn(serve(socket, Arc::clone(&does), tell.clone()));
            }
        });
        let settings = format!(
            r#"{{"backend":"s3","endpoint":"http://{address}","allow_http":true,"exact_keys":{exact_keys},"buckets":{{"other":"hidden-name"}}}}"#
        );
        let secrets = br#"{"access_key_id":"AKIAOFTHESTORE","secret_access_key":"x"}"#;
        let terms = Terms { wait: Duration::from_secs(2), ..Terms::default() };
        let way = Settings::parse(&settings).unwrap().open(secrets, &terms).unwrap();
        let dir = Arc::new(TempDir::new().unwrap());
        lead(dir.path(), way);
        let rig = Rig::start_in(dir, change).await;
        (rig, Self { address, script, seen, _tasks: tasks })
    }

    pub(crate) fn will(&self, does: Does) {
        self.script.lock().unwrap().push_back(does);
    }

    pub(crate) fn answers(&self, status: &str, headers: &str, body: &str) {
        self.will(Does::Answers(says(status, headers, body)));
    }

    /// The next request that it was asked.
    pub(crate) async fn seen(&mut self) -> Seen {
        self.seen.recv().await.unwrap()
    }

    /// Whether it was asked anything that nobody looked at.
    pub(crate) fn saw_nothing(&mut self) -> bool {
        self.seen.try_recv().is_err()
    }
}
