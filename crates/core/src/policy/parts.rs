//! An ask of several parts: each is decided as if it were asked for alone, and the permit is what was decided of all of them.

use std::sync::Arc;

use crate::ask::{AskedPart, By, few_bytes};
use crate::error::{Error, Kind};
use crate::field::Field;
use crate::policy::shown::few_grants;
use crate::policy::{Asking, Cut, Found};
use crate::scope::{Actions, Part, Parts, Rights};

impl Asking<'_> {
    /// Parts of one place. One that names nothing it needs is left out where nothing of it is granted, or where the storage's
    /// credentials cannot have it beside the others; not all of them, though.
    pub(super) fn parts(self, by: &By, parts: &[AskedPart]) -> Result<Found, Error> {
        let mut sum: Option<Found> = None;
        let mut refused: Option<Error> = None;
        let mut cuts = Vec::new();
        for part in parts {
            let optional = part.wanted.least().is_empty();
            let beside = |found: Found| match &sum {
                Some(sum) => sum.with(&found),
                None => Ok(found),
            };
            match self.part(by, part).and_then(beside) {
                Ok(found) => sum = Some(found),
                Err(error) if optional && (error.kind() == Kind::Forbidden || error.field() == Some("parts")) => {
                    cuts.push(Cut::Part { actions: part.wanted.most(), paths: part.paths.clone() });
                    refused.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        let mut found = match (sum, refused) {
            (Some(found), _) => found,
            (None, Some(error)) => return Err(error),
            (None, None) => return Err(Error::internal("an ask without parts was decided")),
        };
        // SECURITY: a path that is asked for once may be in several parts of the permit, and each lease keeps all of them.
        few_bytes(found.rights.parts().iter().map(Part::paths))?;
        few_grants(found.grants.len())?;
        found.cuts.extend(cuts);
        let rights = Arc::clone(&found.rights);
        found.cuts.retain_mut(|cut| still(cut, rights.parts()));
        Ok(found)
    }

    fn part(self, by: &By, part: &AskedPart) -> Result<Found, Error> {
        let AskedPart { paths, wanted } = part;
        let asking = Self { wanted: *wanted, ..self };
        let mut found = match by {
            By::Bucket(bucket) => asking.place(bucket, paths)?,
            By::Grant(grant) => {
                let own = self.snapshot.grant(self.caller, grant);
                asking.one_grant(&*own.ok_or_else(|| self.absent(grant))?, Some(paths))?
            }
        };
        for cut in &mut found.cuts {
            if let Cut::Actions(actions) = cut {
                *cut = Cut::Part { actions: *actions, paths: paths.clone() };
            }
        }
        Ok(found)
    }
}

impl Found {
    /// Both together: no longer than either.
    fn with(&self, other: &Self) -> Result<Self, Error> {
        let Self { storage, rights, grants, max_lifetime, until, cuts } = other;
        if storage.id != self.storage.id {
            return Err(
                Error::new(Kind::Invalid, "the parts are in different storages; ask for each alone").at(Field::Parts)
            );
        }
        let union =
            self.rights.union(rights).ok_or_else(|| Error::internal("parts of two buckets were put together"))?;
        if union.parts().only().is_none() && !storage.kind.tells_parts() {
            return Err(Self::untold(&union, storage.kind.as_str()));
        }
        let mut all = self.grants.to_vec();
        all.extend(grants.iter().filter(|grant| !self.grants.contains(grant)));
        Ok(Self {
            storage: Arc::clone(storage),
            rights: Arc::new(union),
            grants: all.into(),
            max_lifetime: self.max_lifetime.min(*max_lifetime),
            until: self.until.into_iter().chain(*until).min(),
            cuts: self.cuts.iter().chain(cuts).cloned().collect(),
        })
    }

    fn untold(rights: &Rights, kind: &str) -> Error {
        let said = format!(
            "credentials of `{}` (storage kind {kind}) allow the same actions on all of their paths; ask for each part alone",
            rights.bucket()
        );
        Error::new(Kind::Invalid, said).at(Field::Parts)
    }
}

/// Whether something of a cut is still missing once all parts are together; what another part gives is taken out.
fn still(cut: &mut Cut, parts: &Parts) -> bool {
    match cut {
        Cut::Lifetime { .. } | Cut::Actions(_) => true,
        Cut::Part { actions, paths } => {
            let given = parts.actions_on(paths);
            *actions = actions.iter().filter(|action| !given.contains(*action)).fold(Actions::NONE, Actions::with);
            !actions.is_empty()
        }
    }
}
