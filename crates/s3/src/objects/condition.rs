//! Under which conditions an object is read or written: what RFC 9110, section 13 calls preconditions, held against what is there.

use jiff::Timestamp;

/// Entity tags as a condition lists them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Tags {
    /// `*`: any object there is.
    Any,
    /// One of these.
    Of(Vec<Tag>),
}

/// An entity tag of a condition, without its quotes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Tag {
    pub(crate) value: Box<str>,
    pub(crate) weak: bool,
}

impl Tags {
    /// Reads a header's value: `*`, or a list. A tag without quotes is one too, as S3 has it.
    pub(crate) fn parse(text: &str) -> Self {
        if text.trim() == "*" {
            return Self::Any;
        }
        let (mut tags, mut rest) = (Vec::new(), text);
        loop {
            rest = rest.trim_start_matches([' ', '\t', ',']);
            if rest.is_empty() {
                return Self::Of(tags);
            }
            let (weak, tag) = rest.strip_prefix("W/").map_or((false, rest), |tag| (true, tag));
            let (value, behind) = match tag.strip_prefix('"') {
                Some(tag) => tag.split_once('"').unwrap_or((tag, "")),
                None => tag.split_once(',').unwrap_or((tag, "")),
            };
            tags.push(Tag { value: value.trim_end().into(), weak });
            rest = behind;
        }
    }

    /// RFC 9110, section 8.8.3.2: a weak tag is equal to none where the comparison is strong.
    fn has(&self, etag: &str, strong: bool) -> bool {
        match self {
            Self::Any => true,
            Self::Of(tags) => tags.iter().any(|tag| *tag.value == *etag && !(strong && tag.weak)),
        }
    }
}

/// What is there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Existing<'a> {
    pub(crate) etag: &'a str,
    pub(crate) modified: Timestamp,
}

/// One of the four conditions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    Match,
    NoneMatch,
    ModifiedSince,
    UnmodifiedSince,
}

impl Part {
    /// Its header, as refusals name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Match => "If-Match",
            Self::NoneMatch => "If-None-Match",
            Self::ModifiedSince => "If-Modified-Since",
            Self::UnmodifiedSince => "If-Unmodified-Since",
        }
    }
}

/// What must be true of the object there is. Of a write it is decided inside the change's transaction.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Condition {
    /// `If-Match`.
    pub(crate) is: Option<Tags>,
    /// `If-None-Match`.
    pub(crate) is_not: Option<Tags>,
    /// `If-Modified-Since`, in whole seconds.
    pub(crate) modified_since: Option<Timestamp>,
    /// `If-Unmodified-Since`, in whole seconds.
    pub(crate) unmodified_since: Option<Timestamp>,
}

/// Why a conditional change did not happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Clash {
    /// This condition does not hold.
    Failed(Part),
    /// The condition is about an object that is not there.
    Missing,
    /// The account keeps as many objects as it may.
    Quota,
}

/// Why an object is not read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unread {
    /// This condition does not hold.
    Failed(Part),
    /// Who asks has it already.
    NotModified(Part),
}

impl Condition {
    /// The object has this entity tag.
    pub(crate) fn etag(etag: &str) -> Self {
        let tag = Tag { value: etag.into(), weak: false };
        Self { is: Some(Tags::Of(vec![tag])), ..Self::default() }
    }

    /// Whether there is no condition.
    pub(crate) fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether all it says is that there is no object (`If-None-Match: *`).
    pub(crate) fn is_absent(&self) -> bool {
        *self == Self { is_not: Some(Tags::Any), ..Self::default() }
    }

    /// The first of the conditions; for a store that only says that something did not hold.
    pub(crate) fn first(&self) -> Part {
        let Self { is, is_not, modified_since, unmodified_since: _ } = self;
        match (is, is_not, modified_since) {
            (Some(_), _, _) => Part::Match,
            (None, Some(_), _) => Part::NoneMatch,
            (None, None, Some(_)) => Part::ModifiedSince,
            (None, None, None) => Part::UnmodifiedSince,
        }
    }

    fn failing(&self, existing: Existing<'_>) -> impl Iterator<Item = Part> {
        let Self { is, is_not, modified_since, unmodified_since } = self;
        let modified = existing.modified.as_second();
        let failing = [
            (Part::Match, is.as_ref().is_some_and(|tags| !tags.has(existing.etag, true))),
            (Part::NoneMatch, is_not.as_ref().is_some_and(|tags| tags.has(existing.etag, false))),
            (Part::ModifiedSince, modified_since.is_some_and(|since| modified <= since.as_second())),
            (Part::UnmodifiedSince, unmodified_since.is_some_and(|since| modified > since.as_second())),
        ];
        failing.into_iter().filter(|(_, fails)| *fails).map(|(part, _)| part)
    }

    /// Holds the conditions of a write against what is there: every one that was named has to hold.
    pub(crate) fn check(&self, existing: Option<Existing<'_>>) -> Result<(), Clash> {
        match existing {
            None if self.is.is_some() => Err(Clash::Missing),
            None => Ok(()),
            Some(existing) => self.failing(existing).next().map_or(Ok(()), |part| Err(Clash::Failed(part))),
        }
    }

    /// Holds the conditions of a reader against what is there, by the order of RFC 9110, section 13.2.2: a condition on tags
    /// stands in for the one on time.
    pub(crate) fn check_read(&self, existing: Existing<'_>) -> Result<(), Unread> {
        let mut failing = self.failing(existing).filter(|part| match part {
            Part::Match | Part::NoneMatch => true,
            Part::ModifiedSince => self.is_not.is_none(),
            Part::UnmodifiedSince => self.is.is_none(),
        });
        let failing: Vec<Part> = failing.by_ref().collect();
        let of = |wanted: [Part; 2]| failing.iter().copied().find(|part| wanted.contains(part));
        match (of([Part::Match, Part::UnmodifiedSince]), of([Part::NoneMatch, Part::ModifiedSince])) {
            (Some(part), _) => Err(Unread::Failed(part)),
            (None, Some(part)) => Err(Unread::NotModified(part)),
            (None, None) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(values: &[(&str, bool)]) -> Tags {
        Tags::Of(values.iter().map(|(value, weak)| Tag { value: (*value).into(), weak: *weak }).collect())
    }

    #[test]
    fn tags_are_read_in_every_form() {
        assert_eq!(Tags::parse(" * "), Tags::Any);
        assert_eq!(Tags::parse("\"a\""), tags(&[("a", false)]));
        assert_eq!(Tags::parse("a"), tags(&[("a", false)]));
        assert_eq!(Tags::parse("\"a,b\" , W/\"c\",d"), tags(&[("a,b", false), ("c", true), ("d", false)]));
        assert_eq!(Tags::parse("\"open"), tags(&[("open", false)]));
        assert_eq!(Tags::parse(""), tags(&[]));
    }

    #[test]
    fn an_empty_list_of_tags_opens_nothing() {
        let existing = Existing { etag: "e", modified: Timestamp::UNIX_EPOCH };
        let none = Condition { is: Some(tags(&[])), ..Condition::default() };
        assert_eq!(none.check(Some(existing)), Err(Clash::Failed(Part::Match)));
    }

    #[test]
    fn a_write_asks_for_all_and_a_reader_for_the_stronger() {
        let existing = Existing { etag: "e", modified: Timestamp::from_second(1000).unwrap() };
        let (before, after) = (Timestamp::from_second(999).ok(), Timestamp::from_second(1000).ok());
        let both = Condition { is: Some(tags(&[("e", false)])), unmodified_since: before, ..Condition::default() };
        assert_eq!(both.check(Some(existing)), Err(Clash::Failed(Part::UnmodifiedSince)));
        assert_eq!(both.check_read(existing), Ok(()));
        let both = Condition { is_not: Some(tags(&[("x", false)])), modified_since: after, ..Condition::default() };
        assert_eq!(both.check(Some(existing)), Err(Clash::Failed(Part::ModifiedSince)));
        assert_eq!(both.check_read(existing), Ok(()));
        let since = Condition { modified_since: after, ..Condition::default() };
        assert_eq!(since.check_read(existing), Err(Unread::NotModified(Part::ModifiedSince)));
        let weak = Condition { is: Some(tags(&[("e", true)])), ..Condition::default() };
        assert_eq!(weak.check_read(existing), Err(Unread::Failed(Part::Match)));
        let weak = Condition { is_not: Some(tags(&[("e", true)])), ..Condition::default() };
        assert_eq!(weak.check_read(existing), Err(Unread::NotModified(Part::NoneMatch)));
        assert_eq!(weak.check(None), Ok(()));
        assert_eq!(Condition::etag("e").check(None), Err(Clash::Missing));
    }
}
