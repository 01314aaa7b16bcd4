//! A value that must not be seen: no `Display`, no `Serialize`, no `PartialEq`; `Debug` shows stars; wiped on drop.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// A secret. [`Secret::reveal`] is the only way to its value, and grepping for it is the audit.
#[derive(Clone)]
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Hides a value.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// Shows the value: for the response of the one request that made it, for signing and for hashing.
    pub fn reveal(&self) -> &T {
        &self.0
    }
}

impl Secret<String> {
    /// Compares with another secret without telling by the time taken where they differ.
    pub fn ct_eq(&self, other: &str) -> bool {
        self.0.as_bytes().ct_eq(other.as_bytes()).into()
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}
