"""Shared access signatures of Azure, enforced by Microsoft's emulator: of containers and of blobs.

What Azurite cannot check (signatures of directories, and of keys that a user delegated) is held against Azure's documented
signatures in the Rust tests."""

import json
import time
from datetime import UTC, datetime

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobBlock, BlobClient, BlobServiceClient, ContainerClient

LAKE, OTHER = "lake", "lake-secret"
# What a URL, a signature and a shell each read otherwise.
ODD = "jobs/daily/Grüße $1 %2F+'\"x&?#*{}.parquet"
KEYS = ["jobs/daily/a.parquet", "jobs/daily-secret/a.parquet", ODD, "top"]


def settings(azurite, **more):
    return {
        "account": azurite.account,
        "endpoint": azurite.endpoint,
        "identity": {"kind": "account-key"},
        "correlation": "none",
    } | more


@pytest.fixture(scope="module", autouse=True)
def storage(server, azurite):
    server.secrets.add(azurite.key)
    storage = server.make(
        "storages",
        name="azure",
        kind="azure",
        endpoint=azurite.endpoint,
        settings=settings(azurite),
        secrets={"account_key": azurite.key},
    )
    assert storage["has_secrets"] is True
    for container in (LAKE, OTHER):
        azurite.parent.create_container(container)
        server.make("buckets", bucket=container, storage="azure")
        for key in KEYS:
            azurite.parent.get_blob_client(container, key).upload_blob(b"body")
    return storage


@pytest.fixture(scope="module")
def everything(holder, storage):
    """Who may do everything in the container, and asks for less."""
    one = holder()
    one.grant(LAKE, whole_bucket=True, access="read-write")
    return one


@pytest.fixture(scope="module", autouse=True)
def ends(azurite, everything):
    """A key with the shortest life there is, and what it opened at the start."""
    vended = everything.ask(bucket=LAKE, objects=["top"], access="read", ttl_secs=60).json()
    key = Key(azurite, vended["sas_token"])
    assert key.read("top") == b"body"
    return vended, key


class Key:
    """What a signature opens, with Azure's own client."""

    def __init__(self, azurite, sas: str):
        self.at, self.sas = azurite.endpoint, sas

    def blob(self, key: str, container: str = LAKE) -> BlobClient:
        return BlobClient(self.at, container, key, credential=self.sas, retry_total=0)

    def container(self, container: str = LAKE) -> ContainerClient:
        return ContainerClient(self.at, container, credential=self.sas, retry_total=0)

    def account(self) -> BlobServiceClient:
        return BlobServiceClient(self.at, credential=self.sas, retry_total=0)

    def read(self, key: str, container: str = LAKE) -> bytes:
        return self.blob(key, container).download_blob().readall()

    def write(self, key: str, container: str = LAKE) -> None:
        self.blob(key, container).upload_blob(b"body", overwrite=True)

    def write_in_blocks(self, key: str) -> None:
        blob = self.blob(key)
        blob.stage_block("MQ==", b"body")
        blob.commit_block_list([BlobBlock("MQ==")])

    def delete(self, key: str, container: str = LAKE) -> None:
        self.blob(key, container).delete_blob()

    def list(self, container: str = LAKE) -> list[str]:
        return list(self.container(container).list_blob_names())

    def copy(self, source: str, target: str) -> None:
        self.blob(target).start_copy_from_url(f"{self.at}/{LAKE}/{source}?{self.sas}")


@pytest.fixture
def key(server, azurite, everything):
    def key(**fields) -> Key:
        answer = everything.ask(bucket=LAKE, **fields)
        assert answer.status == 200, answer
        vended = answer.json()
        assert (vended["type"], vended["endpoint_url"]) == ("azure", azurite.endpoint)
        return Key(azurite, vended["sas_token"])

    return key


def refused(call, *args) -> None:
    with pytest.raises(HttpResponseError) as error:
        call(*args)
    assert error.value.status_code in (401, 403, 404), error.value
    # Not that it is missing: that it is not to be had.
    assert error.value.error_code not in ("BlobNotFound", "ContainerNotFound"), error.value


class TestContainer:
    def test_reading_reads_and_lists_and_no_more(self, key):
        key = key(whole_bucket=True, access="read")
        assert key.read(ODD) == b"body"
        assert set(KEYS) <= set(key.list())
        refused(key.write, "top")
        refused(key.write_in_blocks, "top")
        refused(key.delete, "top")
        refused(key.copy, "top", "copied")

    def test_writing_writes_and_no_more(self, key):
        key = key(whole_bucket=True, access="write")
        key.write("written/1")
        key.write_in_blocks("written/2")
        refused(key.read, "top")
        refused(key.delete, "top")
        refused(key.list)

    def test_everything_is_everything_in_it(self, key):
        key = key(whole_bucket=True, access="read-write")
        key.write("all/1")
        key.copy("all/1", "all/2")
        key.delete("all/1")
        assert "all/2" in key.list() and "all/1" not in key.list()
        refused(key.container().delete_container)
        refused(key.container().set_container_metadata, {"a": "b"})
        refused(key.container().get_container_properties)

    @pytest.mark.parametrize("access", ["read", "write", "read-write"])
    def test_another_container_is_shut(self, key, access):
        key = key(whole_bucket=True, access=access)
        refused(key.read, "top", OTHER)
        refused(key.write, "top", OTHER)
        refused(key.delete, "top", OTHER)
        refused(key.list, OTHER)
        refused(lambda: list(key.account().list_containers()))

    def test_listing_alone_is_not_to_be_had(self, everything):
        """Azure's letter for listing shows blobs' content to nobody, but a key that lists must read as well."""
        answer = everything.ask(bucket=LAKE, whole_bucket=True, actions=["list-bucket"])
        assert answer.status in (400, 422), answer
        assert "list" in answer.json()["detail"]


class TestBlob:
    def test_reading_reads_it_and_no_more(self, key):
        key = key(objects=[ODD], access="read")
        assert key.read(ODD) == b"body"
        assert key.blob(ODD).get_blob_properties().size == 4
        refused(key.read, "jobs/daily/a.parquet")
        refused(key.read, ODD, OTHER)
        refused(key.write, ODD)
        refused(key.delete, ODD)
        refused(key.list)

    def test_writing_writes_it_and_no_more(self, key):
        key = key(objects=["out/new"], access="write")
        key.write("out/new")
        key.write_in_blocks("out/new")
        refused(key.write, "out/new2")
        refused(key.write, "out/new", OTHER)
        refused(key.read, "out/new")
        refused(key.delete, "out/new")

    def test_deleting_deletes_it_and_no_more(self, key, azurite):
        for name in ("gone/1", "gone/2"):
            azurite.parent.get_blob_client(LAKE, name).upload_blob(b"body")
        key = key(objects=["gone/1"], actions=["delete-object"])
        refused(key.read, "gone/1")
        refused(key.delete, "gone/2")
        key.delete("gone/1")


class TestEnd:
    @pytest.mark.parametrize("change", [("sp=rl", "sp=racwdl"), ("se=20", "se=21"), ("sr=c", "sr=b")])
    def test_a_changed_key_opens_nothing(self, azurite, key, change):
        sas = key(whole_bucket=True, access="read").sas
        assert change[0] in sas
        refused(Key(azurite, sas.replace(*change)).read, "top")


class TestWhatItCannotSay:
    """One signature opens one thing: a container or a blob, and a directory only where the account's names are a tree."""

    SCOPES = [
        {"prefix": "jobs/daily"},
        {"raw_prefixes": ["jobs/da"]},
        {"objects": ["top", ODD]},
        {"prefixes": ["jobs/daily", "other"]},
    ]

    @pytest.mark.parametrize("paths", SCOPES, ids=str)
    def test_is_refused_when_it_is_granted(self, server, holder, paths):
        one = holder()
        fields = {"account": one.account, "name": "some", "to": one.name, "bucket": LAKE, "access": "read"} | paths
        answer = server.call("POST", "/api/v1/grants", server.admin_token, fields)
        assert answer.status in (400, 422), answer
        assert "signature" in answer.json()["detail"], answer

    @pytest.mark.parametrize("paths", SCOPES, ids=str)
    def test_is_refused_when_it_is_asked_for(self, everything, paths):
        answer = everything.ask(bucket=LAKE, **paths)
        assert answer.status in (400, 422), answer
        assert "signature" in answer.json()["detail"], answer

    def test_is_refused_to_apis_that_carry_s3_keys_only(self, server, holder):
        one = holder()
        for path, fields in [
            ("datasets", {"name": "azure-jobs", "topic": "jobs", "bucket": LAKE, "prefix": "jobs"}),
            ("workspaces", {"account": one.account, "key": "azure", "bucket": LAKE, "callers": None}),
        ]:
            answer = server.call("POST", f"/api/v1/{path}", server.admin_token, fields)
            assert answer.status in (400, 422), answer
            assert "S3 keys" in answer.json()["detail"]


    def test_is_refused_when_it_is_shared(self, server, holder):
        one = holder()
        server.make("shares", name="azure", account=one.account)
        table = {"schema": "shop", "name": "sales", "bucket": LAKE, "root": "jobs/daily", "access": "dir"}
        answer = server.call("POST", "/api/v1/shares/azure/tables", server.admin_token, table)
        assert answer.status in (400, 422), answer
        assert "signature" in answer.json()["detail"]


class TestChecks:
    """`storage check`: the store is asked, live, whether it keeps what it is told."""

    def test_all_hold(self, server, azurite):
        before = list(azurite.parent.get_container_client(LAKE).list_blob_names())
        checked = server.cli("storage", "check", "azure", "--bucket", LAKE)
        assert checked.returncode == 0, checked
        report = json.loads(checked.stdout)
        assert report["passed"] is True and report["left"] == [], report
        statuses = {check["check"]: check["status"] for check in report["checks"]}
        assert "failed" not in statuses.values() and list(statuses.values()).count("passed") > 4, report
        assert list(azurite.parent.get_container_client(LAKE).list_blob_names()) == before


class TestRecord:
    def test_names_the_caller(self, server, everything):
        answer = everything.ask(bucket=LAKE, objects=["top"])
        lease = server.call("GET", f"/api/v1/leases/{answer.json()['lease_id']}", server.admin_token).json()
        assert (lease["caller_name"], lease["account_name"]) == (everything.name, everything.account)
        assert answer.json()["revocation"] == "expiry-only"

    def test_wrong_settings_are_named(self, server, azurite):
        for wrong, field in [
            ({"settings": settings(azurite, account="UPPER")}, "settings.account"),
            ({"settings": settings(azurite, unheard=1)}, "settings"),
            ({"secrets": {"account_key": "not base64"}}, "account_key"),
            ({"secrets": {}}, "account_key"),
        ]:
            fields = {"settings": settings(azurite), "secrets": {"account_key": azurite.key}} | wrong
            body = {"name": "azure-wrong", "kind": "azure", "endpoint": azurite.endpoint} | fields
            answer = server.call("POST", "/api/v1/storages", server.admin_token, body)
            assert answer.status in (400, 422), answer
            assert field in answer.body.decode(), answer
            assert azurite.key.encode() not in answer.body


class TestLast:
    """Last, so that the other tests' time is not waited for again."""

    def test_a_key_opens_nothing_after_its_end(self, ends, azurite):
        vended, key = ends
        end = datetime.fromisoformat(vended["expiration"])
        while (left := (end - datetime.now(UTC)).total_seconds()) >= 0:
            time.sleep(left + 0.001)
        refused(key.read, "top")
        # Nor does it take the object for missing.
        assert azurite.parent.get_blob_client(LAKE, "top").exists()


def test_its_check_passes_and_says_what_it_cannot_prove(server, azurite, storage):
    done = server.cli("storage", "check", "azure", "--bucket", LAKE)
    report = json.loads(done.stdout)
    assert done.returncode == 0 and report["passed"], report
    skipped = [row["check"] for row in report["checks"] if row["status"] == "skipped"]
    # Azurite keeps no versions, and brings back nothing that was deleted.
    assert skipped == ["directories", "list-inside", "parts-inside", "beyond-version", "beyond-undelete"]
    open_beyond = {row["check"] for row in report["checks"] if row["reason"] == "open, as documented"}
    assert {"beyond-snapshot", "beyond-lease", "beyond-metadata"} <= open_beyond, report
    container = azurite.parent.get_container_client(LAKE)
    assert list(container.list_blobs(name_starts_with=".valetkey/")) == []
