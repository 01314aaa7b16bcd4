//! Which chain of the ledger a page is on. Each node has a chain of its own, so that none waits for another; a file of SQLite has one.
//!
//! The number of a page tells its chain: the first page of a chain follows the number that is the chain's times 2^40. That many pages
//! are a thousand a second for thirty years.

/// The bits of a page's number that are not its chain's.
const BITS: u32 = 40;

/// A chain, by its number from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub(crate) struct Chain(i64);

impl Chain {
    /// The most there are: page numbers stay below 2^53, which every client of the API can tell apart.
    pub(crate) const MOST: i64 = 4096;

    pub(crate) const fn new(number: i64) -> Self {
        Self(number)
    }

    pub(crate) const fn number(self) -> i64 {
        self.0
    }

    /// What its rows are found by.
    pub(crate) const fn row(self) -> i64 {
        self.0 + 1
    }

    pub(crate) const fn of_row(row: i64) -> Self {
        Self(row - 1)
    }

    /// The chain of a page.
    pub(crate) const fn of_page(seq: i64) -> Self {
        // The last number of a chain is never used: its next one is the number before the first page of the next chain.
        Self((seq - 1) >> BITS)
    }

    /// The number before its first page.
    pub(crate) const fn before(self) -> i64 {
        self.0 << BITS
    }

    /// The first number that is not one of its pages any more.
    pub(crate) const fn beyond(self) -> i64 {
        ((self.0 + 1) << BITS) + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_tells_its_chain() {
        for number in [0, 1, 2, Chain::MOST - 1] {
            let chain = Chain::new(number);
            assert_eq!(Chain::of_row(chain.row()), chain);
            assert_eq!(Chain::of_page(chain.before() + 1), chain);
            assert_eq!(Chain::of_page(chain.beyond() - 1), chain);
            assert_eq!(Chain::of_page(chain.beyond()), Chain::new(number + 1));
            assert!(chain.beyond() < 1 << 53);
        }
        assert_eq!(Chain::default().before(), 0);
    }
}
