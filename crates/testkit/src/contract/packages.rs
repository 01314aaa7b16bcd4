//! Packages: what was pushed is there, under its digest, for its account alone.

use jiff::SignedDuration;
use valetkey_core::Kind;
use valetkey_core::account::Metering;
use valetkey_core::error::Noun;
use valetkey_core::nouns::package::{Digest, MOST_UPLOADS, Manifest, Reference, Tag, Upload, UploadKey};

use crate::contract::bench::{Bench, Tenant, name};

fn upload(tenant: &Tenant, seed: u8) -> Upload {
    Upload {
        key: UploadKey::from_bytes([seed; 32]).digest(),
        account: tenant.account.id,
        caller: tenant.caller,
        package: name("demo"),
    }
}

async fn begin(bench: &Bench, upload: &Upload) {
    let until = bench.now() + SignedDuration::from_secs(600);
    bench.packages.begin_upload(upload, until, bench.now()).await.unwrap();
}

async fn push(bench: &Bench, tenant: &Tenant, body: &[u8]) -> Digest {
    let upload = upload(tenant, 1);
    begin(bench, &upload).await;
    let digest = Digest::of(body);
    bench.packages.finish_upload(&upload, digest, body.to_vec(), bench.now()).await.unwrap();
    digest
}

fn manifest(body: &[u8]) -> Manifest {
    Manifest { digest: Digest::of(body), media_type: "application/x".into(), body: body.to_vec() }
}

/// Byte for byte, and to nobody else.
pub async fn a_blob_is_kept_for_its_account_alone(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let other = bench.tenant("other", Metering::Free).await;
    for body in [&b""[..], b"\x00\xff blob"] {
        for _ in 0..2 {
            let digest = push(bench, &tenant, body).await;
            let account = tenant.account.id;
            assert_eq!(bench.packages.blob(account, digest).await.unwrap().as_deref(), Some(body));
            assert_eq!(bench.packages.blob_size(account, digest).await.unwrap(), Some(body.len() as u64));
            assert_eq!(bench.packages.blob(other.account.id, digest).await.unwrap(), None);
            assert_eq!(bench.packages.blob_size(other.account.id, digest).await.unwrap(), None);
        }
    }
}

/// Once, by who began it, for what it was begun for, in its time, with the content that was announced.
pub async fn an_upload_is_ended_once_by_who_began_it(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let other = bench.tenant("other", Metering::Free).await;
    let mine = upload(&tenant, 1);
    begin(bench, &mine).await;
    let digest = Digest::of(b"x");
    let missing = Kind::NotFound(Noun::Package);
    let end = async |upload: &Upload, digest| {
        bench.packages.finish_upload(upload, digest, b"x".to_vec(), bench.now()).await.map_err(|error| error.kind())
    };
    for foreign in [
        upload(&tenant, 2),
        Upload { account: other.account.id, ..mine.clone() },
        Upload { caller: other.caller, ..mine.clone() },
        Upload { package: name("another"), ..mine.clone() },
    ] {
        assert_eq!(end(&foreign, digest).await, Err(missing), "{foreign:?}");
    }
    assert_eq!(end(&mine, Digest::of(b"y")).await, Err(Kind::Malformed));
    assert_eq!(bench.packages.blob(tenant.account.id, digest).await.unwrap(), None);
    assert_eq!(end(&mine, digest).await, Ok(()));
    assert_eq!(end(&mine, digest).await, Err(missing));
    begin(bench, &mine).await;
    bench.clock.advance_secs(600);
    assert_eq!(end(&mine, digest).await, Err(missing));
}

/// The newest are kept.
pub async fn uploads_that_are_never_ended_do_not_pile_up(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    for seed in 0..=u8::try_from(MOST_UPLOADS).unwrap() {
        begin(bench, &upload(&tenant, seed)).await;
        bench.clock.advance_secs(1);
    }
    let digest = Digest::of(b"x");
    let end =
        async |seed| bench.packages.finish_upload(&upload(&tenant, seed), digest, b"x".to_vec(), bench.now()).await;
    assert_eq!(end(0).await.unwrap_err().kind(), Kind::NotFound(Noun::Package));
    end(1).await.unwrap();
    end(u8::try_from(MOST_UPLOADS).unwrap()).await.unwrap();
}

/// By its tag, which may move, and by its digest, which stays.
pub async fn a_manifest_is_found_by_tag_and_by_digest(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let other = bench.tenant("other", Metering::Free).await;
    let (account, demo, now) = (tenant.account.id, name("demo"), bench.now());
    let config = push(bench, &tenant, b"config").await;
    let tag = |text: &str| Tag::parse(text).unwrap();
    let (one, two) = (manifest(b"{\"one\":1}"), manifest(b"{\"two\":2}"));
    let put = async |tag: Option<&Tag>, manifest: &Manifest, needs: &[Digest]| {
        bench.packages.put_manifest(account, &demo, tag, manifest, needs, now).await
    };
    let lacking = put(Some(&tag("1.0.0")), &one, &[config, Digest::of(b"nowhere")]).await.unwrap_err();
    assert_eq!(lacking.kind(), Kind::Malformed);
    assert!(bench.packages.tags(account, &demo).await.unwrap().is_empty());
    put(Some(&tag("1.0.0")), &one, &[config]).await.unwrap();
    put(Some(&tag("0.9.0")), &one, &[config]).await.unwrap();
    put(None, &two, &[]).await.unwrap();
    let get = async |account, package: &str, reference: Reference| {
        bench.packages.manifest(account, &name(package), &reference).await.unwrap()
    };
    assert_eq!(get(account, "demo", Reference::Tag(tag("1.0.0"))).await, Some(one.clone()));
    put(Some(&tag("1.0.0")), &two, &[]).await.unwrap();
    assert_eq!(get(account, "demo", Reference::Tag(tag("1.0.0"))).await, Some(two.clone()));
    assert_eq!(get(account, "demo", Reference::Digest(one.digest)).await, Some(one.clone()));
    assert_eq!(get(account, "demo", Reference::Tag(tag("2.0.0"))).await, None);
    assert_eq!(get(account, "another", Reference::Digest(one.digest)).await, None);
    assert_eq!(get(other.account.id, "demo", Reference::Digest(one.digest)).await, None);
    assert_eq!(get(other.account.id, "demo", Reference::Tag(tag("1.0.0"))).await, None);
    assert_eq!(bench.packages.tags(account, &demo).await.unwrap(), [tag("0.9.0"), tag("1.0.0")]);
    let stolen = bench.packages.put_manifest(other.account.id, &demo, None, &one, &[config], now).await;
    assert_eq!(stolen.unwrap_err().kind(), Kind::Malformed, "another account's blob is not there");
}
