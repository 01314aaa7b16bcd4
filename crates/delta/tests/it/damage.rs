//! Logs damaged at random: an answer or a refusal that stays, never a failure of the server and never its end.

use proptest::prelude::*;
use proptest::sample::Index;
use valetkey_core::error::{Error, Kind, Noun};
use valetkey_core::nouns::table::{AsOf, ObjectFiles as _, TableLogs as _};

use crate::rig::{Rig, bucket, written};

/// What happens to a file.
#[derive(Clone, Debug)]
enum Damage {
    Byte(Index, u8),
    Cut(Index),
    Twice,
    Gone,
    Instead(Vec<u8>),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        6 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Byte(at, byte)),
        2 => any::<Index>().prop_map(Damage::Cut),
        1 => Just(Damage::Twice),
        1 => Just(Damage::Gone),
        1 => proptest::collection::vec(any::<u8>(), 0..50).prop_map(Damage::Instead),
    ]
}

fn is_lasting<T>(answer: &Result<T, Error>) -> Result<(), TestCaseError> {
    if let Err(error) = answer {
        let kind = error.kind();
        prop_assert!(matches!(kind, Kind::Invalid | Kind::Unsupported | Kind::NotFound(Noun::Table)), "{error:?}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_log_is_answered_or_refused(
        table in prop_oneof![Just("history"), Just("changes"), Just("vectors"), Just("mapped")],
        damages in proptest::collection::vec((any::<Index>(), damage()), 1..6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let rig = Rig::new();
            let place = rig.load(table);
            let prefix = format!("tables/{table}/_delta_log/");
            let log = rig.objects.list(&place.storage, &bucket(), prefix.as_bytes(), b"", 1000).await.unwrap();
            for (which, damage) in damages {
                let key = &which.get(&log).key;
                let Some(mut bytes) = rig.objects.get(&place.storage, &bucket(), key, None).await.unwrap() else { continue };
                match damage {
                    Damage::Byte(at, byte) if !bytes.is_empty() => {
                        let at = at.index(bytes.len());
                        bytes[at] = byte;
                    }
                    Damage::Byte(..) => {}
                    Damage::Cut(at) => bytes.truncate(at.index(bytes.len() + 1)),
                    Damage::Twice => bytes.extend_from_within(..),
                    Damage::Gone => {
                        rig.objects.remove(&bucket(), key);
                        continue;
                    }
                    Damage::Instead(other) => bytes = other,
                }
                rig.objects.put(&bucket(), key, &bytes, written(9));
            }
            is_lasting(&rig.logs.version(&place, AsOf::FirstSince(written(2))).await)?;
            is_lasting(&rig.logs.files(&place, AsOf::Latest).await)?;
            is_lasting(&rig.logs.files(&place, AsOf::Version(1)).await)?;
            is_lasting(&rig.logs.changes(&place, AsOf::Version(0), AsOf::Latest).await)?;
            is_lasting(&rig.logs.commits(&place, AsOf::Version(1), AsOf::Latest).await)
        })?;
    }
}
