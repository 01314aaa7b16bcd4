//! Ending a role's sessions: an inline policy of the role that denies everything to those that began before an instant (IAM User
//! Guide, "Revoke IAM role temporary security credentials"). Ceph's gateway knows the same, under its own address.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use valetkey_core::Error;
use valetkey_core::nouns::storage_admin::Ended;
use valetkey_core::time::Lifetime;

use crate::sts::Profile;
use crate::sts::ask::{Api, Asker};
use crate::sts::wire::{Form, Refused, done};
use crate::web::{Answer, whole};

const SECOND: SignedDuration = SignedDuration::from_secs(1);
/// Nobody waits longer for the instant from which new sessions count again; clocks that differ by more are wrong anyway.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_secs(10);

/// The policy, and the role it is put on.
#[derive(Debug)]
pub(crate) struct Lever {
    pub(crate) api: Api,
    pub(crate) profile: Profile,
    pub(crate) role: String,
    pub(crate) policy: String,
    /// No session of ours lives longer.
    pub(crate) longest: Lifetime,
}

impl Lever {
    /// Ends what began before an instant. New sessions are good once the pause is over: instants of sessions are whole seconds,
    /// so that those of the running second count as before it.
    pub(crate) async fn end(&self, asker: &Asker, before: Timestamp) -> Result<(Ended, Duration), Error> {
        let mut before = if whole(before) == before { before } else { plus(whole(before), SECOND) };
        let mut ready = before;
        let mut clocks = None;
        let ahead = self.put(asker, before).await?;
        if !ahead.is_zero() {
            // When a session began is by the store's clock, which is known to the second.
            before = plus(plus(before, -ahead), SECOND);
            ready = plus(plus(before, ahead), SECOND);
            self.put(asker, before).await?;
            let (by, side) = (ahead.abs().as_secs(), if ahead.is_negative() { "behind" } else { "ahead of" });
            clocks = (by > 5)
                .then(|| format!("this server's clock is {by} s {side} the storage's; the time is by the storage's"));
        }
        let pause = ready.duration_since(asker.now()).clamp(SignedDuration::ZERO, LONGEST_PAUSE);
        let Self { role, policy, profile, longest, .. } = self;
        let when = match profile {
            Profile::Ceph => "each gateway of the cluster denies them with its next look at the role",
            Profile::Aws | Profile::Yandex | Profile::Other => {
                "AWS says that a changed policy may take a few minutes until it counts everywhere"
            }
        };
        let notes = [
            when.to_owned(),
            format!("every session of the role `{role}` is ended, also those that others began"),
            format!("the policy may be removed after {}, when the last of them is over", longest.ends(before)),
        ];
        let ended = Ended {
            done: format!(
                "the role `{role}` denies everything to sessions from before {before} (its policy `{policy}`)"
            ),
            notes: notes.into_iter().chain(clocks).collect(),
        };
        Ok((ended, pause.unsigned_abs()))
    }

    /// Puts the policy on the role; by how much our clock is ahead of the store's.
    async fn put(&self, asker: &Asker, before: Timestamp) -> Result<SignedDuration, Error> {
        let document = format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Deny","Action":["*"],"Resource":["*"],"Condition":{{"DateLessThan":{{"aws:TokenIssueTime":"{before}"}}}}}}]}}"#
        );
        let body = Form::of("PutRolePolicy", "2010-05-08")
            .with("RoleName", &self.role)
            .with("PolicyName", &self.policy)
            .with("PolicyDocument", &document)
            .into_body();
        match asker.ask(&self.api, &body, asker.now(), read).await {
            Ok((ahead, _)) => Ok(ahead.unwrap_or_default()),
            Err(Refused::Parent(error) | Refused::Other(error)) => Err(error),
            Err(Refused::TooLarge) => Err(Error::internal("PutRolePolicy was answered as AssumeRole")),
        }
    }
}

fn read(answer: &Answer) -> Result<Option<SignedDuration>, Refused> {
    done(answer, "PutRolePolicyResponse").map(|()| answer.ahead())
}

fn plus(instant: Timestamp, by: SignedDuration) -> Timestamp {
    instant.checked_add(by).unwrap_or(instant)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;
    use valetkey_core::storage::Revocability;
    use valetkey_core::{Kind, Secret};
    use valetkey_testkit::clock::FixedClock;

    use super::*;
    use crate::sts::{Secrets, Settings, Sts};
    use crate::upstream::Upstream as _;
    use crate::web::stub::{Reply, Stub};

    const DOCUMENT: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":["*"],"Resource":["*"],"Condition":{"DateLessThan":{"aws:TokenIssueTime":"2026-01-01T00:00:00Z"}}}]}"#;

    fn settings(profile: &str, sts: &str, revoke: &serde_json::Value) -> Result<Settings, serde_json::Error> {
        let role = "arn:aws:iam::123456789012:role/team/vendor";
        serde_json::from_value(json!({
            "region": "eu-west-1", "role_arn": role, "profile": profile, "sts_endpoint": sts, "revoke": revoke,
        }))
    }

    fn sts(settings: Settings) -> Result<Sts, Error> {
        let secrets =
            r#"{"access_key_id":"AKIDPARENT","secret_access_key":"parent-secret","session_token":"parent-token"}"#;
        let secrets = Secrets::parse(&Secret::new(secrets.to_owned())).unwrap();
        Sts::new(settings, secrets, reqwest::Client::new(), Arc::new(FixedClock::default()))
    }

    fn aws(stub: &Stub) -> Sts {
        let revoke = json!({"role_policy": "valetkey-ended", "iam_endpoint": stub.url});
        sts(settings("aws", "https://sts.example.com", &revoke).unwrap()).unwrap()
    }

    /// The answer of the API reference, by a clock that is right unless said otherwise.
    fn done(date: &str) -> Reply {
        let body = r#"<PutRolePolicyResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><ResponseMetadata><RequestId>7a62c49f-347e-4fc4-9331-6e8eEXAMPLE</RequestId></ResponseMetadata></PutRolePolicyResponse>"#;
        Reply::Now(200, vec![("date", date.to_owned())], body.to_owned())
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    const RIGHT: &str = "Thu, 01 Jan 2026 00:00:00 GMT";

    #[tokio::test]
    async fn a_policy_is_put_on_the_role_as_the_api_reference_says() {
        let stub = Stub::start([done(RIGHT)]).await;
        let sts = aws(&stub);
        assert_eq!(sts.facts().revocation, Revocability::Minutes);
        let ended = sts.end_credentials(at("2026-01-01T00:00:00Z")).await.unwrap();
        assert_eq!(
            ended.done,
            "the role `vendor` denies everything to sessions from before 2026-01-01T00:00:00Z (its policy `valetkey-ended`)"
        );
        assert_eq!(
            ended.notes,
            [
                "AWS says that a changed policy may take a few minutes until it counts everywhere",
                "every session of the role `vendor` is ended, also those that others began",
                "the policy may be removed after 2026-01-01T01:00:00Z, when the last of them is over",
            ]
        );
        let asked = stub.asked();
        assert_eq!((asked.len(), asked[0].line.as_str()), (1, "POST /"));
        let form = [
            ("Action", "PutRolePolicy"),
            ("Version", "2010-05-08"),
            ("RoleName", "vendor"),
            ("PolicyName", "valetkey-ended"),
            ("PolicyDocument", DOCUMENT),
        ];
        assert_eq!(asked[0].form(), form.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(asked[0].header("content-type"), Some("application/x-www-form-urlencoded; charset=utf-8"));
        assert_eq!(asked[0].header("x-amz-date"), Some("20260101T000000Z"));
        assert_eq!(asked[0].header("x-amz-security-token"), Some("parent-token"));
        let start = "AWS4-HMAC-SHA256 Credential=AKIDPARENT/20260101/us-east-1/iam/aws4_request, \
                     SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, Signature=";
        assert!(asked[0].header("authorization").unwrap().starts_with(start), "{asked:?}");
    }

    #[tokio::test]
    async fn the_instant_is_by_the_stores_clock_and_never_too_early() {
        // What arrived, the instants written, and how long to wait.
        for (before, date, instants, pause) in [
            ("2026-01-01T00:00:00.2Z", RIGHT, vec!["2026-01-01T00:00:01Z"], 1),
            (
                "2026-01-01T00:00:00Z",
                "Thu, 01 Jan 2026 00:10:00 GMT",
                vec!["2026-01-01T00:00:00Z", "2026-01-01T00:10:01Z"],
                2,
            ),
            (
                "2026-01-01T00:00:00Z",
                "Wed, 31 Dec 2025 23:59:58 GMT",
                vec!["2026-01-01T00:00:00Z", "2025-12-31T23:59:59Z"],
                2,
            ),
            ("2026-01-01T00:00:00Z", "", vec!["2026-01-01T00:00:00Z"], 0),
        ] {
            let stub = Stub::start([done(date), done(date)]).await;
            let sts = aws(&stub);
            let lever = sts.settings.lever.as_ref().unwrap();
            let (ended, waited) = lever.end(&sts.asker, at(before)).await.unwrap();
            let asked = stub.asked();
            assert_eq!(asked.len(), instants.len(), "{date}");
            for (asked, instant) in asked.iter().zip(&instants) {
                assert!(asked.form()[4].1.contains(&format!(r#""aws:TokenIssueTime":"{instant}""#)), "{asked:?}");
            }
            assert!(ended.done.contains(instants.last().unwrap()), "{ended:?}");
            assert_eq!(waited, Duration::from_secs(pause), "{date}");
            assert_eq!(ended.notes.len() == 4, date.contains("00:10"), "a clock that is wrong is told: {ended:?}");
        }
    }

    #[tokio::test]
    async fn ceph_is_asked_where_it_gives_sessions() {
        let stub = Stub::start([done(RIGHT)]).await;
        let sts = sts(settings("ceph", &stub.url, &json!({"role_policy": "valetkey-ended"})).unwrap()).unwrap();
        let ended = sts.end_credentials(at("2026-01-01T00:00:00Z")).await.unwrap();
        assert!(ended.notes[0].contains("gateway"), "{ended:?}");
        let asked = stub.asked();
        assert!(asked[0].header("authorization").unwrap().contains("/eu-west-1/iam/aws4_request"), "{asked:?}");
        assert!(!asked[0].body.contains('+') && asked[0].form()[4].1 == DOCUMENT, "Ceph reads no space: {asked:?}");
    }

    #[tokio::test]
    async fn every_failure_is_refused_in_its_own_kind_and_tells_no_secret() {
        let refusal = |status, code: &str| {
            // With this one the store repeats what was signed.
            let message = if code.starts_with("Signature") { "x-amz-security-token:parent-token" } else { "words" };
            let body = format!(
                r#"<ErrorResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error><RequestId>r-1</RequestId></ErrorResponse>"#
            );
            Reply::Now(status, vec![("date", RIGHT.to_owned())], body)
        };
        for (reply, kind, retry, noted) in [
            (refusal(403, "AccessDenied"), Kind::Upstream, None, "PutRolePolicy answered 403 AccessDenied"),
            (refusal(404, "NoSuchEntity"), Kind::Upstream, None, "NoSuchEntity"),
            (refusal(409, "LimitExceeded"), Kind::Upstream, None, "LimitExceeded"),
            (refusal(400, "Throttling"), Kind::RateLimited, Some(1), "Throttling"),
            (refusal(403, "SignatureDoesNotMatch"), Kind::Upstream, None, "SignatureDoesNotMatch"),
            (refusal(403, "InvalidClientTokenId"), Kind::Upstream, None, "InvalidClientTokenId"),
            (refusal(400, "PackedPolicyTooLarge"), Kind::Internal, None, ""),
            (Reply::Now(500, Vec::new(), "<html>parent-token".to_owned()), Kind::Upstream, None, "answered 500"),
            (Reply::Now(302, vec![("location", "/".to_owned())], String::new()), Kind::Upstream, None, ""),
            (Reply::Never, Kind::UpstreamTimeout, None, "did not answer in time"),
        ] {
            let stub = Stub::start([reply]).await;
            let revoke = json!({"role_policy": "valetkey-ended", "iam_endpoint": stub.url});
            let mut settings = settings("aws", "https://sts.example.com", &revoke).unwrap();
            settings.timeout_ms = 500;
            let error = sts(settings).unwrap().end_credentials(at("2026-01-01T00:00:00Z")).await.unwrap_err();
            assert_eq!((error.kind(), error.retry_after_secs()), (kind, retry), "{error:?}");
            assert!(error.detail().unwrap_or_default().contains(noted), "{noted}: {error:?}");
            let all = format!("{error:?} {error}");
            assert!(!all.contains("parent-secret") && !all.contains("parent-token"), "{all}");
        }
    }

    #[tokio::test]
    async fn what_cannot_work_is_refused_and_what_is_not_configured_says_what_to_do() {
        let field = |profile: &str, revoke: serde_json::Value| {
            let refused = sts(settings(profile, "https://sts.example.com", &revoke).unwrap()).map(drop).unwrap_err();
            (refused.kind() == Kind::Invalid).then(|| refused.field().unwrap().to_owned()).unwrap()
        };
        for name in ["all", "", "valetkey ended", "valetkey-é"] {
            assert_eq!(field("aws", json!({"role_policy": name})), "revoke.role_policy", "{name}");
        }
        let with = |more: &str, value: &str| json!({"role_policy": "AWSRevokeOlderSessions", more: value});
        assert_eq!(field("aws", with("iam_endpoint", "ftp://x")), "revoke.iam_endpoint");
        assert_eq!(field("aws", with("iam_region", "a/b")), "revoke.iam_region");
        assert_eq!(field("yandex", json!({"role_policy": "valetkey-ended"})), "revoke");
        assert!(settings("aws", "https://x", &json!({})).is_err());

        let without = sts(settings("aws", "https://sts.example.com", &json!(null)).unwrap()).unwrap();
        assert_eq!(without.facts().revocation, Revocability::ExpiryOnly);
        let refused = without.end_credentials(at("2026-01-01T00:00:00Z")).await.unwrap_err();
        assert_eq!((refused.kind(), refused.field()), (Kind::Invalid, Some("settings.revoke")));
        assert!(refused.message().contains("aws:TokenIssueTime"), "{refused}");
    }

    #[test]
    fn each_partition_has_its_own_iam() {
        for (role, api) in [
            ("arn:aws:iam::123456789012:role/x", "https://iam.amazonaws.com/ us-east-1"),
            ("arn:aws-cn:iam::123456789012:role/x", "https://iam.cn-north-1.amazonaws.com.cn/ cn-north-1"),
            ("arn:aws-us-gov:iam::123456789012:role/x", "https://iam.us-gov.amazonaws.com/ us-gov-west-1"),
        ] {
            let mut settings = settings("aws", "https://x", &json!({"role_policy": "valetkey-ended"})).unwrap();
            settings.role_arn = role.to_owned();
            let shown = format!("{:?}", settings.parse().unwrap().lever.unwrap().api);
            for part in api.split(' ') {
                let host = part.trim_start_matches("https://").trim_end_matches('/');
                assert!(shown.contains(host), "{part} in {shown}");
            }
        }
    }
}
