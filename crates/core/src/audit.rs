//! Who changes the registry: told once, where a request's caller is proven, and kept in the ledger with what was changed.

use std::cell::Cell;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use jiff::Timestamp;

use crate::error::Noun;
use crate::id::{CallerId, TokenId};
use crate::word::words;

/// Who changes something. Without a token it is the server itself: a command on its own machine, or what it does by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Author {
    /// The token that was shown.
    pub token: Option<TokenId>,
    /// Whose it is.
    pub caller: Option<CallerId>,
    /// The address the request came from.
    pub from: Option<IpAddr>,
    /// The same, where it is the client's own and not that of a proxy which did not say for whom it asks.
    pub client: Option<IpAddr>,
}

thread_local! {
    static AUTHOR: Cell<Author> = const { Cell::new(Author::SERVER) };
}

impl Author {
    /// The server itself.
    pub const SERVER: Self = Self { token: None, caller: None, from: None, client: None };

    /// On whose behalf the work is done that asks. Whoever hands work on to another task says it there again.
    pub fn current() -> Self {
        AUTHOR.get()
    }

    /// Does work on behalf of this author.
    pub fn during<F: Future + Unpin>(self, work: F) -> During<F> {
        During { author: self, work }
    }
}

/// Work that is done on behalf of somebody.
#[derive(Debug)]
pub struct During<F> {
    author: Author,
    work: F,
}

/// Puts back who it was before, also when the work panics.
struct Before(Author);

impl Drop for Before {
    fn drop(&mut self) {
        AUTHOR.set(self.0);
    }
}

impl<F: Future + Unpin> Future for During<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let _before = Before(AUTHOR.replace(self.author));
        Pin::new(&mut self.work).poll(context)
    }
}

words! {
    /// What was done to a thing.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub enum Deed {
        /// It was made.
        Made => "made",
        /// Something of it was changed.
        Changed => "changed",
        /// It was removed.
        Removed => "removed",
        /// It, or its credentials, were ended.
        Ended => "ended",
        /// It is not served any more.
        Suspended => "suspended",
        /// It is served again.
        Activated => "activated",
        /// What it asks for was granted.
        Approved => "approved",
        /// What it asks for was refused.
        Denied => "denied",
        /// It was taken back.
        Cancelled => "cancelled",
    }
}

/// A change of the registry, as the ledger keeps it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// Where it stands in the ledger.
    pub place: Place,
    /// When it was made.
    pub at: Timestamp,
    /// Who made it.
    pub by: Author,
    /// What was done, one of [`Deed`]'s words.
    pub deed: Box<str>,
    /// To what kind of thing, one of [`Noun`]'s words.
    pub noun: Box<str>,
    /// Its id, or its name where that is what it is known by.
    pub id: Box<str>,
    /// What else there is to say without a secret: its name, or what was changed of it.
    pub about: Box<str>,
}

/// A place in the ledger.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Place {
    /// The page.
    pub page: u64,
    /// The entry in it.
    pub entry: u32,
}

/// Which changes are asked for, the newest first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ChangeFilter {
    /// Only those made since.
    pub since: Option<Timestamp>,
    /// Only those before a place, to turn the page.
    pub before: Option<Place>,
    /// Only those of a kind of thing.
    pub noun: Option<Noun>,
    /// Only those that this caller made.
    pub by: Option<CallerId>,
    /// The most to answer with.
    pub limit: u32,
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn author(n: u8) -> Author {
        Author { token: Some(TokenId::from_bytes([n; 16])), ..Author::SERVER }
    }

    #[test]
    fn work_knows_on_whose_behalf_it_is_done_and_nobody_else_does() {
        let mut context = Context::from_waker(Waker::noop());
        let asks = || Box::pin(async { Author::current() });
        let mut outer = Box::pin(author(1).during(Box::pin(async move {
            let inner = author(2).during(asks()).await;
            (inner, Author::current())
        })));
        assert_eq!(outer.as_mut().poll(&mut context), Poll::Ready((author(2), author(1))));
        assert_eq!(Author::current(), Author::SERVER);
        let panics = std::panic::catch_unwind(|| {
            let mut context = Context::from_waker(Waker::noop());
            let mut work = Box::pin(author(3).during(Box::pin(async { panic!("on purpose") })));
            let _: Poll<()> = work.as_mut().poll(&mut context);
        });
        assert!(panics.is_err());
        assert_eq!(Author::current(), Author::SERVER);
    }
}
