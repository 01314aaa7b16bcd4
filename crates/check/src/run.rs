//! One check: the credentials vended, the plan tried, what was put there taken away again.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use valetkey_core::ask::{Ask, Asked, Target, Wanted};
use valetkey_core::caller::Caller;
use valetkey_core::credential::{AzureSas, Credential, GoogleToken, LeftOut, Narrowed, S3Keys};
use valetkey_core::error::{Error, Kind, Noun};
use valetkey_core::field::Field;
use valetkey_core::id::StorageId;
use valetkey_core::name::BucketName;
use valetkey_core::nouns::provider::{Documented, Hints};
use valetkey_core::probe;
use valetkey_core::scope::{Action, Actions, Path, Paths, Scope};
use valetkey_core::secret::Secret;
use valetkey_core::storage::{Shape, Storage};
use valetkey_core::time::random_10;

use crate::plan::{At, Expect, STEPS, Step, VENDS, Vend, Who};
use crate::{Answer, Attempt, Checker, Report, Row, Status, Verb, endpoint_of};

/// Nothing more is begun after so long: who waits for the answer waits no longer than usual.
const PATIENCE: SignedDuration = SignedDuration::from_secs(15);

/// A credential of the check.
struct Held {
    who: Who,
    credential: Arc<Credential>,
    storage: Arc<Storage>,
    /// What of its scope the store cannot say.
    narrowed: Arc<[Narrowed]>,
}

/// An object that was put, or may have been.
#[derive(PartialEq, Eq)]
struct There {
    who: Who,
    bucket: BucketName,
    key: String,
}

struct Run<'a> {
    checker: &'a Checker,
    caller: &'a Caller,
    storage: &'a Storage,
    dialect: &'static str,
    bucket: BucketName,
    other: Option<BucketName>,
    /// The check's own directory.
    directory: String,
    /// Whether credentials open single objects, because the store's cannot open directories.
    single: bool,
    begun: Timestamp,
    held: Vec<Held>,
    rows: Vec<Row>,
    there: Vec<There>,
    /// Why nothing more is tried.
    halted: Option<&'static str>,
    left: Vec<String>,
}

impl Checker {
    /// Checks a store in one of its buckets, of all those that the registry knows; in the first, if none is named. Of another one
    /// it only proves that nothing of it is reached.
    ///
    /// # Errors
    /// `NotFound` and `Invalid` where there is no such bucket, and what this server itself refuses; what the store refuses is in
    /// the report.
    pub async fn check(
        &self,
        caller: &Caller,
        storage: &Storage,
        buckets: Vec<(BucketName, StorageId)>,
        bucket: Option<&BucketName>,
        dialect: &'static str,
    ) -> Result<Report, Error> {
        let own: Vec<BucketName> =
            buckets.into_iter().filter(|(_, of)| *of == storage.id).map(|(bucket, _)| bucket).collect();
        let bucket = match bucket {
            Some(named) => own.iter().find(|own| *own == named).cloned().ok_or_else(|| {
                Error::new(Kind::NotFound(Noun::Bucket), "the storage has no such bucket").at(Field::Bucket)
            })?,
            None => own.first().cloned().ok_or_else(|| {
                Error::new(Kind::Invalid, "the storage has no bucket to check it in; make one known first")
                    .at(Field::Bucket)
            })?,
        };
        let other = own.into_iter().find(|own| *own != bucket);
        let mut run = Run {
            checker: self,
            caller,
            storage,
            dialect,
            bucket,
            other,
            directory: probe::directory(random_10(&*self.entropy)),
            single: false,
            begun: self.vending.now(),
            held: Vec::new(),
            rows: Vec::new(),
            there: Vec::new(),
            halted: None,
            left: Vec::new(),
        };
        run.choose_paths()?;
        let beyond = run.hints().beyond;
        let steps: Vec<&Step> = STEPS.iter().filter(|step| step.is_tried(beyond)).collect();
        for vend in &VENDS {
            // What is only for extras is not given where there are none.
            if !vend.is_aside() || steps.iter().any(|step| step.who == vend.who) {
                run.vend(vend).await?;
            }
        }
        for step in steps {
            run.step(step).await;
        }
        run.clean_up().await;
        Ok(run.report())
    }
}

impl Run<'_> {
    fn now(&self) -> Timestamp {
        self.checker.vending.now()
    }

    fn row(&mut self, name: &'static str, what: &'static str, begun: Timestamp, outcome: (Status, String)) {
        let took_ms = u64::try_from(self.now().duration_since(begun).as_millis()).unwrap_or(0);
        let (status, reason) = outcome;
        self.rows.push(Row { name, what, status, reason, took_ms });
    }

    fn passed(&self, name: &str) -> bool {
        self.rows.iter().any(|row| row.name == name && row.status == Status::Passed)
    }

    fn bucket_of(&self, at: At) -> Option<&BucketName> {
        match at {
            At::Own
            | At::OwnDirectory
            | At::Secret
            | At::SiblingDirectory
            | At::Parent
            | At::Astray
            | At::AstrayDirectory => Some(&self.bucket),
            At::OtherBucket => self.other.as_ref(),
        }
    }

    fn key(&self, at: At) -> String {
        let directory = &self.directory;
        match at {
            At::Own | At::OtherBucket => format!("{directory}/a/one"),
            At::OwnDirectory => format!("{directory}/a/"),
            At::Secret => format!("{directory}/a-b/secret"),
            At::SiblingDirectory => format!("{directory}/a-b/"),
            At::Parent => format!("{directory}/"),
            At::Astray => format!("{directory}/a/../a-b/secret"),
            At::AstrayDirectory => format!("{directory}/a/../"),
        }
    }

    /// What a credential is to open: a directory, or where the store cannot say that, the one object in it.
    fn paths(&self, who: Who) -> Result<Paths, Error> {
        let key = match who {
            Who::Inside | Who::Reader | Who::Writer | Who::Deleter | Who::Tampered => self.key(At::Own),
            Who::Elsewhere => self.key(At::OtherBucket),
            Who::Sibling => self.key(At::Secret),
        };
        let path = match key.rsplit_once('/') {
            Some((directory, _)) if !self.single => Path::directory(directory.as_bytes())?,
            Some(_) | None => Path::object(key.as_bytes())?,
        };
        Paths::only([path])
    }

    fn choose_paths(&mut self) -> Result<(), Error> {
        let begun = self.now();
        let scope = Scope::new(self.bucket.clone(), self.paths(Who::Inside)?, Actions::READ_WRITE)
            .ok_or_else(|| Error::internal("a check without actions"))?;
        if let Err(error) = self.checker.stores.can_express(self.storage, &scope) {
            self.single = true;
            let reason = format!("{}; credentials for single objects are tried instead", error.message());
            self.row("directories", "a credential opens a directory", begun, (Status::Skipped, reason));
        }
        Ok(())
    }

    async fn vend(&mut self, vend: &Vend) -> Result<(), Error> {
        let begun = self.now();
        let outcome = match (self.halted, vend.who, &self.other) {
            (Some(why), ..) => (Status::Skipped, why.to_owned()),
            (None, Who::Elsewhere, None) => {
                (Status::Skipped, "this server knows no other bucket of the storage".to_owned())
            }
            (None, who, other) => {
                let bucket = match (who, other) {
                    (Who::Elsewhere, Some(other)) => other.clone(),
                    _ => self.bucket.clone(),
                };
                let target = Target::Probe { storage: self.storage.id, bucket, paths: self.paths(who)? };
                let ask = Ask {
                    dialect: self.dialect,
                    target,
                    wanted: Wanted::all_of(vend.actions),
                    lifetime: Asked::Usual(probe::lifetime_at(self.storage)),
                    carries: Shape::ALL,
                };
                match self.checker.vending.vend(self.caller, &ask).await {
                    Ok(vended) => {
                        let left_out = vended.narrowed.iter().map(|narrowed| narrowed.what);
                        let left_out = left_out.filter(|what| !matches!(what, LeftOut::Beyond(_)));
                        let left_out: Vec<String> = left_out.map(|what| what.to_string()).collect();
                        let reason = if left_out.is_empty() {
                            "given".to_owned()
                        } else {
                            format!("given, without {}", left_out.join(", "))
                        };
                        self.held.push(Held {
                            who,
                            credential: vended.credential,
                            storage: vended.storage,
                            narrowed: vended.narrowed,
                        });
                        (Status::Passed, reason)
                    }
                    // One that is only for what an action opens beyond itself.
                    Err(error) if vend.is_aside() && error.kind() == Kind::Invalid => {
                        (Status::Skipped, error.message().to_owned())
                    }
                    Err(error) => (Status::Failed, self.not_given(error)?),
                }
            }
        };
        self.row(vend.name, vend.what, begun, outcome);
        Ok(())
    }

    /// Why the store gave no credential, for an operator. What this server itself refuses is no finding about the store.
    fn not_given(&mut self, error: Error) -> Result<String, Error> {
        let told = match error.detail().filter(|noted| !noted.is_empty()) {
            Some(noted) => format!("{}: {noted}", error.message()),
            None => error.message().to_owned(),
        };
        match error.kind() {
            Kind::Upstream => {
                self.halted = Some("not tried: the storage gave no credential");
                // Where the store answered no: of one that cannot be reached the settings may be right.
                let answered = error.upstream_status().is_some_and(|status| (400..500).contains(&status));
                Ok(match self.hints().vend.filter(|_| answered) {
                    Some(hint) => format!("{told}; {hint}"),
                    None => told,
                })
            }
            Kind::UpstreamTimeout | Kind::RateLimited => {
                self.halted = Some("not tried: the storage gave no credential");
                Ok(told)
            }
            Kind::Invalid => Ok(told),
            Kind::Malformed
            | Kind::Unauthenticated(_)
            | Kind::Forbidden
            | Kind::NotInPlan
            | Kind::OutOfCredit
            | Kind::NotFound(_)
            | Kind::AlreadyExists(_)
            | Kind::WrongMethod
            | Kind::TooLarge
            | Kind::Outdated
            | Kind::Unsupported
            | Kind::Unavailable
            | Kind::Internal => Err(error),
        }
    }

    fn hints(&self) -> Hints {
        self.checker.stores.hints(self.storage.kind)
    }

    fn held(&self, who: Who) -> Option<&Held> {
        let named = if who == Who::Tampered { Who::Inside } else { who };
        self.held.iter().find(|held| held.who == named)
    }

    /// Why a step is not tried.
    fn skipped(&self, step: &Step) -> Option<String> {
        if let Some(halted) = self.halted {
            return Some(halted.to_owned());
        }
        let Some(held) = self.held(step.who) else {
            return Some("not tried: its credential was not given".to_owned());
        };
        if step.expect == Expect::Allowed
            && let Some(narrowed) = cannot_say(&held.narrowed, step.actions())
        {
            return Some(narrowed.to_string());
        }
        let needed = step.needs.filter(|needed| !self.passed(needed));
        needed.map(|needed| format!("it would prove nothing, because `{needed}` did not pass"))
    }

    async fn step(&mut self, step: &Step) {
        let begun = self.now();
        if begun.duration_since(self.begun) > PATIENCE && self.halted.is_none() {
            self.halted = Some("not tried: the storage answers too slowly");
        }
        let outcome = match self.skipped(step) {
            Some(why) => (Status::Skipped, why),
            None => self.tried(step).await,
        };
        self.row(step.name, step.what, begun, outcome);
    }

    async fn tried(&mut self, step: &Step) -> (Status, String) {
        let (Some(bucket), Some(held)) = (self.bucket_of(step.at), self.held(step.who)) else {
            return (Status::Skipped, "not tried: there is no such bucket".to_owned());
        };
        let (key, bucket) = (self.key(step.at), bucket.clone());
        let attempt = Attempt { verb: step.verb, bucket: &bucket, key: &key };
        let answer = if step.who == Who::Tampered {
            self.checker.prober.attempt(&held.storage, &spoiled(&held.credential), attempt).await
        } else {
            self.checker.prober.attempt(&held.storage, &held.credential, attempt).await
        };
        self.remember(step, &bucket, &key, &answer);
        if matches!(answer, Answer::Failed(_)) && !step.expect.is_aside() {
            self.halted = Some("not tried: a request before this one failed");
        }
        self.judge(step, answer)
    }

    /// Keeps in mind what has to be taken away again.
    fn remember(&mut self, step: &Step, bucket: &BucketName, key: &str, answer: &Answer) {
        let owner = match step.at {
            At::Secret | At::SiblingDirectory => Who::Sibling,
            At::OtherBucket => Who::Elsewhere,
            At::Own | At::OwnDirectory | At::Parent | At::Astray | At::AstrayDirectory => Who::Inside,
        };
        let there = There { who: owner, bucket: bucket.clone(), key: key.to_owned() };
        match (step.verb, answer) {
            // A request that broke off may have been done.
            (Verb::Put, Answer::Allowed | Answer::Failed(_)) if !self.there.contains(&there) => self.there.push(there),
            (Verb::Delete, Answer::Allowed) => self.there.retain(|other| *other != there),
            (Verb::Put | Verb::Get | Verb::Delete | Verb::List | Verb::Parts | Verb::Extra(_), _) => {}
        }
    }

    fn judge(&self, step: &Step, answer: Answer) -> (Status, String) {
        let own = self.key(At::OwnDirectory);
        match (step.expect, answer) {
            (Expect::Nothing, answer) => judge_aside(None, answer),
            (Expect::AsDocumented(extra), answer) => {
                let beyond = self.hints().beyond.iter().find(|(of, _)| *of == extra);
                judge_aside(beyond.map(|(_, documented)| *documented), answer)
            }
            (_, Answer::Failed(words)) => (Status::Failed, words),
            (Expect::Allowed, Answer::Allowed) => (Status::Passed, "allowed".to_owned()),
            (Expect::Allowed, Answer::Listed(keys)) => match keys.iter().find(|key| !key.starts_with(&own)) {
                Some(outside) => (Status::Failed, format!("the list shows `{}`, which is outside", shown(outside))),
                None if keys.iter().any(|key| **key == *self.key(At::Own)) => {
                    (Status::Passed, "the list shows what is inside".to_owned())
                }
                None => (Status::Failed, "the list does not show what is inside".to_owned()),
            },
            (Expect::Allowed, Answer::Refused { status, code }) => {
                let told = format!("refused with {status} `{}`", shown(&code));
                let told = match self.hints().rights {
                    Some(hint) => format!("{told}; {hint}"),
                    None => told,
                };
                (Status::Failed, told)
            }
            (Expect::Allowed, Answer::NotFound) => {
                (Status::Failed, "the storage says that it does not exist".to_owned())
            }
            (Expect::Refused, Answer::Refused { status, code }) => {
                (Status::Passed, format!("refused with {status} `{}`", shown(&code)))
            }
            (Expect::Refused, Answer::Listed(keys)) => match keys.iter().find(|key| !key.starts_with(&own)) {
                Some(outside) => {
                    (Status::Failed, format!("ALLOWED: the list shows `{}`, which is outside", shown(outside)))
                }
                None => (Status::Passed, "answered, and shows nothing of what is outside".to_owned()),
            },
            (Expect::Refused, Answer::Allowed) => {
                (Status::Failed, "ALLOWED: the credential opens more than it may".to_owned())
            }
            (Expect::Refused, Answer::NotFound) => {
                (Status::Failed, "the storage says that it does not exist, and it does: that is no refusal".to_owned())
            }
        }
    }

    /// Takes away what was put there, with the credentials that may.
    async fn clean_up(&mut self) {
        let begun = self.now();
        let mut why = Vec::new();
        let mut impossible = true;
        for There { who, bucket, key } in &self.there {
            let Some(held) = self.held(*who) else { continue };
            let attempt = Attempt { verb: Verb::Delete, bucket, key };
            let told = match self.checker.prober.attempt(&held.storage, &held.credential, attempt).await {
                Answer::Allowed | Answer::NotFound | Answer::Listed(_) => continue,
                Answer::Refused { status, code } => format!("refused with {status} `{}`", shown(&code)),
                Answer::Failed(words) => words,
            };
            impossible &= cannot_say(&held.narrowed, &[Action::DeleteObject]).is_some();
            self.left.push(format!("{bucket}/{key}"));
            if !why.contains(&told) {
                why.push(told);
            }
        }
        let outcome = if self.there.is_empty() {
            (Status::Skipped, "nothing is left there".to_owned())
        } else if self.left.is_empty() {
            (Status::Passed, "nothing is left there".to_owned())
        } else {
            let status = if impossible { Status::Skipped } else { Status::Failed };
            (status, format!("may be left there: {}; {}", self.left.join(", "), why.join("; ")))
        };
        self.row("clean-up", "what was put there is taken away again", begun, outcome);
    }

    fn report(self) -> Report {
        let seen = |expect: Expect| STEPS.iter().any(|step| step.expect == expect && self.passed(step.name));
        let passed =
            self.rows.iter().all(|row| row.status != Status::Failed) && seen(Expect::Allowed) && seen(Expect::Refused);
        Report {
            storage: self.storage.name.clone(),
            kind: self.storage.kind,
            bucket: self.bucket,
            endpoint: endpoint_of(self.storage).into(),
            rows: self.rows,
            left: self.left,
            passed,
        }
    }
}

/// Of what is beside the actions: of an extra, as it is documented; otherwise of what does not exist.
fn judge_aside(documented: Option<Documented>, answer: Answer) -> (Status, String) {
    let failed = |words: &str| (Status::Failed, format!("ALLOWED: {words}"));
    let reached = match answer {
        Answer::Listed(keys) => documented.is_some() || !keys.is_empty(),
        Answer::Allowed => true,
        Answer::Refused { status, code } => {
            return (Status::Passed, format!("closed: refused with {status} `{}`", shown(&code)));
        }
        Answer::NotFound if documented.is_none() => false,
        Answer::NotFound => return (Status::Skipped, "not known: the storage finds nothing to try it on".to_owned()),
        Answer::Failed(words) => return (Status::Skipped, format!("not known: {words}")),
    };
    match documented {
        None if reached => failed("the storage takes keys for paths: `..` leads out of every scope"),
        None => (Status::Passed, "nothing is there".to_owned()),
        Some(Documented::Open) => (Status::Passed, "open, as documented".to_owned()),
        Some(Documented::Closed) => failed("documented to be closed"),
    }
}

/// What a store that cannot say an action says of that.
fn cannot_say<'a>(narrowed: &'a [Narrowed], actions: &[Action]) -> Option<&'a Narrowed> {
    narrowed.iter().find(|narrowed| match narrowed.what {
        LeftOut::Action(action) => actions.contains(&action),
        LeftOut::DirectoryKeys | LeftOut::Beyond(_) => false,
    })
}

/// A store's words, short and printable.
fn shown(text: &str) -> String {
    valetkey_core::name::shortened(text)
}

/// The same credential with one character of its secret changed.
fn spoiled(credential: &Credential) -> Credential {
    let turn = |text: &str, from: usize| {
        let at = text.char_indices().skip(from).find(|(_, c)| c.is_ascii_alphanumeric()).map(|(at, _)| at);
        let changed = text.char_indices().map(|(here, c)| match (Some(here) == at, c) {
            (true, 'A') => 'B',
            (true, _) => 'A',
            (false, c) => c,
        });
        Secret::new(changed.collect::<String>())
    };
    match credential {
        Credential::S3(S3Keys { access_key_id, secret_access_key, session_token, expiration }) => {
            let secret = secret_access_key.reveal();
            Credential::S3(S3Keys {
                access_key_id: access_key_id.clone(),
                secret_access_key: turn(secret, secret.len() / 2),
                session_token: session_token.clone(),
                expiration: *expiration,
            })
        }
        Credential::Azure(AzureSas { sas_token, expiration }) => {
            let query = sas_token.reveal();
            // Behind an escape of three characters at most, so that the signature stays a signature.
            let start = query.find("sig=").map_or(0, |at| at + "sig=".len());
            let signature = query.get(start..).unwrap_or_default();
            let skip = if signature.starts_with('%') { 3 } else { 0 };
            Credential::Azure(AzureSas { sas_token: turn(query, start + skip), expiration: *expiration })
        }
        Credential::Google(GoogleToken { access_token, expiration }) => {
            let token = access_token.reveal();
            Credential::Google(GoogleToken { access_token: turn(token, token.len() / 2), expiration: *expiration })
        }
    }
}
