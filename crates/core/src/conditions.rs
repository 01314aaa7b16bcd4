//! What has to hold besides for a grant to open anything. Conditions only narrow: a grant whose conditions do not hold is as good as not
//! there, and what is not known of a request does not hold.

use std::fmt;
use std::net::IpAddr;

use jiff::Timestamp;

use crate::audit::Author;
use crate::claims::{Condition, Identity, Wanted};
use crate::error::{Error, Kind};
use crate::field::Attribute;
use crate::group::ByClaim;
use crate::id::ProviderId;
use crate::name::shortened;
use crate::network::Network;
use crate::word::words;

/// What is known of a request besides who asks.
#[derive(Clone, Copy, Default)]
pub struct Facts<'a> {
    /// The client's own address: a trusted proxy's word, or the connection's.
    pub from: Option<IpAddr>,
    /// What the client calls its session, where the API has a field for that.
    pub session_name: Option<&'a str>,
    /// What the client was told to show, where the API has a field for that.
    pub external_id: Option<&'a str>,
}

impl Facts<'_> {
    /// What is known of the request that is being answered.
    pub fn here() -> Self {
        Self { from: Author::current().client, ..Self::default() }
    }
}

/// What the client shows is nobody else's matter.
impl fmt::Debug for Facts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, session_name, external_id } = self;
        f.debug_struct("Facts")
            .field("from", from)
            .field("session_name", session_name)
            .field("external_id", &external_id.map(|_| ".."))
            .finish()
    }
}

/// The most entries of one kind of condition: each is looked at whenever the grant could decide.
pub const MOST: usize = 64;

/// Minutes of a day.
const DAY: u16 = 24 * 60;

/// The days of a week, as hours name them. The first is the first of a range.
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// Every day, as bits.
const DAILY: u8 = 0x7f;

/// Hours of days, in UTC: `mon-fri 08:00-18:00`. Those that end no later than they begin end on the next day.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hours {
    days: u8,
    from: u16,
    to: u16,
}

impl Hours {
    /// Reads hours.
    ///
    /// # Errors
    /// `Invalid`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let refused = || {
            let said = "are not hours; write days and times in UTC, as in `mon-fri 08:00-18:00`, `sat,sun 00:00-24:00` or \
                        `daily 22:00-06:00`";
            Error::new(Kind::Invalid, format!("`{}` {said}", shortened(text)))
        };
        let (days, times) = text.split_once(' ').ok_or_else(refused)?;
        let (from, to) = times.split_once('-').ok_or_else(refused)?;
        let (from, to) = (minute(from).ok_or_else(refused)?, minute(to).ok_or_else(refused)?);
        let days = days_of(days).ok_or_else(refused)?;
        if from == DAY || to == 0 || from == to {
            return Err(refused());
        }
        Ok(Self { days, from, to })
    }

    /// When the hours end that an instant is in, both in seconds since 1970.
    fn end_at(self, secs: i64) -> Option<i64> {
        let today = secs.div_euclid(86_400);
        let over = if self.to <= self.from { i64::from(DAY) } else { 0 };
        [today, today - 1].into_iter().find_map(|day| {
            // The first day of 1970 was a Thursday.
            let weekday = u8::try_from((day + 3).rem_euclid(7));
            let own = weekday.is_ok_and(|weekday| self.days >> weekday & 1 == 1);
            let start = day * 86_400 + i64::from(self.from) * 60;
            let end = day * 86_400 + (i64::from(self.to) + over) * 60;
            (own && (start..end).contains(&secs)).then_some(end)
        })
    }
}

/// A time of day, as minutes.
fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let two = |text: &str| {
        let plain = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|_| plain)
    };
    let (hour, minute) = (two(hour)?, two(minute)?);
    (minute < 60).then_some(hour * 60 + minute).filter(|all| *all <= DAY)
}

/// Days as bits: `mon-fri`, `sat,sun`, `daily`.
fn days_of(text: &str) -> Option<u8> {
    if text == "daily" {
        return Some(DAILY);
    }
    let number = |text: &str| DAYS.iter().position(|day| *day == text);
    text.split(',').try_fold(0, |all, part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        (first <= last).then(|| (first..=last).fold(all, |all, day| all | 1 << day))
    })
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on = |day: usize| day < 7 && self.days >> day & 1 == 1;
        if self.days == DAILY {
            f.write_str("daily")?;
        } else {
            let mut before = "";
            for (first, name) in DAYS.iter().enumerate().filter(|(day, _)| on(*day) && (*day == 0 || !on(*day - 1))) {
                let last = (first..7).take_while(|day| on(*day)).last().unwrap_or(first);
                write!(f, "{before}{name}")?;
                if let Some(end) = DAYS.get(last).filter(|_| last > first) {
                    write!(f, "-{end}")?;
                }
                before = ",";
            }
        }
        let Self { days: _, from, to } = self;
        write!(f, " {:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60)
    }
}

words! {
    /// Whether a condition holds.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub enum Held {
        /// It does.
        Holds => "holds",
        /// It does not.
        Fails => "fails",
        /// What it is about is not known of the request: so it does not hold.
        Unknown => "unknown",
    }
}

impl Held {
    fn of(known: Option<bool>) -> Self {
        match known {
            Some(true) => Self::Holds,
            Some(false) => Self::Fails,
            None => Self::Unknown,
        }
    }
}

/// A condition, and whether it holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Judged {
    /// The condition in words. What a client was told to show is not in it.
    pub said: String,
    /// Whether it holds.
    pub held: Held,
}

/// The conditions of a grant: all have to hold; of several entries of one kind, any.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Conditions {
    /// It is asked for from one of these networks.
    pub networks: Vec<Network>,
    /// It is asked for at one of these hours; no credential outlives them.
    pub hours: Vec<Hours>,
    /// The caller's identity token claims this.
    pub claims: Option<ByClaim>,
    /// The client calls its session so.
    pub session_names: Vec<Wanted>,
    /// The client shows one of these.
    pub external_ids: Vec<Box<str>>,
}

/// Without what a client has to show.
impl fmt::Debug for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, self.external_ids.join("\n").as_bytes());
        let Self { networks, hours, claims, session_names, external_ids: _ } = self;
        f.debug_struct("Conditions")
            .field("networks", networks)
            .field("hours", hours)
            .field("claims", claims)
            .field("session_names", session_names)
            .field("external_ids", &data_encoding::HEXLOWER.encode(digest.as_ref()))
            .finish()
    }
}

fn invalid(said: impl Into<String>) -> Error {
    Error::new(Kind::Invalid, said.into()).at(Attribute::Conditions)
}

fn listed<T: fmt::Display>(all: &[T]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl Conditions {
    /// Refuses conditions that are none, and too many.
    ///
    /// # Errors
    /// `Invalid`.
    pub fn check(&self) -> Result<(), Error> {
        let Self { networks, hours, claims, session_names, external_ids } = self;
        if *self == Self::default() {
            return Err(invalid("conditions that ask for nothing; leave them out"));
        }
        let claims = claims.as_ref().map(|by| by.conditions.len());
        if claims == Some(0) {
            return Err(invalid("a condition on claims names at least one, as in `ref=refs/heads/main`"));
        }
        let counts = [networks.len(), hours.len(), claims.unwrap_or(0), session_names.len(), external_ids.len()];
        if counts.into_iter().any(|count| count > MOST) {
            return Err(invalid(format!("a grant has at most {MOST} conditions of one kind")));
        }
        for id in external_ids {
            // As AWS has them.
            let plain = |char: char| char.is_ascii_alphanumeric() || "+=,.@:/-_".contains(char);
            if !(2..=1224).contains(&id.len()) || !id.chars().all(plain) {
                return Err(invalid("an external id has 2 to 1224 letters, digits or any of `+=,.@:/-_`"));
            }
        }
        Ok(())
    }

    /// Each kind that is asked for: its words, if they are wanted, and whether it holds.
    fn each(&self, identity: Option<&Identity>, facts: &Facts<'_>, now: Timestamp) -> [Option<Held>; 5] {
        let Self { networks, hours, claims, session_names, external_ids } = self;
        let asked = |asked: bool, known: Option<bool>| asked.then(|| Held::of(known));
        let network = facts.from.map(|from| networks.iter().any(|one| one.holds(from)));
        let hour = Some(hours.iter().any(|one| one.end_at(now.as_second()).is_some()));
        let claim = claims.as_ref().and_then(|by| {
            let admits =
                |own: &Identity| own.provider == by.provider && Condition::all_hold(&by.conditions, &own.claims);
            identity.map(admits)
        });
        let session = facts.session_name.map(|name| session_names.iter().any(|one| one.is(name)));
        let equal = |one: &str, two: &str| {
            aws_lc_rs::constant_time::verify_slices_are_equal(one.as_bytes(), two.as_bytes()).is_ok()
        };
        let external = facts.external_id.map(|shown| external_ids.iter().any(|one| equal(one, shown)));
        [
            asked(!networks.is_empty(), network),
            asked(!hours.is_empty(), hour),
            asked(claims.is_some(), claim),
            asked(!session_names.is_empty(), session),
            asked(!external_ids.is_empty(), external),
        ]
    }

    /// What of them is asked for, in words: nothing that a client has to show.
    pub fn said(&self) -> Vec<String> {
        self.words().into_iter().flatten().collect()
    }

    fn words(&self) -> [Option<String>; 5] {
        let Self { networks, hours, claims, session_names, external_ids } = self;
        let some = |count: usize, said: String| (count > 0).then_some(said);
        [
            some(networks.len(), format!("from {}", listed(networks))),
            some(hours.len(), format!("at {} UTC", listed(hours))),
            claims.as_ref().map(|by| format!("claims {}", listed(&by.conditions))),
            some(session_names.len(), format!("session name {}", listed(session_names))),
            some(external_ids.len(), "an external id".to_owned()),
        ]
    }

    /// Each condition, and whether it holds.
    pub fn judge(&self, identity: Option<&Identity>, facts: &Facts<'_>, now: Timestamp) -> Vec<Judged> {
        let each = self.each(identity, facts, now).into_iter().zip(self.words());
        each.filter_map(|(held, said)| Some(Judged { said: said?, held: held? })).collect()
    }

    /// Whether all of them hold.
    pub fn hold(&self, identity: Option<&Identity>, facts: &Facts<'_>, now: Timestamp) -> bool {
        self.each(identity, facts, now).into_iter().flatten().all(|held| held == Held::Holds)
    }

    /// Whether they could hold: nothing that is known is against it.
    pub fn may_hold(&self, identity: Option<&Identity>, facts: &Facts<'_>, now: Timestamp) -> bool {
        self.each(identity, facts, now).into_iter().flatten().all(|held| held != Held::Fails)
    }

    /// When its hours end that an instant is in: no credential outlives them. Nothing where they never do.
    pub fn ends(&self, now: Timestamp) -> Option<Timestamp> {
        // Each turn goes on by at least a minute, and whoever comes round a week comes round again.
        const ROUND: i64 = 8 * 86_400;
        let mut at = now.as_second();
        if self.hours.is_empty() {
            return None;
        }
        while let Some(end) = self.hours.iter().filter_map(|one| one.end_at(at)).max() {
            at = end;
            if at > now.as_second() + ROUND {
                return None;
            }
        }
        Timestamp::from_second(at).ok()
    }
}

impl Conditions {
    /// As one text, to store.
    pub fn to_text(&self) -> String {
        let Self { networks, hours, claims, session_names, external_ids } = self;
        let mut lines: Vec<String> = networks.iter().map(|one| format!("network {one}")).collect();
        lines.extend(hours.iter().map(|one| format!("hours {one}")));
        if let Some(by) = claims {
            lines.push(format!("provider {}", by.provider));
            lines.extend(by.conditions.iter().map(|one| format!("claim {one}")));
        }
        lines.extend(session_names.iter().map(|one| format!("session-name {one}")));
        lines.extend(external_ids.iter().map(|one| format!("external-id {one}")));
        lines.join("\n")
    }

    /// Takes that text back; nothing if there is a line in it that is not understood.
    pub fn of_text(text: &str) -> Option<Self> {
        let mut own = Self::default();
        for line in text.split('\n') {
            let (kind, rest) = line.split_once(' ')?;
            match kind {
                "network" => own.networks.push(Network::parse(rest).ok()?),
                "hours" => own.hours.push(Hours::parse(rest).ok()?),
                "provider" if own.claims.is_none() => {
                    let provider: ProviderId = rest.parse().ok()?;
                    own.claims = Some(ByClaim { provider, conditions: Vec::new() });
                }
                "claim" => own.claims.as_mut()?.conditions.push(Condition::parse(rest).ok()?),
                "session-name" => own.session_names.push(Wanted::parse(rest)?),
                "external-id" => own.external_ids.push(rest.into()),
                _ => return None,
            }
        }
        own.check().is_ok().then_some(own)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::claims::Claims;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn hours(all: &[&str]) -> Conditions {
        Conditions { hours: all.iter().map(|one| Hours::parse(one).unwrap()).collect(), ..Conditions::default() }
    }

    #[test]
    fn hours_are_read_back_and_hold_in_utc() {
        // 2026-11-30 was a Monday.
        for (text, written, inside, outside) in [
            ("mon-fri 08:00-18:00", "mon-fri 08:00-18:00", "2026-11-30T08:00:00Z", "2026-11-30T18:00:00Z"),
            ("mon,tue,wed 08:00-18:00", "mon-wed 08:00-18:00", "2026-12-02T17:59:59Z", "2026-12-03T09:00:00Z"),
            ("sat,sun 00:00-24:00", "sat-sun 00:00-24:00", "2026-12-05T00:00:00Z", "2026-12-07T00:00:00Z"),
            ("mon,wed-fri 00:00-24:00", "mon,wed-fri 00:00-24:00", "2026-12-04T23:59:59Z", "2026-12-01T10:00:00Z"),
            ("daily 22:00-06:00", "daily 22:00-06:00", "2026-11-30T05:59:59Z", "2026-11-30T06:00:00Z"),
            ("sun 22:00-06:00", "sun 22:00-06:00", "2026-11-30T03:00:00Z", "2026-11-30T22:30:00Z"),
        ] {
            let own = hours(&[text]);
            assert_eq!(own.hours[0].to_string(), written);
            assert_eq!(hours(&[written]), own);
            let facts = Facts::default();
            assert!(own.hold(None, &facts, at(inside)), "{text} at {inside}");
            assert!(!own.hold(None, &facts, at(outside)), "{text} at {outside}");
        }
        for bad in [
            "",
            "mon",
            "08:00-18:00",
            "mon 8:00-18:00",
            "mon 08:00",
            "mon 08:00-08:00",
            "mon 24:00-08:00",
            "mon 08:00-00:00",
            "mon 08:60-09:00",
            "mon 08:00-24:01",
            "fri-mon 08:00-18:00",
            "mon,,tue 08:00-18:00",
            "Mon 08:00-18:00",
            "mon  08:00-18:00",
            "mon 08:00-18:00 ",
            "mon 08:00-18:00 UTC",
            "mon +8:00-18:00",
            "day 08:00-18:00",
        ] {
            assert!(Hours::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_follows_on_hours_without_a_gap_is_one_time() {
        let monday = at("2026-11-30T10:00:00Z");
        assert_eq!(hours(&["mon-fri 08:00-18:00"]).ends(monday), Some(at("2026-11-30T18:00:00Z")));
        assert_eq!(hours(&["mon-fri 00:00-24:00"]).ends(monday), Some(at("2026-12-05T00:00:00Z")));
        assert_eq!(
            hours(&["mon 08:00-12:00", "mon 12:00-14:00", "tue 00:00-24:00"]).ends(monday),
            Some(at("2026-11-30T14:00:00Z"))
        );
        assert_eq!(hours(&["daily 00:00-24:00"]).ends(monday), None);
        assert_eq!(Conditions::default().ends(monday), None);
    }

    #[test]
    fn what_is_not_known_does_not_hold() {
        let provider = ProviderId::from_bytes([1; 16]);
        let conditions = |list: &[&str]| list.iter().map(|text| Condition::parse(text).unwrap()).collect::<Vec<_>>();
        let all = Conditions {
            networks: vec![Network::parse("10.0.0.0/8").unwrap(), Network::parse("2001:db8::/32").unwrap()],
            hours: vec![Hours::parse("mon-fri 08:00-18:00").unwrap()],
            claims: Some(ByClaim { provider, conditions: conditions(&["ref=refs/heads/main", "env=prod"]) }),
            session_names: vec![Wanted::parse("glob:ci-*").unwrap(), Wanted::parse("deploy").unwrap()],
            external_ids: vec!["told-you".into()],
        };
        all.check().unwrap();
        assert_eq!(Conditions::of_text(&all.to_text()), Some(all.clone()));
        assert!(!format!("{all:?} {:?}", all.said()).contains("told-you"));
        let identity = |provider, claims: &str| Identity { provider, claims: Claims::read(claims.as_bytes()).unwrap() };
        let main = identity(provider, r#"{"ref":"refs/heads/main","env":"prod"}"#);
        let facts = Facts {
            from: Some("10.1.2.3".parse().unwrap()),
            session_name: Some("ci-7"),
            external_id: Some("told-you"),
        };
        let monday = at("2026-11-30T10:00:00Z");
        assert!(all.hold(Some(&main), &facts, monday));
        let other = ProviderId::from_bytes([2; 16]);
        let same = identity(other, r#"{"ref":"refs/heads/main","env":"prod"}"#);
        let branch = identity(provider, r#"{"ref":"refs/heads/x","env":"prod"}"#);
        for (identity, facts, now, at, held) in [
            (Some(&main), Facts { from: None, ..facts }, monday, 0, Held::Unknown),
            (Some(&main), Facts { from: Some("11.0.0.1".parse().unwrap()), ..facts }, monday, 0, Held::Fails),
            (Some(&main), facts, at("2026-11-29T10:00:00Z"), 1, Held::Fails),
            (None, facts, monday, 2, Held::Unknown),
            (Some(&same), facts, monday, 2, Held::Fails),
            (Some(&branch), facts, monday, 2, Held::Fails),
            (Some(&main), Facts { session_name: None, ..facts }, monday, 3, Held::Unknown),
            (Some(&main), Facts { session_name: Some("cd-7"), ..facts }, monday, 3, Held::Fails),
            (Some(&main), Facts { external_id: None, ..facts }, monday, 4, Held::Unknown),
            (Some(&main), Facts { external_id: Some("told-yo"), ..facts }, monday, 4, Held::Fails),
        ] {
            let judged = all.judge(identity, &facts, now);
            let others = judged.iter().enumerate().filter(|(one, _)| *one != at);
            assert!(others.into_iter().all(|(_, judged)| judged.held == Held::Holds), "{judged:?}");
            assert_eq!(judged[at].held, held, "{judged:?}");
            assert!(!all.hold(identity, &facts, now));
            assert_eq!(all.may_hold(identity, &facts, now), held == Held::Unknown);
        }
        let mapped = Facts { from: Some("::ffff:10.1.2.3".parse().unwrap()), ..facts };
        assert!(all.hold(Some(&main), &mapped, monday));
    }

    #[test]
    fn a_line_that_is_not_understood_is_no_condition() {
        for bad in [
            "",
            "network",
            "network ",
            "network 10.0.0.1/8",
            "hours whenever",
            "claim ref=main",
            "country DE",
            "external-id x",
            "network 10.0.0.0/8\n",
            "provider x",
            "session-name ",
            "network 10.0.0.0/8\ncountry DE",
        ] {
            assert_eq!(Conditions::of_text(bad), None, "{bad:?}");
        }
    }

    prop_compose! {
        fn some_hours()(days in 1u8..=DAILY, from in 0..DAY, to in 1..=DAY) -> Hours {
            Hours { days, from, to: if from == to { to % DAY + 1 } else { to } }
        }
    }

    proptest! {
        #[test]
        fn hours_mean_what_they_are_written_as(own in some_hours(), more in some_hours(), secs in 0i64..3_000_000) {
            prop_assert_eq!(Hours::parse(&own.to_string()).unwrap(), own);
            let both = Conditions { hours: vec![own, more], ..Conditions::default() };
            let holds = |secs: i64| both.hold(None, &Facts::default(), Timestamp::from_second(secs).unwrap());
            // The plain way: the minute of the week, looked up.
            let plain = |hours: &Hours, secs: i64| {
                let now = Timestamp::from_second(secs).unwrap().to_zoned(jiff::tz::TimeZone::UTC);
                let minute = u16::try_from(now.hour()).unwrap() * 60 + u16::try_from(now.minute()).unwrap();
                let today = usize::try_from(now.weekday().to_monday_zero_offset()).unwrap();
                let on = |day: usize| hours.days >> day & 1 == 1;
                if hours.from < hours.to {
                    on(today) && hours.from <= minute && minute < hours.to
                } else {
                    on(today) && hours.from <= minute || on((today + 6) % 7) && minute < hours.to
                }
            };
            prop_assert_eq!(holds(secs), plain(&own, secs) || plain(&more, secs));
            if holds(secs) {
                match both.ends(Timestamp::from_second(secs).unwrap()) {
                    None => prop_assert!((0..7 * 1440).all(|minute| holds(secs + minute * 60))),
                    Some(end) => {
                        prop_assert!(!holds(end.as_second()) && end.as_second() > secs);
                        prop_assert!((secs..end.as_second()).step_by(60).all(holds));
                    }
                }
            }
        }
    }
}
