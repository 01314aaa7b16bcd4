"""Dreadnode's SDK, unmodified: artifacts and datasets end up in the bucket, keys are renewed, and nothing beside the
workspace is in reach."""

import hashlib
import os
import time
from datetime import UTC, datetime

import pytest
from botocore.exceptions import ClientError
from conftest import Bucket
from harness import MIB


def written(tmp_path, name: str, content: bytes):
    path = tmp_path / name
    path.write_bytes(content)
    return path


def key_of(oid: str) -> str:
    """Where the SDK puts an object below `artifacts` or `cas`."""
    digest = oid.removeprefix("sha256:")
    return f"sha256/{digest[:2]}/{digest[2:4]}/{digest}"


def oid_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def code(call, *args, **kwargs) -> str:
    with pytest.raises(ClientError) as refused:
        call(*args, **kwargs)
    return refused.value.response["Error"]["Code"]


def through(credentials) -> Bucket:
    """The bucket through the SDK's own key."""
    fields = ("access_key_id", "secret_access_key", "session_token", "region", "bucket", "prefix", "endpoint")
    return Bucket({name: getattr(credentials, name) for name in fields})


def dataset(tmp_path, name: str, version="0.1.0"):
    import pandas

    folder = tmp_path / name
    folder.mkdir()
    (folder / "dataset.yaml").write_text(f"name: {name}\nversion: {version}\nsummary: planes\n")
    pandas.DataFrame({"tailnum": ["N10156", "N102UW"], "year": [2004, 1998]}).to_parquet(folder / "planes.parquet")
    return folder


class TestConfigure:
    def test_with_everything_named(self, sdk, place):
        dn = sdk(place, project="atlas")
        assert (dn._profile.org_key, dn._profile.workspace_key) == (place.organization, place.workspace)
        # The SDK makes the project it does not find; it is real.
        answer = place.server.call("GET", f"{place.path}/projects", place.token)
        assert "atlas" in [project["key"] for project in answer.json()]
        assert sdk(place, project="atlas")._profile.project_key == "atlas"

    def test_with_the_organization_alone(self, sdk, place):
        assert sdk(place, workspace=None)._profile.workspace_key == place.workspace

    def test_with_nothing_but_the_token(self, sdk, place):
        profile = sdk(place, organization=None, workspace=None)._profile
        assert (profile.org_key, profile.workspace_key) == (place.organization, place.workspace)


class TestArtifacts:
    def test_a_small_one_is_in_the_bucket_and_comes_back(self, sdk, place, tmp_path):
        content = os.urandom(1000)
        oid = sdk(place).storage.store_artifact(written(tmp_path, "small", content))
        assert oid == oid_of(content)
        assert place.bucket().get(f"artifacts/{key_of(oid)}") == content
        # With an empty cache it can only come from there.
        assert sdk(place).storage.get_artifact(oid).read_bytes() == content

    def test_a_large_one_goes_in_parts(self, sdk, place, tmp_path):
        content = os.urandom(MIB) * 120
        oid = sdk(place).storage.store_artifact(written(tmp_path, "large", content))
        head = place.bucket().head(f"artifacts/{key_of(oid)}")
        assert head["ContentLength"] == len(content)
        assert "-" in head["ETag"], "uploaded in parts"
        assert sdk(place).storage.get_artifact(oid).read_bytes() == content

    def test_storing_twice_is_storing_once(self, sdk, place, tmp_path):
        source = written(tmp_path, "twice", os.urandom(100))
        before = place.bucket().keys("artifacts")
        oids = {sdk(place).storage.store_artifact(source) for _ in range(2)}
        assert place.bucket().keys("artifacts") - before == {key_of(oid) for oid in oids}

    def test_with_a_key_to_read_nothing_is_stored(self, sdk, new_place, tmp_path):
        reader = new_place(read_only=True)
        content = b"only on this disk"
        # The SDK keeps it locally and says nothing.
        assert sdk(reader).storage.store_artifact(written(tmp_path, "x", content)) == oid_of(content)
        assert reader.bucket().keys("artifacts") == set()
        bucket = reader.bucket()
        key = f"{bucket.prefix}/artifacts/x"
        assert code(bucket.s3.put_object, Bucket=bucket.name, Key=key, Body=b"x") == "AccessDenied"


class TestDatasets:
    def test_pushed_pulled_and_loaded(self, sdk, place, tmp_path):
        before = place.bucket().keys("cas")
        folder = dataset(tmp_path, "planes")
        pushed = sdk(place).push_dataset(folder)
        assert pushed.success and pushed.errors == [], pushed
        content = (folder / "planes.parquet").read_bytes()
        assert place.bucket().keys("cas") - before == {key_of(oid_of(content))}, "the SDK says so either way"
        assert place.bucket().get(f"cas/{key_of(oid_of(content))}") == content

        manifest = place.server.call("GET", f"/api/v1/{place.organization}/planes/manifests/0.1.0", place.token)
        assert oid_of(manifest.body) == manifest.headers["docker-content-digest"] == pushed.manifest_digest
        config = manifest.json()["config"]["digest"]
        blob = place.server.call("GET", f"/api/v1/{place.organization}/blobs/{config}", place.token)
        assert (blob.status, oid_of(blob.body)) == (200, config)

        fresh = sdk(place)
        pulled = fresh.pull_package([f"dataset://{place.organization}/planes:0.1.0"])
        assert pulled.success, pulled
        frame = fresh.load_package(f"dataset://{place.organization}/planes").to_pandas()
        assert frame["tailnum"].tolist() == ["N10156", "N102UW"]

    def test_another_organization_finds_none(self, sdk, place, new_place, tmp_path):
        assert sdk(place).push_dataset(dataset(tmp_path, "secret-planes")).success
        foreign = new_place("globex")
        pulled = sdk(foreign).pull_package([f"dataset://{place.organization}/secret-planes:0.1.0"])
        assert not pulled.success
        own = sdk(foreign).pull_package(["dataset://globex/secret-planes:0.1.0"])
        assert not own.success

    def test_who_may_only_read_pulls_and_does_not_push(self, sdk, place, new_place, tmp_path):
        assert sdk(place).push_dataset(dataset(tmp_path, "shared-planes")).success
        reader = new_place(read_only=True)
        assert sdk(reader).pull_package([f"dataset://{place.organization}/shared-planes:0.1.0"]).success
        with pytest.raises(PermissionError):
            sdk(reader).push_dataset(dataset(tmp_path, "my-planes"))
        begun = reader.server.call("POST", f"/api/v1/{place.organization}/planes/blobs/uploads/", reader.token)
        assert (begun.status, begun.json()["type"]) == (403, "forbidden")


class TestRenewal:
    def leases(self, place) -> int:
        path = f"/api/v1/leases?account={place.organization}&limit=500"
        leases = place.server.call("GET", path, place.server.admin_token).json()["leases"]
        return len([lease for lease in leases if lease["dialect"] == "dreadnode"])

    def test_across_an_expiry(self, sdk, hurried, tmp_path):
        dn = sdk(hurried)
        first = dn.storage.store_artifact(written(tmp_path, "first", b"first"))
        old = dn.storage._credentials
        count = self.leases(hurried)
        while (left := (old.expiration - datetime.now(UTC)).total_seconds()) >= 0:
            time.sleep(left + 0.001)
        assert code(through(old).get, f"artifacts/{key_of(first)}") == "ExpiredToken"
        second = dn.storage.store_artifact(written(tmp_path, "second", b"second"))
        assert dn.storage._credentials.access_key_id != old.access_key_id
        assert self.leases(hurried) > count
        assert hurried.bucket().keys("artifacts") >= {key_of(first), key_of(second)}
        assert sdk(hurried).storage.get_artifact(first).read_bytes() == b"first"

    def test_after_an_end_it_did_not_expect(self, sdk, new_place, tmp_path):
        place = new_place()
        dn = sdk(place)
        oid = dn.storage.store_artifact(written(tmp_path, "x", b"x"))
        old = dn.storage._credentials
        server = place.server
        whose = server.call("GET", f"/api/v1/whose/{old.access_key_id}", server.admin_token).json()
        assert server.call("DELETE", f"/api/v1/leases/{whose['lease_id']}", server.admin_token).status in (200, 204)
        assert code(through(old).get, f"artifacts/{key_of(oid)}") == "ExpiredToken"
        dn.storage.artifact_blob_path(oid).unlink()
        assert dn.storage.get_artifact(oid).read_bytes() == b"x"
        assert dn.storage._credentials.access_key_id != old.access_key_id


class TestRefusals:
    def test_a_workspace_of_others_is_not_there(self, sdk, place, new_place):
        from dreadnode.app.api.client import NotFoundError

        other = new_place()
        for workspace in (other.workspace, "none"):
            with pytest.raises(NotFoundError, match="404: no such workspace"):
                sdk(place, workspace=workspace)

    def test_an_organization_of_others_is_not_there(self, sdk, place):
        from dreadnode.app.api.client import NotFoundError

        for organization in ("globex", "none"):
            with pytest.raises(NotFoundError, match="404: no such organization"):
                sdk(place, organization=organization)

    def test_a_stranger_is_told_so(self, sdk, place):
        from dataclasses import replace

        from dreadnode.app.api.client import AuthenticationError

        with pytest.raises(AuthenticationError):
            sdk(replace(place, token="dn_key_unknown"))

    def test_a_project_that_is_there_is_a_conflict(self, sdk, place):
        from dreadnode.app.api.client import ConflictError

        api = sdk(place)._api
        made = api.create_project(place.organization, place.workspace, "Twice", "twice", "about")
        assert (made.key, made.name, made.description) == ("twice", "Twice", "about")
        with pytest.raises(ConflictError):
            api.create_project(place.organization, place.workspace, "Twice", "twice")

    def test_an_account_without_credit_is_told_so(self, sdk, server, new_place):
        from dreadnode.app.api.client import InsufficientCreditsError

        body = {"name": "poor", "credits_per_vend": 1}
        assert server.call("POST", "/api/v1/accounts", server.admin_token, body).status == 201
        poor = new_place("poor")
        with pytest.raises(InsufficientCreditsError):
            sdk(poor)._api.get_storage_access(poor.organization, poor.workspace)

    def test_nothing_is_deleted(self, sdk, place, tmp_path):
        dn = sdk(place)
        oid = dn.storage.store_artifact(written(tmp_path, "stays", b"stays"))
        with pytest.raises(PermissionError):
            dn.storage._get_filesystem().rm_file(dn.storage.remote_artifact_path(oid))
        assert place.bucket().get(f"artifacts/{key_of(oid)}") == b"stays"

    def test_what_lies_beside_is_closed(self, place, new_place):
        bucket, other = place.bucket(), new_place().bucket()
        s3, name = bucket.s3, bucket.name
        assert other.name == name and other.prefix != bucket.prefix
        for prefix in ("", bucket.prefix, f"{bucket.prefix}/", f"{other.prefix}/artifacts/", f"{bucket.prefix}/art"):
            assert code(s3.list_objects_v2, Bucket=name, Prefix=prefix) == "AccessDenied", prefix
        for key in (f"{bucket.prefix}/x", f"{bucket.prefix}/casx/x", f"{other.prefix}/cas/x", "x"):
            assert code(s3.put_object, Bucket=name, Key=key, Body=b"x") == "AccessDenied", key
            assert code(s3.get_object, Bucket=name, Key=key) == "AccessDenied", key
        assert code(s3.get_object, Bucket="flights-lake", Key="flights/daily/2013-01-01.parquet") == "AccessDenied"
        assert code(s3.list_multipart_uploads, Bucket=name) == "AccessDenied"
        assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == [name]

    def test_an_upload_in_parts_may_be_aborted(self, place):
        bucket = place.bucket()
        key = f"{bucket.prefix}/artifacts/aborted"
        upload = bucket.s3.create_multipart_upload(Bucket=bucket.name, Key=key)["UploadId"]
        bucket.s3.abort_multipart_upload(Bucket=bucket.name, Key=key, UploadId=upload)
        assert "aborted" not in bucket.keys("artifacts")
