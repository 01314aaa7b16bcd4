//! Datasets of policy files.

use crate::id::{AccountId, DatasetId};
use crate::name::Name;
use crate::nouns::dataset::Dataset;
use crate::nouns::policy_set::kind::{Kind, Ownable, known_as};
use crate::nouns::policy_set::settling::Settling;
use crate::nouns::removal::{Amendment, Thing};

impl Kind for Dataset {
    known_as!("dataset", DatasetId, Thing::Dataset, datasets, Ownable::Dataset);

    fn account(&self) -> Option<AccountId> {
        None
    }

    fn needs(&self) -> Vec<Thing> {
        Vec::new()
    }

    fn amendment(self) -> Amendment {
        Amendment::Dataset(self)
    }
}

#[expect(clippy::single_match_else, reason = "what is there, and what is not, side by side")]
impl Settling<'_> {
    pub(in crate::nouns::policy_set) fn datasets(&mut self) {
        for wanted in &self.wanted.datasets {
            let (new, source) = (&wanted.dataset, &*wanted.source);
            let address = format!("dataset/{}", new.name);
            if !self.wanted.owns.dataset(new.name.as_str()) {
                self.problem(source, format!("{address} is not among what `owns` names"));
                continue;
            }
            let named = |name: &Name| self.before.datasets.values().find(|known| known.name == *name);
            let found = named(&new.name).or_else(|| named(wanted.was.as_ref()?)).cloned();
            let dataset = match found {
                Some(known) => {
                    if (known.storage, &known.bucket, &known.path) != (new.storage, &new.bucket, &new.path) {
                        let said = format!(
                            "{address} is elsewhere, and a dataset stays where it is: give this one another name"
                        );
                        self.problem(source, said);
                    }
                    self.keep(Thing::Dataset(known.id), source, &address);
                    // What files cannot say of it stays.
                    let (dictionary, sample) = (known.dictionary, known.sample);
                    Dataset { dictionary, sample, ..new.clone().stored(known.id) }
                }
                None => {
                    let id = DatasetId::from_bytes((self.mint)());
                    self.own(Thing::Dataset(id), source);
                    new.clone().stored(id)
                }
            };
            self.after.datasets.insert(dataset.id, dataset);
        }
    }
}
