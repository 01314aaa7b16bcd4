//! What a credential may do: a set of actions, not a boolean.

use std::fmt;

use crate::word::words;

words! {
    /// One thing a request can do to a bucket or a key.
    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
    #[repr(u8)]
    pub enum Action {
        /// Read an object or its metadata (`GetObject`, `HeadObject`, the source of a copy).
        GetObject = 0 => "get-object",
        /// List keys (`ListObjects`, `ListObjectsV2`).
        ListBucket = 1 => "list-bucket",
        /// Write an object (`PutObject`, the target of a copy).
        PutObject = 2 => "put-object",
        /// Delete an object.
        DeleteObject = 3 => "delete-object",
        /// Write an object in parts (create, upload, complete, list one's own parts).
        MultipartUpload = 4 => "multipart-upload",
        /// Abort an unfinished upload.
        AbortUpload = 5 => "abort-upload",
        /// List a bucket's unfinished uploads.
        ListUploads = 6 => "list-uploads",
        /// Learn that the bucket exists and where (`HeadBucket`, `GetBucketLocation`).
        GetBucketInfo = 7 => "get-bucket-info",
        /// Read a bucket's configuration.
        GetBucketConfig = 8 => "get-bucket-config",
        /// Change a bucket's configuration.
        PutBucketConfig = 9 => "put-bucket-config",
    }
}

impl Action {
    const fn bit(self) -> u16 {
        1 << (self as u16)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of actions.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Actions(u16);

impl Actions {
    /// No action.
    pub const NONE: Self = Self(0);

    /// Read and list, and learn that the bucket exists.
    pub const READ: Self = Self(Action::GetObject.bit() | Action::ListBucket.bit() | Action::GetBucketInfo.bit());

    /// Write, whole or in parts, and abort; neither read nor delete.
    pub const WRITE: Self = Self(Action::PutObject.bit() | Action::MultipartUpload.bit() | Action::AbortUpload.bit());

    /// Everything one does with objects: read, list, write, delete.
    pub const READ_WRITE: Self =
        Self(Self::READ.0 | Self::WRITE.0 | Action::DeleteObject.bit() | Action::ListUploads.bit());

    /// The set of the actions given.
    pub fn of(actions: &[Action]) -> Self {
        actions.iter().fold(Self::NONE, |sum, action| sum.with(*action))
    }

    /// This set and one more action.
    #[must_use]
    pub const fn with(self, action: Action) -> Self {
        Self(self.0 | action.bit())
    }

    /// This set without one action.
    #[must_use]
    pub const fn without(self, action: Action) -> Self {
        Self(self.0 & !action.bit())
    }

    /// Whether there is nothing in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether the action is in it.
    pub const fn contains(self, action: Action) -> bool {
        self.0 & action.bit() != 0
    }

    /// Whether all the other's actions are in it.
    pub const fn contains_all(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The actions in both.
    #[must_use]
    pub const fn intersect(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The actions in either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The actions, in order.
    pub fn iter(self) -> impl Iterator<Item = Action> {
        Action::ALL.into_iter().filter(move |action| self.contains(*action))
    }

    /// The set as a number, to store.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Takes the stored number back; nothing if a bit in it is unknown (a newer version wrote it).
    pub fn from_bits(bits: u16) -> Option<Self> {
        let known = Action::ALL.into_iter().fold(0, |sum, action| sum | action.bit());
        (bits & !known == 0).then_some(Self(bits))
    }
}

impl fmt::Debug for Actions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Actions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, action) in self.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            f.write_str(action.as_str())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_bits_are_not_a_set() {
        assert_eq!(Actions::from_bits(0b11), Some(Actions::of(&[Action::GetObject, Action::ListBucket])));
        assert_eq!(Actions::from_bits(1 << 15), None);
    }

    #[test]
    fn read_cannot_write() {
        assert!(Actions::READ.intersect(Actions::WRITE).is_empty());
        assert!(Actions::READ_WRITE.contains_all(Actions::READ.union(Actions::WRITE)));
        assert!(!Actions::READ_WRITE.contains(Action::PutBucketConfig));
    }
}
