//! From when to when a certificate counts: read out of its DER, of which nothing else is looked at.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// When a certificate counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Validity {
    /// From then on.
    pub(crate) from: Timestamp,
    /// Until then.
    pub(crate) until: Timestamp,
}

impl Validity {
    /// When all of some count; nothing of none.
    pub(crate) fn of_all(some: Vec<Self>) -> Option<Self> {
        some.into_iter().reduce(|one, two| Self { from: one.from.max(two.from), until: one.until.min(two.until) })
    }
}

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The next element: its tag, its content, and what is behind it (X.690, sections 8.1.2 and 8.1.3).
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, mut rest) = rest.split_first()?;
    let length = match first {
        0..=0x7f => usize::from(*first),
        // The long form; four bytes of length are more than any certificate needs, and 0x80 is not DER.
        long if matches!(long & 0x7f, 1..=4) => {
            let mut length = 0usize;
            for _ in 0..(long & 0x7f) {
                let (byte, behind) = rest.split_first()?;
                length = (length << 8) | usize::from(*byte);
                rest = behind;
            }
            length
        }
        _ => return None,
    };
    let (content, behind) = rest.split_at_checked(length)?;
    Some((*tag, content, behind))
}

fn sequence(der: &[u8]) -> Option<(&[u8], &[u8])> {
    element(der).filter(|(tag, ..)| *tag == SEQUENCE).map(|(_, content, behind)| (content, behind))
}

/// An instant, of which RFC 5280 (section 4.1.2.5) allows one way to write it in each form.
fn instant(der: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (tag, content, behind) = element(der)?;
    let text = std::str::from_utf8(content).ok()?.strip_suffix('Z')?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = text.split_at_checked(2)?;
            let year: i16 = year.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = text.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    if rest.len() != 10 || !rest.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = |at: usize| rest.get(at..at + 2)?.parse::<i8>().ok();
    let time = DateTime::new(year, part(0)?, part(2)?, part(4)?, part(6)?, part(8)?, 0).ok()?;
    Some((time.to_zoned(TimeZone::UTC).ok()?.timestamp(), behind))
}

/// When a certificate counts (RFC 5280, section 4.1); nothing if it cannot be read as one.
pub(crate) fn of(certificate: &[u8]) -> Option<Validity> {
    let (certificate, _) = sequence(certificate)?;
    let (mut rest, _) = sequence(certificate)?;
    let (tag, _, behind) = element(rest)?;
    if tag == VERSION {
        rest = behind;
    }
    // The serial number, how it is signed, and by whom.
    for _ in 0..3 {
        (_, _, rest) = element(rest)?;
    }
    let (validity, _) = sequence(rest)?;
    let (from, behind) = instant(validity)?;
    let (until, _) = instant(behind)?;
    Some(Validity { from, until })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(from: (i32, u8, u8), until: (i32, u8, u8)) -> Vec<u8> {
        let mut parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        parameters.not_before = rcgen::date_time_ymd(from.0, from.1, from.2);
        parameters.not_after = rcgen::date_time_ymd(until.0, until.1, until.2);
        let key = rcgen::KeyPair::generate().unwrap();
        parameters.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn the_dates_are_read_in_both_forms() {
        for (from, until, wanted) in [
            ((2026, 1, 2), (2027, 3, 4), ("2026-01-02T00:00:00Z", "2027-03-04T00:00:00Z")),
            ((1999, 12, 31), (2061, 1, 1), ("1999-12-31T00:00:00Z", "2061-01-01T00:00:00Z")),
        ] {
            let read = of(&certificate(from, until)).unwrap();
            assert_eq!((read.from.to_string().as_str(), read.until.to_string().as_str()), wanted);
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_dates() {
        let good = certificate((2026, 1, 1), (2027, 1, 1));
        for cut in 0..200 {
            assert_eq!(of(&good[..cut]), None);
        }
        assert_eq!(of(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
        assert_eq!(of(&[0x30, 0x80]), None);
        assert_eq!(instant(b"\x17\x0d269901000000Z"), None);
        assert_eq!(instant(b"\x17\x0d2601010000+0Z"), None);
    }
}
