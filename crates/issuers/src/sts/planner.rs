//! Fits rights into the room a store has for session policies: whole if it fits, otherwise without what is of the least use,
//! otherwise not at all. Never by saying more.

use valetkey_core::field::Field;
use valetkey_core::scope::{Part, Paths, Rights};
use valetkey_core::{Error, Kind};

use crate::sts::policy::{Form, Grammar, Written};

/// The most characters of an inline session policy (AWS STS API Reference, `AssumeRole`, `Policy`).
pub(crate) const AWS_LIMIT: usize = 2048;

/// The policies that say the scope and fit, the fullest first; each further one is shorter. The store has a second limit,
/// for a packed form only it can compute: when the first is refused for that, the next is tried.
///
/// # Errors
/// `Invalid` when the store has no words for the scope, or not enough room.
pub(crate) fn plan(grammar: &Grammar, rights: &Rights, limit: usize) -> Result<Vec<Written>, Error> {
    let count = paths(rights);
    if count > limit {
        // Each takes more than a character: this is known without writing megabytes.
        return Err(too_many(count, fitting(grammar, rights, limit)));
    }
    let mut plans: Vec<Written> = Vec::new();
    let mut last = None;
    for form in Form::ALL {
        match grammar.write(rights, form) {
            Ok(written) if written.json.len() > limit => {}
            Ok(written) if plans.last().is_some_and(|plan| plan.json.len() <= written.json.len()) => {}
            Ok(written) => plans.push(written),
            Err(error) => last = Some(error),
        }
    }
    if !plans.is_empty() {
        return Ok(plans);
    }
    // What cannot be said in full cannot be said at all: a shorter form is refused only where the full one says too much.
    grammar.write(rights, Form::FULL)?;
    if count == 0 {
        return Err(last.unwrap_or_else(|| Error::internal("the policy of a whole bucket does not fit")));
    }
    Err(too_many(count, fitting(grammar, rights, limit)))
}

/// How many paths are to be written; the whole bucket is none.
pub(crate) fn paths(rights: &Rights) -> usize {
    let of = |part: &Part| match part.paths() {
        Paths::Whole => 0,
        Paths::Only(set) => set.len(),
    };
    rights.parts().iter().map(of).sum()
}

/// Refuses rights with more paths than fit.
fn too_many(paths: usize, fit: Option<usize>) -> Error {
    let hint = match fit {
        None => "ask for each of its parts alone".to_owned(),
        Some(0) => "not even the first does".to_owned(),
        Some(fit) => format!("about {fit} do: request {} credentials", paths.div_ceil(fit)),
    };
    Error::new(Kind::Invalid, format!("{paths} paths do not fit into one session policy; {hint}")).at(Field::Paths)
}

/// How many of the paths fit, from the first on; of several parts that says nothing.
fn fitting(grammar: &Grammar, rights: &Rights, limit: usize) -> Option<usize> {
    let part = rights.parts().only()?;
    let Paths::Only(paths) = part.paths() else { return Some(0) };
    let fits = |count: usize| {
        Paths::only(paths.iter().take(count))
            .ok()
            .and_then(|some| Rights::of(rights.bucket().clone(), some, part.actions()))
            .is_some_and(|some| {
                Form::ALL.iter().any(|form| grammar.write(&some, *form).is_ok_and(|plan| plan.json.len() <= limit))
            })
    };
    let (mut fit, mut not) = (0, paths.len().min(limit));
    while not - fit > 1 {
        let middle = fit.midpoint(not);
        if fits(middle) { fit = middle } else { not = middle }
    }
    Some(fit)
}

#[cfg(test)]
mod tests {
    use valetkey_core::credential::LeftOut;
    use valetkey_core::name::BucketName;
    use valetkey_core::scope::{Action, Actions, Path};

    use super::*;
    use crate::sts::evaluator::{aws, ceph, denying};

    fn scope(directories: usize, actions: Actions) -> Rights {
        let paths = (0..directories).map(|n| Path::directory(format!("tables/number-{n:04}").as_bytes()).unwrap());
        Rights::of(BucketName::parse("lake").unwrap(), Paths::only(paths).unwrap(), actions).unwrap()
    }

    #[test]
    fn what_fits_is_said_in_full() {
        let plans = plan(&aws(), &scope(3, Actions::READ), AWS_LIMIT).unwrap();
        assert!(plans.len() > 1, "there is something to fall back on");
        assert!(plans.windows(2).all(|pair| pair[0].json.len() > pair[1].json.len()));
        assert!(plans[0].json.contains(r#""arn:aws:s3:::lake/tables/number-0002","#), "{}", plans[0].json);
        let lost = [LeftOut::DirectoryKeys, LeftOut::Action(Action::ListBucket)];
        assert!(!plans[0].narrowed.iter().any(|narrowed| lost.contains(&narrowed.what)));
    }

    #[test]
    fn what_does_not_fit_loses_markers_then_listing_then_is_refused() {
        let first =
            |count| plan(&aws(), &scope(count, Actions::READ), AWS_LIMIT).map(|mut plans| plans.remove(0).narrowed);
        let words = |count| first(count).unwrap().iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        assert!(!words(10).contains("directories"), "{}", words(10));
        assert!(
            words(22).contains("the keys of the directories") && !words(22).contains("list-bucket"),
            "{}",
            words(22)
        );
        assert!(words(40).contains("list-bucket: the policy would be too long"), "{}", words(40));
        let refusal = first(200).unwrap_err();
        assert_eq!((refusal.kind(), refusal.field()), (Kind::Invalid, Some("paths")));
        assert_eq!(
            refusal.message(),
            "200 paths do not fit into one session policy; about 46 do: request 5 credentials"
        );
        assert!(first(46).is_ok() && first(47).is_err());
    }

    #[test]
    fn what_is_denied_takes_room_and_is_never_left_out() {
        let first = |grammar: &Grammar, count| plan(grammar, &scope(count, Actions::READ), AWS_LIMIT);
        for count in 1..=20 {
            let plans = first(&denying(), count).unwrap();
            assert!(plans.iter().all(|plan| plan.json.contains(r#""Effect":"Deny","NotAction":"#)), "{count}");
        }
        assert!(first(&aws(), 40).is_ok());
        let refusal = first(&denying(), 40).unwrap_err();
        assert_eq!((refusal.kind(), refusal.field()), (Kind::Invalid, Some("paths")));
        assert_eq!(
            refusal.message(),
            "40 paths do not fit into one session policy; about 20 do: request 2 credentials"
        );
    }

    #[test]
    fn parts_are_planned_together() {
        let both = |count: usize| {
            let write = Actions::of(&[Action::PutObject, Action::MultipartUpload]);
            let here = Rights::of(
                BucketName::parse("lake").unwrap(),
                Paths::only([Path::directory(b"a").unwrap()]).unwrap(),
                write,
            );
            scope(count, Actions::READ).union(&here.unwrap()).unwrap()
        };
        assert_eq!(both(3).parts().iter().count(), 2);
        let plans = plan(&aws(), &both(3), AWS_LIMIT).unwrap();
        assert!(plans.windows(2).all(|pair| pair[0].json.len() > pair[1].json.len()) && plans.len() > 1);
        let markers = |plan: &Written| plan.narrowed.iter().filter(|one| one.what == LeftOut::DirectoryKeys).count();
        assert_eq!((markers(&plans[0]), markers(&plans[1])), (0, 1));
        let refusal = plan(&aws(), &both(200), AWS_LIMIT).unwrap_err();
        assert_eq!(refusal.field(), Some("paths"));
        assert_eq!(refusal.message(), "201 paths do not fit into one session policy; ask for each of its parts alone");
    }

    #[test]
    fn every_plan_fits() {
        for count in 1..60 {
            for plan in plan(&aws(), &scope(count, Actions::READ_WRITE), AWS_LIMIT).unwrap_or_default() {
                assert!(plan.json.len() <= AWS_LIMIT && plan.json.is_ascii());
            }
        }
    }

    #[test]
    fn what_cannot_be_said_is_refused_whatever_its_length() {
        let only = |paths: Vec<Path>, actions: Actions| {
            let scope = Rights::of(BucketName::parse("lake").unwrap(), Paths::only(paths).unwrap(), actions).unwrap();
            plan(&ceph(), &scope, AWS_LIMIT).map(|plans| plans.len()).map_err(|error| error.message().to_owned())
        };
        let object = |key: &str| vec![Path::object(key.as_bytes()).unwrap()];
        let refusal = only(object("a*b"), Actions::READ).unwrap_err();
        assert!(refusal.contains("`a*b`") && refusal.contains("wildcard"), "{refusal}");
        assert!(only(object("a:b"), Actions::READ).unwrap_err().contains("colon"));
        assert!(only(object("a${b}"), Actions::READ).is_ok());
        assert!(only(vec![Path::object(b"\xff").unwrap()], Actions::READ).unwrap_err().contains("UTF-8"));
        assert!(only(object("a"), Actions::of(&[Action::ListBucket])).unwrap_err().contains("cannot be listed"));
        assert!(only(object("a"), Actions::of(&[Action::ListUploads])).unwrap_err().contains("whole bucket"));
        assert!(only(object("a"), Actions::of(&[Action::PutObject])).unwrap_err().contains("multipart-upload"));
    }
}
