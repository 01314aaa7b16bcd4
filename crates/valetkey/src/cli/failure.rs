//! Why a command did not do what it was asked to: the exit code it ends with and the lines it says.
//!
//! The exit codes are part of the command line's contract (`valetkey help exit-codes`); scripts branch on them.

use std::borrow::Cow;
use std::fmt;
use std::process::ExitCode;

use valetkey_core::{Error, Kind};

/// How a command ends. The numbers are a promise to scripts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Exit {
    /// It did what was asked.
    Ok,
    /// Something on this side failed: a file, a defect of ours, a server that failed.
    Local,
    /// The command was not understood, or the server says a value is not allowed.
    Usage,
    /// No token, or one that is unknown, expired or revoked.
    Unauthenticated,
    /// Known, and not allowed.
    Denied,
    /// There is no such thing, or the caller may not know of it.
    NotFound,
    /// A thing of that name exists, or the state forbids it.
    Conflict,
    /// Too many requests.
    RateLimited,
    /// The server could not be reached, did not answer in time, or its certificate is not trusted.
    Unreachable,
    /// The ledger is not the one whose head was expected.
    Diverged,
}

impl Exit {
    /// Every way to end, in order of its number.
    pub(crate) const ALL: [Self; 10] = [
        Self::Ok,
        Self::Local,
        Self::Usage,
        Self::Unauthenticated,
        Self::Denied,
        Self::NotFound,
        Self::Conflict,
        Self::RateLimited,
        Self::Unreachable,
        Self::Diverged,
    ];

    /// The number the process ends with.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Local => 1,
            Self::Usage => 2,
            Self::Unauthenticated => 3,
            Self::Denied => 4,
            Self::NotFound => 5,
            Self::Conflict => 6,
            Self::RateLimited => 7,
            Self::Unreachable => 8,
            Self::Diverged => 9,
        }
    }

    /// A short stable name, the `code` of a failure that did not come from the server.
    pub(crate) const fn slug(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Local => "failed",
            Self::Usage => "usage",
            Self::Unauthenticated => "unauthenticated",
            Self::Denied => "denied",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::RateLimited => "rate_limited",
            Self::Unreachable => "unreachable",
            Self::Diverged => "diverged",
        }
    }

    /// What it means, for help and documentation.
    pub(crate) const fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "it did what was asked",
            Self::Local => "something failed: a local file, the server itself, a defect",
            Self::Usage => "the command or one of its values was not understood",
            Self::Unauthenticated => "no token, or it is unknown, expired or revoked",
            Self::Denied => "the token is good, and policy says no (or the account is out of credits)",
            Self::NotFound => "there is no such thing, or you may not know of it",
            Self::Conflict => "a thing of that name exists, or its state forbids this",
            Self::RateLimited => "too many requests; try again later",
            Self::Unreachable => {
                "the server (or the storage behind it) could not be reached, timed out, or its certificate is not trusted"
            }
            Self::Diverged => "the ledger is not the one whose head was expected, or a test of a policy does not hold",
        }
    }

    /// How a refusal of the domain ends a command.
    pub(crate) const fn of(kind: Kind) -> Self {
        match kind {
            Kind::Malformed | Kind::Invalid | Kind::TooLarge | Kind::Unsupported => Self::Usage,
            Kind::Unauthenticated(_) => Self::Unauthenticated,
            Kind::Forbidden | Kind::NotInPlan | Kind::OutOfCredit => Self::Denied,
            Kind::NotFound(_) => Self::NotFound,
            Kind::AlreadyExists(_) => Self::Conflict,
            Kind::RateLimited => Self::RateLimited,
            Kind::Upstream | Kind::UpstreamTimeout | Kind::Unavailable => Self::Unreachable,
            Kind::WrongMethod | Kind::Outdated | Kind::Internal => Self::Local,
        }
    }

    /// How an HTTP status ends a command.
    pub(crate) const fn of_status(status: u16) -> Self {
        match status {
            200..=299 => Self::Ok,
            400 | 413 | 414 | 415 | 422 | 431 => Self::Usage,
            401 => Self::Unauthenticated,
            402 | 403 => Self::Denied,
            404 | 410 => Self::NotFound,
            409 | 412 => Self::Conflict,
            429 => Self::RateLimited,
            408 | 502 | 503 | 504 => Self::Unreachable,
            _ => Self::Local,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// What the server said about a refusal, beyond its words.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Said {
    /// The problem's `type`.
    pub(crate) problem: Option<String>,
    /// The problem's `title`.
    pub(crate) title: Option<String>,
    /// The HTTP status.
    pub(crate) status: Option<u16>,
    /// The server's name for the kind of refusal.
    pub(crate) code: Option<String>,
    /// The field of the request that is at fault.
    pub(crate) field: Option<String>,
    /// Seconds after which another try may succeed.
    pub(crate) retry_after_secs: Option<u64>,
}

/// A command that failed. Its text may come from a server: [`crate::cli::output::Out`] cleans it before it is shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Failure {
    /// How the process ends.
    pub(crate) exit: Exit,
    /// What went wrong: lowercase, no period.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
    /// The id under which the server logged the request.
    pub(crate) request_id: Option<String>,
    /// More of what the server said.
    pub(crate) said: Option<Box<Said>>,
}

impl Failure {
    /// A failure that ends with the exit given.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None, request_id: None, said: None }
    }

    /// Something on this side failed.
    pub(crate) fn local(message: impl Into<String>) -> Self {
        Self::new(Exit::Local, message)
    }

    /// The command or one of its values was not understood.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Says what to do about it.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The name scripts know this failure by.
    pub(crate) fn code(&self) -> Cow<'_, str> {
        let said = self.said.as_deref().and_then(|said| said.code.as_deref());
        said.map_or(Cow::Borrowed(self.exit.slug()), Cow::Borrowed)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<Error> for Failure {
    /// A refusal of the domain, met on this side. What was noted for the log is for the operator, who is the reader here.
    fn from(error: Error) -> Self {
        let message = match (error.kind(), error.detail()) {
            (Kind::Internal, Some(noted)) => noted.to_owned(),
            (_, Some(noted)) => format!("{}: {noted}", error.message()),
            (_, None) => error.message().to_owned(),
        };
        let mut failure = Self::new(Exit::of(error.kind()), message);
        failure.said = Some(Box::new(Said {
            code: Some(error.kind().slug().to_owned()),
            field: error.field().map(str::to_owned),
            retry_after_secs: error.retry_after_secs().map(u64::from),
            ..Said::default()
        }));
        failure
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(failure) => failure,
            Err(error) => Self::local(all_words(error.chain().map(words_of))),
        }
    }
}

/// What a chain of errors has to say together: each says something new.
fn all_words(words: impl Iterator<Item = String>) -> String {
    words.fold(String::new(), |said, next| {
        if next.contains(&said) {
            next
        } else if said.contains(&next) {
            said
        } else {
            format!("{said}: {next}")
        }
    })
}

/// What one of a chain of errors has to say. Of the domain's own, what is for the operator: that is who reads here.
fn words_of(error: &(dyn std::error::Error + 'static)) -> String {
    match error.downcast_ref::<Error>() {
        Some(own) => own.detail().unwrap_or_else(|| own.message()).to_owned(),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_what_the_documentation_promises() {
        let codes: Vec<u8> = Exit::ALL.iter().map(|exit| exit.code()).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    }

    #[test]
    fn every_status_of_a_refusal_ends_with_its_own_code() {
        let of = |status| Exit::of_status(status).code();
        let codes = [200, 400, 401, 402, 403, 404, 409, 422, 429, 500, 503].map(of);
        assert_eq!(codes, [0, 2, 3, 4, 4, 5, 6, 2, 7, 1, 8]);
    }

    #[test]
    fn what_was_said_is_not_said_again() {
        let said = [
            "the database cannot be opened",
            "the database cannot be opened: the port is closed",
            "the port is closed",
            "why",
        ];
        let said = all_words(said.into_iter().map(str::to_owned));
        assert_eq!(said, "the database cannot be opened: the port is closed: why");
    }

    #[test]
    fn a_refusal_of_the_domain_keeps_its_words_and_its_kind() {
        let failure = Failure::from(Error::new(Kind::Forbidden, "no grant covers `lake/x`").at("prefix"));
        assert_eq!(failure.exit, Exit::Denied);
        assert_eq!(failure.message, "no grant covers `lake/x`");
        assert_eq!(failure.code(), "forbidden");
    }
}
