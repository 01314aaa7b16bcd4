//! The page of errors has every code that a dialect can answer, with its status, and no other.

use std::collections::{BTreeMap, BTreeSet};

use valetkey_core::Kind;

use super::world::World;
use crate::edge::Dialect;

/// The section of the page for each dialect. What an API of one's own answers is said by its file.
const SECTIONS: &[(&str, &str)] = &[
    ("native", "Our own API"),
    ("theirstack", "TheirStack"),
    ("dreadnode", "Dreadnode"),
    ("r2", "Cloudflare R2"),
    ("sharing", "Delta Sharing"),
    ("sts", "AWS STS"),
    ("access-grants", "S3 Access Grants"),
    ("unity", "Unity Catalog"),
    ("iceberg", "Iceberg REST"),
];

type Codes = BTreeMap<String, BTreeSet<String>>;

/// The rows of a section: each code, with its statuses.
fn told(page: &str, section: &str) -> Codes {
    let (_, rest) = page.split_once(&format!("\n## {section}\n")).unwrap_or_else(|| panic!("there is no `{section}`"));
    let own = rest.split("\n## ").next().unwrap();
    let rows = own.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, code, statuses, meaning, advice, _] = cells.as_slice() else { panic!("not four cells: {row}") };
        assert!(!meaning.is_empty() && !advice.is_empty(), "{row}");
        (code.trim_matches('`').to_owned(), statuses.split(", ").map(str::to_owned).collect())
    })
    .collect()
}

/// The statuses that a code has in a dialect's table; none if only single refusals have it.
fn sent(dialect: &Dialect) -> Codes {
    let mut codes = Codes::new();
    for kind in Kind::ALL {
        let row = (dialect.row)(*kind);
        codes.entry(row.code.to_owned()).or_default().insert(row.status.to_string());
    }
    for code in dialect.codes {
        codes.entry((*code).to_owned()).or_default();
    }
    codes
}

#[tokio::test]
async fn every_code_is_on_the_page_of_errors() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/errors.md")).unwrap();
    let world = World::new().await;
    let mut unseen: BTreeSet<&str> = SECTIONS.iter().map(|(name, _)| *name).collect();
    for dialect in World::dialects(&world.shared, &world.made) {
        let Some((_, section)) = SECTIONS.iter().find(|(name, _)| *name == dialect.name) else {
            assert_eq!(dialect.name, "parcels", "a dialect without a section in docs/errors.md");
            continue;
        };
        unseen.remove(dialect.name);
        let (told, sent) = (told(&page, section), sent(&dialect));
        let names = |codes: &Codes| codes.keys().cloned().collect::<BTreeSet<_>>();
        assert_eq!(names(&told), names(&sent), "{section}");
        for (code, statuses) in sent {
            let alone = !dialect.codes.contains(&code.as_str());
            assert!(statuses.is_subset(&told[&code]), "{section}: `{code}` is sent with {statuses:?}");
            assert!(!alone || statuses == told[&code], "{section}: `{code}` is sent with {statuses:?} only");
        }
    }
    assert!(unseen.is_empty(), "{unseen:?}");
}
