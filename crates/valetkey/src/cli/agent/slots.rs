//! The asks that an agent answers, each with its slot and a secret of its own that opens that one and no other.

use std::cell::RefCell;
use std::rc::Rc;

use aws_lc_rs::hmac;
use jiff::SignedDuration;
use tokio::sync::mpsc::UnboundedSender;
use valetkey_core::Secret;
use valetkey_core::time::Clock as _;

use crate::cli::agent::slot::Slot;
use crate::cli::creds::ask::Ask;
use crate::cli::failure::{Exit, Failure};
use crate::node::system::SystemClock;

/// The most asks at once: far more than one person's tools have, and what is kept for them is small.
const MOST: usize = 128;
/// What was not read for this long makes room for another.
const IDLE: SignedDuration = SignedDuration::from_mins(10);
/// Of a digest in base32: 130 bits.
const SECRET_CHARS: usize = 26;

/// All of them.
pub(crate) struct Slots {
    key: hmac::Key,
    known: RefCell<Vec<(Secret<String>, Rc<Slot>)>>,
    added: UnboundedSender<Rc<Slot>>,
}

impl Slots {
    /// Secrets come of the agent's own; slots that are added are sent to what keeps them.
    pub(crate) fn new(own: &Secret<Vec<u8>>, added: UnboundedSender<Rc<Slot>>) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, own.reveal()), known: RefCell::default(), added }
    }

    /// What opens an ask, and nothing else. The same for as long as the agent's own secret is.
    pub(crate) fn secret(&self, ask: &Ask) -> Secret<String> {
        Secret::new(self.sealed(&format!("ask\n{}", ask.query())))
    }

    /// A token of the metadata service, good until then.
    pub(super) fn session(&self, until: i64) -> Secret<String> {
        Secret::new(format!("{until}.{}", self.sealed(&format!("session\n{until}"))))
    }

    fn sealed(&self, text: &str) -> String {
        let tag = hmac::sign(&self.key, text.as_bytes());
        let mut sealed = data_encoding::BASE32_NOPAD.encode(tag.as_ref()).to_ascii_lowercase();
        sealed.truncate(SECRET_CHARS);
        sealed
    }

    /// Whether a segment of a path can be a secret.
    pub(super) fn is_secret(segment: &str) -> bool {
        segment.len() == SECRET_CHARS && segment.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7'))
    }

    /// The slot of an ask.
    ///
    /// # Errors
    /// When there are too many that are in use.
    pub(crate) fn slot(&self, ask: &Ask) -> Result<Rc<Slot>, Failure> {
        let mut known = self.known.borrow_mut();
        if let Some((_, slot)) = known.iter().find(|(_, slot)| slot.ask == *ask) {
            return Ok(Rc::clone(slot));
        }
        if known.len() >= MOST {
            let now = SystemClock.now();
            let oldest = known.iter().enumerate().min_by_key(|(_, (_, slot))| slot.used());
            let idle = oldest.filter(|(_, (_, slot))| now.duration_since(slot.used()) > IDLE).map(|(at, _)| at);
            let Some(at) = idle else {
                return Err(Failure::new(Exit::RateLimited, "the agent answers too many asks already"));
            };
            known.remove(at).1.leave();
        }
        let slot = Rc::new(Slot::new(ask.clone()));
        known.push((self.secret(ask), Rc::clone(&slot)));
        // Nobody receives it only when the agent is ending.
        let _ = self.added.send(Rc::clone(&slot));
        Ok(slot)
    }

    /// What a secret opens, of what is known.
    pub(super) fn opened(&self, secret: &str) -> Option<Ask> {
        let known = self.known.borrow();
        known.iter().find(|(known, _)| known.ct_eq(secret)).map(|(_, slot)| slot.ask.clone())
    }

    /// Every slot.
    pub(crate) fn all(&self) -> Vec<Rc<Slot>> {
        self.known.borrow().iter().map(|(_, slot)| Rc::clone(slot)).collect()
    }
}
