//! URLs of single objects, held against Google's own library.

use serde_json::{Value, json};
use valetkey_core::credential::{Credential, GoogleToken};
use valetkey_core::name::BucketName;
use valetkey_core::scope::{Actions, Path, Paths, Rights};
use valetkey_core::time::{Clock as _, Lifetime};
use valetkey_core::{Kind, Secret};
use valetkey_testkit::clock::FixedClock;

use super::tests::gcs;
use crate::upstream::{Upstream as _, UrlWish};

/// A key that was made for this test and opens nothing (PKCS#8, base64).
const KEY: &str = "\
    MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQCeGFNjc7De053C9+Xr9oqcoLBjSQla6tBatNX4YPm6Erm7k74q\
    6WTUFlTppAMBjRw3BtdECIY63jxoETSt8T11yw/KozBYKA8FRooKUJrtp0gnMfOSNeBypz5VaSajyhcEOy7YigAaP3mVBLAsqsXI\
    JFstNzUPKr1lRMwH//yEp+VFmIAte2ldL17QF2WHNkImCikD01StbJtQN1q5PGYQYGy23RYmgYBiWZmpSjb/4AjzWcofWW1ZKLws\
    sKeJl6Hpoi7kTlRaqZ9dXwPOxCH9xucj5KSL0oNAEaXPpI63JpOXWC71PriVDD+TSNMdfveV18xbmz/NA7gYttLLh1/7AgMBAAEC\
    ggEACkchX+bM8D+O39z6TDPT+q8rqHJYGSc8C//6C4Xqb+FfXivfTuGrfDcTc1KfuDSyfK7rxPC07hQCloiZa/F+zsie9zKF8xIJ\
    OY0tB9MKFdP5PRF8EnZNzpMqDacI+KVe7hewfPb2+L3fRQPWaQdh7xgF+wa9/IVvy943UXg5gQb7EwyJq36AFkhQQRpyKOowbvau\
    d/RrgjeJSTaAQ5QSaOQWo4gqNTSbM3L6yjkqT9alrlcSNJLuZR/BU4djsOAXlGLQXfbshbV6lcgOApl5TSh0mqMQZvn9qrvUQ/5w\
    x1iRxNEzzZAuQ5ImTwX/gWSTb8hi2P3Jq7MmA8/GLDYwKQKBgQDRiufREHAIt8vsp38UMRatUHCfVTckKNdY29qAAu8iIZa8JK32\
    cbkej+xT6O6u4Xx1z0QcKMXI+mFORaKEHjh3VeIzvFkscMsVRvM6p4o6nB5AARxkeVxgxg0WV86pSF+h0Xy3jspN+3nu7M23FUBK\
    1mr2MlBv5EyD/6uvl+67vwKBgQDBJWOfks057ZM3t+3EdmRuLaFJctTxQftNcPNdHeSY5VMSwuzXWmOttODELthnuG0rU3uiwrPo\
    6ZE9wc6syGi3cuIyUNiofpGTipmPMQoCemR+hkqoSCd68F5Kw9loJ8iGFqyGxarHsvyjL27nh7SGS6nF/NbCaJmuwjVtNCCaxQKB\
    gEMDOFXc+ude2EGr43Eyrbzpr8rU9tiCkzQgw4US6yUwNsOeu1/ISNqkToEbSlH1XNdUXMTgqTg4Eqx0ip/UBlzrw3amMqKKw/ff\
    A+RrNkK+MNJpSIo9YbS1QfQ2SqpKsgLPOyJ88Of1l644XyXBDxmf7v8jYiQWj/3a4y452aiDAoGAfYexYerlWzrfLZ1q+P8BcuJR\
    Kw1o/IwnqkM4yFI/WmfhQBZUG/rxQdqHIrpXh8HDoh8WAciNaVk0PnERxBZUiLYv8Qe+aHQqZTv1Za03lji5y8m4B/stPaevgOQd\
    DqacmxltdAJQZo4byGtxpyT53Tab1sPnSF73Uy+BzcHNVwkCgYEAib9Bw0ddE98ZpGAIVLFmOIyt+DfHJXsPex2PDPA8PngWPP9U\
    9HPoZ9kPGXrE7r3cWFs4O4Wt+3Q1CHblZ402ADocLkqAOwfse99yU9avuZPwZ8SeT7TNwjGr0+e8z5jEqVG/zuYJ/sR6La+KgflG\
    dxBW021UUUHj5+GrfXA2Nyk=";

fn file() -> Value {
    let label = "PRIVATE KEY";
    json!({
        "type": "service_account", "private_key_id": "kid1", "client_email": "vends@p.iam.gserviceaccount.com",
        "private_key": format!("-----BEGIN {label}-----\n{KEY}\n-----END {label}-----\n"),
    })
}

fn rights() -> Rights {
    let daily = Paths::only([Path::directory(b"jobs/daily").unwrap()]).unwrap();
    Rights::of(BucketName::parse("lake").unwrap(), daily, Actions::READ).unwrap()
}

/// What google-cloud-storage 3.17.1 for Python makes (`generate_signed_url_v4`) of the same key, instant and names.
#[tokio::test]
async fn a_url_is_the_one_of_googles_library_and_opens_one_object_of_what_was_vended() {
    let clock = std::sync::Arc::new(FixedClock::default());
    let settings = json!({"identity": {"kind": "service-account-key"}});
    let own = gcs(&settings, &json!({"service_account_key": file()}), &clock).unwrap();
    own.check_urls().unwrap();
    let (now, rights) = (clock.now(), rights());
    let until = Lifetime::secs(3600).ends(now);
    let credential =
        Credential::Google(GoogleToken { access_token: Secret::new("ya29.bounded".to_owned()), expiration: until });
    let endpoint = "https://storage.googleapis.com";
    let wish = UrlWish { endpoint, credential: &credential, rights: &rights, now, until };
    let urls = own.signs_urls(&wish).await.unwrap();
    let query = "X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Credential=vends%40p.iam.gserviceaccount.com%2F20260101%2Fauto%2F\
        storage%2Fgoog4_request&X-Goog-Date=20260101T000000Z&X-Goog-Expires=3600&X-Goog-SignedHeaders=host&X-Goog-Signature=";
    for (key, path, signature) in [
        ("jobs/daily/a.parquet", "jobs/daily/a.parquet", FIRST),
        (
            "jobs/daily/Gr\u{fc}\u{df}e $1 %2F+'\"x.parquet",
            "jobs/daily/Gr%C3%BC%C3%9Fe%20%241%20%252F%2B%27%22x.parquet",
            SECOND,
        ),
    ] {
        let url = urls.url(key.as_bytes()).unwrap();
        assert_eq!(url.reveal(), &format!("{endpoint}/lake/{path}?{query}{signature}"));
    }
    // Google would ask for nothing but the service account's own rights.
    for outside in ["jobs/daily-secret/a", "jobs", "x"] {
        assert_eq!(urls.url(outside.as_bytes()).unwrap_err().kind(), Kind::Internal, "{outside}");
    }
    let over = UrlWish { until: now, ..wish };
    assert!(own.signs_urls(&over).await.is_err());
}

#[tokio::test]
async fn an_identity_without_a_key_of_its_own_signs_no_urls() {
    let clock = std::sync::Arc::new(FixedClock::default());
    for (settings, secrets) in [
        (json!({"identity": {"kind": "metadata"}}), json!({})),
        (
            json!({"identity": {"kind": "service-account-key"}, "impersonate": "a@b.example"}),
            json!({"service_account_key": file()}),
        ),
    ] {
        let refused = gcs(&settings, &secrets, &clock).unwrap().check_urls().unwrap_err();
        assert_eq!(refused.kind(), Kind::Invalid);
        assert!(refused.message().contains("a service account's own key"), "{refused}");
    }
}

const FIRST: &str = "\
    190436ab33c490d65cc71af808be0e0ae4b3683a67218cfbb8d593df914c578044ff5fe377b8808c84e46c0e6d698444\
    b7f158ba99b4c5a469ddb5f39fa34bc641d9b8f77112b46d950e1816d3622a9e20a106d65978b03117e9c4c8a6151cd2\
    af3037c3e11703b0eec3d4b354c2bf580582bfee1e3bf24ac94f654aab7589cc6f6019ce98de4cd6e3ae28bba66ce916\
    27cdedf7dd8389eca4a1e1143565dbae41b349c4972124e33a069c543534b4c1e64cc74330b9df39814d596393d56a65\
    78b2681d4cafe451185a52e98e941940ec145f2d7e7f89b9c2f77e39fb68518766aab5736ad9bb63c7ed366dca7796c9\
    bfe573f6f6e7a4006f1076fe6c170c79";
const SECOND: &str = "\
    5ab3ee4d1659579d05cdbd5b3c25ed6bdeb417704e76d246d5c4f09faa76100f4b4ebfa8cdd379fddfac647d0426dcdb\
    352c49ec9ad000b234478cf6f310cc4b85d4104c0ed576e4df8877aeba5e6247da5c1cdc538c7652abe76d87b77d8f62\
    805e8aa32e2b7f79129158ca8a84f8b67a9833c19119ff30eb8c0a65cd193e14c7413e120db3cee3889472dd31d711ae\
    41863423f43df9badcfb420971d4b655d32ebb8a223944d6046e27c0ec8bd445edb56b7ac1a101208c9abbad9d723213\
    b1e02d6a167a0585dad5189d7263ca3d7d979590a75fda1151a654cbaeccd13aa04b80919f029d69a5f7870fd0e92636\
    27e3446e17f274a424eca2a76ef6652e";
