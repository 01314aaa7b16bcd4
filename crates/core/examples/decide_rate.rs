//! How long a decision takes and what a grant costs in memory, with 1,000 to 1,000,000 grants in one account.
//!
//! `cargo run --release -p valetkey-core --example decide_rate [-- GRANTS SHAPE]`: one line of JSON for each number of
//! grants and shape, each measured in a process of its own, so that no run inherits the memory of another.
//!
//! Three shapes: `one`, where every grant is the same caller's, `spread`, where each caller has ten, and `template`, which is the same with
//! one template for everyone, of which each caller asks for its own directory. Each decision is
//! timed twice: `warm`, where a few grants are asked for again and again, and `cold`, where the asks are random among all
//! grants and most of the time goes to waiting for memory.

use std::error::Error;
use std::hint::black_box;
use std::io::Write as _;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use valetkey_core::account::{Account, Metering, OwnQuota, Standing};
use valetkey_core::ask::{Ask, Asked, GrantRef, Target, Wanted};
use valetkey_core::caller::{Caller, Role};
use valetkey_core::conditions::Facts;
use valetkey_core::grant::{Grant, Grantee, Origin};
use valetkey_core::id::{AccountId, CallerId, DatasetId, GrantId, StorageId, TokenId};
use valetkey_core::name::{BucketName, Name};
use valetkey_core::policy::decide;
use valetkey_core::scope::{Actions, Path, Paths, Scope};
use valetkey_core::snapshot::Snapshot;
use valetkey_core::storage::{Shape as Carried, Storage, StorageKind};
use valetkey_core::template::{Opens, Template};
use valetkey_core::time::Lifetime;

const SIZES: [u32; 3] = [1_000, 100_000, 1_000_000];
/// So many different asks are made beforehand and asked in turn.
const ASKS: u32 = 16_384;
/// So many of them when memory is to be warm.
const WARM: usize = 16;
/// Grants of one caller when they are spread.
const EACH: u32 = 10;
/// A figure is the least of so many runs, each at least this long.
const RUNS: usize = 5;
const RUN: Duration = Duration::from_millis(200);

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Whose the grants are.
#[derive(Clone, Copy)]
enum Shape {
    One,
    Spread,
    Template,
}

impl Shape {
    const ALL: [Self; 3] = [Self::One, Self::Spread, Self::Template];

    fn name(self) -> &'static str {
        match self {
            Self::One => "one",
            Self::Spread => "spread",
            Self::Template => "template",
        }
    }

    fn owner(self, grant: u32) -> u32 {
        match self {
            Self::One => 0,
            Self::Spread | Self::Template => grant / EACH,
        }
    }
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [] => {
            for shape in Shape::ALL {
                for size in SIZES {
                    let own = std::env::current_exe()?;
                    let ended = Command::new(own).args([&size.to_string(), shape.name()]).status()?;
                    if !ended.success() {
                        return Err(format!("measuring {size} grants failed: {ended}").into());
                    }
                }
            }
            Ok(())
        }
        [size, shape] => {
            let shape = Shape::ALL
                .into_iter()
                .find(|known| known.name() == shape)
                .ok_or("a shape is `one`, `spread` or `template`")?;
            measure(size.parse()?, shape)
        }
        _ => Err("usage: decide_rate [GRANTS one|spread|template]".into()),
    }
}

fn measure(size: u32, shape: Shape) -> Outcome<()> {
    let now = Timestamp::from_second(1_767_225_600)?;
    let storage = storage()?;
    let account = account()?;
    let before = resident_bytes()?;
    let began = Instant::now();
    // Handed over one by one: a list of them all would count as memory of the snapshot.
    let mut failed = None;
    let grants = (0..size).map_while(|number| grant(number, shape).map_err(|error| failed = Some(error)).ok());
    let snapshot = Snapshot::new(account, [storage], grants, now);
    if let Some(error) = failed {
        return Err(error);
    }
    let built = began.elapsed();
    let bytes = resident_bytes()?.saturating_sub(before);

    let mut lot = 0x9e37_79b9_u64;
    let asks = (0..ASKS)
        .map(|_| {
            lot = lot.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let number = u32::try_from((lot >> 33) % u64::from(size))?;
            asks(number, shape)
        })
        .collect::<Outcome<Vec<_>>>()?;
    let mut times = Vec::new();
    for (which, target) in ["datasets", "grant", "place"].into_iter().enumerate() {
        let chosen: Vec<(&Caller, &Ask)> =
            asks.iter().filter_map(|(caller, three)| Some((caller, three.get(which)?))).collect();
        let few = chosen.get(..WARM).ok_or("too few asks")?;
        let (warm, cold) = (nanos(&snapshot, few, now)?, nanos(&snapshot, &chosen, now)?);
        times.push(format!("\"{target}_ns\":{{\"warm\":{warm:.0},\"cold\":{cold:.0}}}"));
    }
    writeln!(
        std::io::stdout(),
        "{{\"grants\":{size},\"shape\":\"{}\",{},\"bytes_per_grant\":{},\"build_ms\":{:.1}}}",
        shape.name(),
        times.join(","),
        bytes / u64::from(size),
        built.as_secs_f64() * 1e3,
    )?;
    Ok(())
}

/// Nanoseconds of a decision.
fn nanos(snapshot: &Snapshot, asks: &[(&Caller, &Ask)], now: Timestamp) -> Outcome<f64> {
    let mut least = f64::INFINITY;
    for _ in 0..RUNS {
        let began = Instant::now();
        let mut decided = 0_u32;
        while began.elapsed() < RUN {
            for (caller, ask) in asks {
                black_box(decide(snapshot, caller, black_box(ask), &Facts::default(), now)?);
                decided += 1;
            }
        }
        least = least.min(began.elapsed().as_secs_f64() * 1e9 / f64::from(decided));
    }
    Ok(least)
}

/// A caller, and its three ways of asking for one grant: among all its datasets, by name, and by place.
fn asks(number: u32, shape: Shape) -> Outcome<(Caller, [Ask; 3])> {
    let owner = shape.owner(number);
    let caller = Caller {
        id: CallerId::from_bytes(bytes(owner)),
        account: account()?.id,
        name: Name::parse(&format!("caller-{owner}"))?,
        role: Role::Member,
        token: TokenId::from_bytes(bytes(owner)),
        token_until: None,
        held: None,
        identity: None,
        as_of: 0,
    };
    let ask = |target| Ask {
        dialect: "bench",
        target,
        wanted: Wanted::all_of(Actions::READ),
        lifetime: Asked::Usual(Lifetime::secs(3600)),
        carries: Carried::ALL,
    };
    let (inside, of) = match shape {
        Shape::One | Shape::Spread => (format!("team-{}/table-{number}/day=2026-01-01", number % 97), number),
        Shape::Template => (format!("home/caller-{owner}/day=2026-01-01"), 0),
    };
    let inside = Path::directory(inside.as_bytes())?;
    let three = [
        Target::Datasets { bucket: None },
        Target::Grant { grant: GrantRef::Name(name(of)?), paths: None },
        Target::Place { bucket: bucket()?, paths: Paths::only([inside])? },
    ];
    Ok((caller, three.map(ask)))
}

fn grant(number: u32, shape: Shape) -> Outcome<Grant> {
    let path = Path::directory(format!("team-{}/table-{number}", number % 97).as_bytes())?;
    if matches!(shape, Shape::Template) && number == 0 {
        let path = Path::directory(b"home/{caller.name}")?;
        let scope = Template::new(bucket()?, Paths::only([path])?, Actions::READ)?;
        let plain = grant(0, Shape::Spread)?;
        return Ok(Grant { to: Grantee::Everyone, origin: Origin::Plain, scope: Opens::Template(scope), ..plain });
    }
    Ok(Grant {
        id: GrantId::from_bytes(bytes(number)),
        name: name(number)?,
        account: account()?.id,
        to: Grantee::Caller(CallerId::from_bytes(bytes(shape.owner(number)))),
        storage: storage()?.id,
        origin: Origin::Dataset(DatasetId::from_bytes(bytes(number))),
        scope: Scope::new(bucket()?, Paths::only([path])?, Actions::READ).ok_or("a scope needs actions")?.into(),
        max_lifetime: Lifetime::secs(604_800),
        from: None,
        until: None,
        conditions: None,
    })
}

fn account() -> Outcome<Account> {
    Ok(Account {
        id: AccountId::from_bytes(bytes(1)),
        name: Name::parse("bench")?,
        standing: Standing::Active,
        metering: Metering::Free,
        datasets_bucket: None,
        quota: OwnQuota::default(),
    })
}

fn storage() -> Outcome<Arc<Storage>> {
    Ok(Arc::new(Storage {
        id: StorageId::from_bytes(bytes(2)),
        name: Name::parse("local")?,
        kind: StorageKind::Embedded,
        endpoint: "http://127.0.0.1:7071".into(),
        internal_endpoint: None,
        region: "auto".into(),
        min_lifetime: Lifetime::secs(60),
        max_lifetime: Lifetime::secs(604_800),
        external: None,
    }))
}

fn bucket() -> Outcome<BucketName> {
    Ok(BucketName::parse("lake")?)
}

fn name(number: u32) -> Outcome<Name> {
    Ok(Name::parse(&format!("table-{number}"))?)
}

fn bytes(number: u32) -> [u8; 16] {
    u128::from(number).to_be_bytes()
}

/// What this process holds of the machine's memory.
fn resident_bytes() -> Outcome<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1024)
}
