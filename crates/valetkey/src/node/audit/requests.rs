//! Requests to the S3 endpoint's watched buckets, sent as events as they come. They are not in the ledger: what a destination does not
//! take in time is dropped, and counted. No request waits for any of it.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};
use valetkey_core::lease::{Provenance, Refusal};
use valetkey_core::nouns::registry::Catalog;
use valetkey_core::nouns::usage::{Meter, ObjectRequest, Traffic};
use valetkey_dialects::native::Teller;

use super::destination::{BATCH, Destination, IDLE, LONGEST, Line, Taken};

/// Requests that wait for one destination: a few megabytes. More are dropped.
const WAITING: usize = 10_000;

/// Where the endpoint tells what goes over it: counts go to the database, requests to watched buckets to where events are sent.
pub(crate) struct Requests {
    counts: Arc<dyn Meter>,
    /// Which buckets; `*` is all.
    buckets: HashSet<String>,
    to: Vec<(&'static str, Sender<Arc<ObjectRequest>>)>,
}

/// What is to be sent, until [`Watching::start`].
pub(crate) struct Watching(Vec<(Box<dyn Destination>, Waiting)>);

/// What waits to be sent.
type Waiting = Receiver<Arc<ObjectRequest>>;

/// What is told of these buckets, to these destinations.
pub(super) fn watching(
    buckets: &[String],
    all: Vec<Box<dyn Destination>>,
    counts: Arc<dyn Meter>,
) -> (Arc<Requests>, Watching) {
    let (mut to, mut watching) = (Vec::new(), Vec::new());
    for destination in all {
        let (sender, receiver) = channel(WAITING);
        to.push((destination.name(), sender));
        watching.push((destination, receiver));
    }
    (Arc::new(Requests { counts, buckets: buckets.iter().cloned().collect(), to }), Watching(watching))
}

impl Meter for Requests {
    fn moved(&self, origin: &Provenance, from: Option<IpAddr>, traffic: Traffic, now: Timestamp) {
        self.counts.moved(origin, from, traffic, now);
    }

    fn refused(&self, refusal: Refusal, now: Timestamp) {
        self.counts.refused(refusal, now);
    }

    fn watches(&self, bucket: &str) -> bool {
        !self.to.is_empty() && (self.buckets.contains("*") || self.buckets.contains(bucket))
    }

    fn requested(&self, request: ObjectRequest) {
        let request = Arc::new(request);
        for (name, to) in &self.to {
            match to.try_send(Arc::clone(&request)) {
                Ok(()) => {}
                // Closed as well: the server is ending.
                Err(TrySendError::Full(_) | TrySendError::Closed(_)) => dropped(name, 1),
            }
        }
    }
}

fn dropped(destination: &'static str, count: usize) {
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    metrics::counter!("vk_audit_requests_dropped_total", "destination" => destination).increment(count);
}

impl Watching {
    /// Starts sending, until the server ends.
    pub(crate) fn start(self, catalog: &Arc<dyn Catalog>, tasks: &TaskTracker, end: &CancellationToken) {
        for (destination, requests) in self.0 {
            let teller = Teller::new(Arc::clone(catalog));
            tasks.spawn(Sending { destination, requests, teller, wait: IDLE }.keep(end.clone()));
        }
    }
}

struct Sending {
    destination: Box<dyn Destination>,
    requests: Receiver<Arc<ObjectRequest>>,
    teller: Teller,
    /// The last wait after a failure.
    wait: Duration,
}

impl Sending {
    /// Sends what comes, until the server ends; what is there then is tried once.
    async fn keep(mut self, end: CancellationToken) {
        loop {
            let mut some = Vec::new();
            let most = usize::try_from(BATCH).unwrap_or(usize::MAX);
            let came = end.run_until_cancelled(self.requests.recv_many(&mut some, most)).await;
            let ends = match came {
                Some(0) => return,
                Some(_) => false,
                None => {
                    self.requests.close();
                    while some.len() < WAITING
                        && let Ok(request) = self.requests.try_recv()
                    {
                        some.push(request);
                    }
                    true
                }
            };
            self.send(&some, &end).await;
            if ends {
                return;
            }
        }
    }

    /// Sends some until they are taken. Meanwhile others wait, and what is too much for that is dropped.
    async fn send(&mut self, some: &[Arc<ObjectRequest>], end: &CancellationToken) {
        let name = self.destination.name();
        loop {
            match self.try_send(some).await {
                Ok(taken) => {
                    metrics::counter!("vk_audit_requests_total", "destination" => name).increment(taken);
                    if self.wait > IDLE {
                        info!(destination = name, "requests are sent again");
                        self.wait = IDLE;
                    }
                    return;
                }
                Err(error) => {
                    metrics::counter!("vk_audit_failures_total", "destination" => name).increment(1);
                    if self.wait == IDLE {
                        let error = format!("{error:#}");
                        warn!(
                            destination = name,
                            error, "requests to buckets could not be sent; what comes too soon is dropped"
                        );
                    }
                }
            }
            self.wait = (self.wait * 2).min(LONGEST);
            if end.run_until_cancelled(tokio::time::sleep(self.wait)).await.is_none() {
                return dropped(name, some.len());
            }
        }
    }

    /// Says how many were taken; one that is too long alone is not.
    async fn try_send(&mut self, some: &[Arc<ObjectRequest>]) -> anyhow::Result<u64> {
        let mut lines = Vec::with_capacity(some.len());
        for request in some {
            let text = self.teller.requested(request).await?.to_string();
            lines.push(Line { id: request.id.clone(), at: request.at, text });
        }
        let (mut rest, mut taken, mut most) = (&lines[..], 0, lines.len());
        while !rest.is_empty() {
            let (next, after) = rest.split_at(most.min(rest.len()));
            match self.destination.send(next).await? {
                Taken::All => {
                    taken += u64::try_from(next.len()).unwrap_or(u64::MAX);
                    rest = after;
                }
                Taken::TooLong if next.len() > 1 => most = next.len() / 2,
                Taken::TooLong => {
                    dropped(self.destination.name(), 1);
                    rest = after;
                }
            }
        }
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;
    use valetkey_core::id::{LeaseId, StorageId, TokenId};
    use valetkey_core::lease::Provenance;
    use valetkey_testkit::chance::SeededEntropy;
    use valetkey_testkit::memory::Memory;

    use valetkey_core::id::{AccountId, CallerId};

    use super::*;

    struct Kept {
        most: usize,
        texts: Arc<Mutex<Vec<String>>>,
    }

    #[async_trait]
    impl Destination for Kept {
        fn name(&self) -> &'static str {
            "kept"
        }

        async fn send(&mut self, lines: &[Line]) -> anyhow::Result<Taken> {
            if lines.len() > self.most {
                return Ok(Taken::TooLong);
            }
            self.texts.lock().unwrap().extend(lines.iter().map(|line| line.text.clone()));
            Ok(Taken::All)
        }
    }

    fn request(number: usize) -> ObjectRequest {
        ObjectRequest {
            id: number.to_string().into(),
            at: Timestamp::UNIX_EPOCH,
            took_ms: 12,
            origin: Provenance {
                lease: Some(LeaseId::from_bytes([1; 16])),
                account: AccountId::from_bytes([2; 16]),
                caller: CallerId::from_bytes([3; 16]),
                token: TokenId::from_bytes([4; 16]),
                storage: StorageId::from_bytes([5; 16]),
                opened: Timestamp::UNIX_EPOCH,
            },
            from: Some([192, 0, 2, 7].into()),
            operation: "GetObject",
            bucket: "lake".into(),
            key: Some("a/b".into()),
            status: 200,
            traffic: Traffic { requests: 1, bytes_in: 0, bytes_out: 700 },
        }
    }

    #[tokio::test]
    async fn what_waits_is_bounded_and_sent_in_order_and_the_rest_is_dropped() {
        let memory = Arc::new(Memory::new(Arc::new(SeededEntropy::new(1))));
        let texts = Arc::<Mutex<Vec<String>>>::default();
        let (sender, receiver) = channel(WAITING);
        let (buckets, to) = (HashSet::from(["lake".to_owned()]), vec![("kept", sender)]);
        let requests = Requests { counts: Arc::clone(&memory) as Arc<dyn Meter>, buckets, to };
        assert!(requests.watches("lake") && !requests.watches("lake-secret"));
        // Nobody sends yet: each returns at once.
        for number in 0..WAITING + 7 {
            requests.requested(request(number));
        }
        let kept = Box::new(Kept { most: 100, texts: Arc::clone(&texts) }) as Box<dyn Destination>;
        let end = CancellationToken::new();
        let tasks = TaskTracker::new();
        Watching(vec![(kept, receiver)]).start(&(memory as Arc<dyn Catalog>), &tasks, &end);
        drop(requests);
        tasks.close();
        tasks.wait().await;
        let texts = texts.lock().unwrap();
        assert_eq!(texts.len(), WAITING);
        let first: serde_json::Value = serde_json::from_str(&texts[0]).unwrap();
        assert_eq!(
            (&first["metadata"]["uid"], &first["metadata"]["event_code"]),
            (&"0".into(), &"object.requested".into())
        );
        assert_eq!(
            (&first["class_uid"], &first["activity_name"], &first["type_uid"]),
            (&6003.into(), &"Read".into(), &600_302.into())
        );
        assert_eq!((&first["traffic"]["bytes_out"], &first["duration"]), (&700.into(), &12.into()));
        assert_eq!(first["actor"]["session"]["uid"], LeaseId::from_bytes([1; 16]).to_string());
        assert_eq!(first["resources"][0]["data"]["key"], "a/b");
        assert!(texts[WAITING - 1].contains(&format!("\"uid\":\"{}\"", WAITING - 1)));
    }
}
