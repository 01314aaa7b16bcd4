//! The operations that a credential may be narrowed to by name, as Cloudflare names them.

use crate::error::{Error, Kind};
use crate::scope::{Action, Actions};

/// Each operation by the name published for it, with what it needs.
/// Source: developers.cloudflare.com/r2/api/s3/temporary-credentials, "Actions".
const ALL: [(&str, &[Action]); 17] = [
    ("HeadObject", &[Action::GetObject]),
    ("GetObject", &[Action::GetObject]),
    ("GetBucketLocation", &[Action::GetBucketInfo]),
    ("ListObjectsV1", &[Action::ListBucket]),
    ("ListObjectsV2", &[Action::ListBucket]),
    ("ListMultipartUploads", &[Action::ListUploads]),
    ("ListParts", &[Action::MultipartUpload]),
    ("PutObject", &[Action::PutObject]),
    ("DeleteObject", &[Action::DeleteObject]),
    ("DeleteObjects", &[Action::DeleteObject]),
    ("CopyObject", &[Action::PutObject, Action::GetObject]),
    ("CreateMultipartUpload", &[Action::MultipartUpload]),
    ("UploadPart", &[Action::MultipartUpload]),
    ("UploadPartCopy", &[Action::MultipartUpload, Action::GetObject]),
    ("AbortMultipartUpload", &[Action::AbortUpload]),
    ("CompleteMultipartUpload", &[Action::MultipartUpload]),
    // Not published; known here so that it can be asked for by the name the S3 API has for it.
    ("HeadBucket", &[Action::GetBucketInfo]),
];

/// What an upload in parts takes at least.
const PARTS: [&str; 3] = ["CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"];
const OF_PARTS: &str = "`CreateMultipartUpload`, `UploadPart` and `CompleteMultipartUpload`";

/// A set of operations; never empty.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Operations(u32);

impl Operations {
    /// Reads their names.
    ///
    /// # Errors
    /// `Invalid` when there is none, or one is unknown: it is never left out in silence.
    pub fn parse<'n>(names: impl IntoIterator<Item = &'n str>) -> Result<Self, Error> {
        let mut set = 0;
        for name in names {
            let at = ALL.iter().position(|(known, _)| *known == name).ok_or_else(|| {
                let shown = crate::name::shortened(name);
                Error::new(Kind::Invalid, format!("`{shown}` is not an operation that a credential can be narrowed to"))
            })?;
            set |= 1 << at;
        }
        if set == 0 {
            return Err(Error::new(Kind::Invalid, "no operation was given; leave the list out to narrow nothing"));
        }
        Ok(Self(set))
    }

    /// The set as a number.
    pub const fn bits(self) -> u32 {
        self.0
    }

    fn has(self, name: &str) -> bool {
        ALL.iter().enumerate().any(|(at, (known, _))| *known == name && self.0 & (1 << at) != 0)
    }

    /// Whether an operation of the S3 API, by the name it has there, is in the set.
    pub fn allow(self, operation: &str) -> bool {
        match operation {
            "ListObjects" => self.has("ListObjectsV1"),
            "HeadBucket" => self.has("HeadBucket") || self.has("GetBucketLocation"),
            other => self.has(other),
        }
    }

    /// Every action that one of them needs.
    pub fn needed(self) -> Actions {
        let own = ALL.iter().enumerate().filter(|(at, _)| self.0 & (1 << at) != 0);
        own.flat_map(|(_, (_, needs))| needs.iter()).fold(Actions::NONE, |sum, action| sum.with(*action))
    }

    /// The actions that allow these operations and no others, for credentials that know actions only.
    ///
    /// # Errors
    /// `Invalid` when there are none: an action would allow an operation that is not in the set. What an operation can be put
    /// together of (a copy of a read and a write) counts as in it.
    pub fn as_actions(self) -> Result<Actions, Error> {
        let apart = |name: &str, needed: &str| {
            Error::new(Kind::Invalid, format!("`{name}` cannot be allowed without {needed}; name them too"))
        };
        let with = |name: &str, others: &[&str], needed: &str| {
            if self.has(name) && !others.iter().all(|other| self.has(other)) {
                Err(apart(name, needed))
            } else {
                Ok(())
            }
        };
        with("HeadObject", &["GetObject"], "`GetObject`")?;
        with("CopyObject", &["GetObject", "PutObject"], "`GetObject` and `PutObject`")?;
        with("UploadPartCopy", &["GetObject"], "`GetObject`")?;
        for name in PARTS.into_iter().chain(["ListParts", "UploadPartCopy"]) {
            with(name, &PARTS, OF_PARTS)?;
        }
        Ok(self.needed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_known_by_name() {
        let set = Operations::parse(["GetObject", "ListObjectsV1", "GetBucketLocation"]).unwrap();
        for (name, allowed) in [
            ("GetObject", true),
            ("HeadObject", false),
            ("ListObjects", true),
            ("ListObjectsV2", false),
            ("HeadBucket", true),
            ("CreateBucket", false),
            ("GetBucketCors", false),
        ] {
            assert_eq!(set.allow(name), allowed, "{name}");
        }
        assert_eq!(set.needed(), Actions::READ);
        assert!(Operations::parse(["GetObject", "getobject"]).is_err());
        assert!(Operations::parse([]).is_err());
    }

    #[test]
    fn actions_never_allow_more_than_the_operations() {
        let of = |names: &[&'static str]| Operations::parse(names.iter().copied()).unwrap().as_actions();
        assert_eq!(of(&["GetObject"]).unwrap(), Actions::of(&[Action::GetObject]));
        assert_eq!(
            of(&["GetObject", "HeadObject", "PutObject"]).unwrap(),
            Actions::of(&[Action::GetObject, Action::PutObject])
        );
        for bad in [&["HeadObject"][..], &["CopyObject"], &["UploadPart"], &["ListParts"], &["CopyObject", "PutObject"]]
        {
            assert!(of(bad).is_err(), "{bad:?}");
        }
        let parts = ["CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "ListParts"];
        assert_eq!(of(&parts).unwrap(), Actions::of(&[Action::MultipartUpload]));
    }
}
