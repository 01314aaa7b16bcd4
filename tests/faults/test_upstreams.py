"""Stores that somebody else runs and that say nonsense, too much, too little, or nothing."""

import itertools
import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import BotoCoreError, ClientError, IncompleteReadError, ResponseStreamingError

from faults import memory
from harness import MIB
from serving import outcome
from upstreams import HTML, RESET, SILENCE, XML, Response, S3Stub, Stub, assumed, endless

_numbers = itertools.count()
PARENT = {"access_key_id": "AKIDPARENT", "secret_access_key": "parent-secret-that-nobody-sees"}


class TestAGatewaysStore:
    @pytest.fixture(scope="class")
    def store(self):
        with S3Stub() as store:
            yield store

    @pytest.fixture(scope="class")
    def bucket(self, shared, store):
        name = f"behind-{next(_numbers)}"
        settings = {"backend": "s3", "endpoint": store.url, "allow_http": True}
        shared.make("storages", name=name, kind="gateway", min_ttl_secs=1, settings=settings, secrets=PARENT)
        shared.make("buckets", bucket=name, storage=name)
        return name

    @pytest.fixture
    def s3(self, server, store, bucket):
        s3 = server.vend(server.caller(bucket)).boto3(read_timeout=60)
        store.fault()
        s3.put_object(Bucket=bucket, Key="kept", Body=b"kept")
        store.objects["large"] = bytes(3 * MIB)
        yield s3
        store.fault()
        assert s3.get_object(Bucket=bucket, Key="kept")["Body"].read() == b"kept", "it does not come back"

    @pytest.mark.parametrize(
        "said",
        [
            HTML,
            Response(200, b"", XML),
            Response(200, b"<Other/>", XML),
            Response(200, b'{"Contents":[]}', {"content-type": "application/json"}),
            Response(200, b"<ListBucketResult><Contents><Key>kept</Key>", XML),
            Response(204),
            Response(302, b"", {"location": "http://127.0.0.1:1/"}),
        ],
        ids=["html", "nothing", "other", "json", "cut-off", "no-content", "redirect"],
    )
    def test_lists_nothing_by_answering_something_else(self, s3, store, bucket, said):
        store.fault(said)
        status, code, _ = outcome(s3.list_objects_v2, Bucket=bucket)
        assert status >= 500, (status, code)

    @pytest.mark.parametrize("status", [200, 403, 500])
    @pytest.mark.parametrize("operation", ["list", "put", "delete", "copy"])
    def test_says_no_more_than_can_be_held(self, server, s3, store, bucket, operation, status):
        call = {
            "list": lambda: outcome(s3.list_objects_v2, Bucket=bucket),
            "put": lambda: outcome(s3.put_object, Bucket=bucket, Key="new", Body=b"new"),
            "delete": lambda: outcome(s3.delete_object, Bucket=bucket, Key="new"),
            "copy": lambda: outcome(s3.copy_object, Bucket=bucket, Key="new", CopySource=f"{bucket}/kept"),
        }[operation]
        before = memory(server.process)
        sent = 0

        def body(_):
            def pieces():
                nonlocal sent
                yield b"<ListBucketResult>"
                for piece in endless(b"<Contents><Key>" + b"k" * 65536 + b"</Key></Contents>", 256 * MIB):
                    sent += len(piece)
                    yield piece

            return Response(status, pieces(), XML, None)

        store.fault(body)
        answer = call()
        # A put or delete that was done may be said to be done, whatever is told beside.
        assert answer[0] >= 400 or (status == 200 and operation in ("put", "delete")), answer
        assert sent < 96 * MIB, f"it read {sent // MIB} MiB"
        assert memory(server.process) - before < 96 * MIB

    @pytest.mark.parametrize("fault", [RESET, Response(500, b""), Response(503, b"")], ids=["reset", "500", "503"])
    @pytest.mark.parametrize("operation", ["get", "head", "list", "delete", "delete-many", "abort"])
    def test_is_asked_again_once(self, s3, store, bucket, operation, fault):
        def delete_many():
            keys = [{"Key": "gone"}, {"Key": "gone-too"}]
            answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": keys})
            return [deleted["Key"] for deleted in answer["Deleted"]] == ["gone", "gone-too"]

        def abort():
            upload = s3.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
            store.fault(fault, times=1)
            s3.abort_multipart_upload(Bucket=bucket, Key="parts", UploadId=upload)
            return True

        call = {
            "delete": lambda: s3.delete_object(Bucket=bucket, Key="gone")["ResponseMetadata"]["HTTPStatusCode"] == 204,
            "delete-many": delete_many,
            "abort": abort,
            "get": lambda: s3.get_object(Bucket=bucket, Key="kept")["Body"].read() == b"kept",
            "head": lambda: s3.head_object(Bucket=bucket, Key="kept")["ContentLength"] == 4,
            "list": lambda: "kept" in [e["Key"] for e in s3.list_objects_v2(Bucket=bucket)["Contents"]],
        }[operation]
        if operation != "abort":
            store.fault(fault, times=1)
        assert call()

    @pytest.mark.parametrize("operation", ["get", "head", "list"])
    def test_that_goes_on_failing_is_given_up(self, s3, store, bucket, operation):
        call = {"get": s3.get_object, "head": s3.head_object, "list": s3.list_objects_v2}[operation]
        store.fault(Response(500, b""))
        status, _, after = outcome(call, Bucket=bucket, **({} if operation == "list" else {"Key": "kept"}))
        assert 1 <= len(store.requests) <= 4, (status, len(store.requests))
        assert status in (502, 503) and after, status

    def test_that_says_nothing_is_not_waited_for_long(self, server, s3, store, bucket):
        store.fault(SILENCE)
        began = time.monotonic()
        status, code, after = outcome(s3.list_objects_v2, Bucket=bucket)
        assert status in (503, 504) and after, (status, code, after)
        assert time.monotonic() - began < 30

    def test_gives_no_object_that_is_too_short(self, s3, store, bucket):
        """A body shorter than what was announced ends in an error, and is never taken for the object."""
        s3.put_object(Bucket=bucket, Key="short", Body=b"x" * 100_000)
        told = {"etag": f'"{100_000:032x}"', "last-modified": "Thu, 01 Jan 2026 00:00:00 GMT"}
        store.fault(Response(200, b"x" * 50_000, told, 100_000))
        with pytest.raises((ClientError, BotoCoreError, IncompleteReadError, ResponseStreamingError)):
            s3.get_object(Bucket=bucket, Key="short")["Body"].read()


class TestAStoresSts:
    """`AssumeRole`, answered in odd ways."""

    @pytest.fixture(scope="class")
    def sts(self):
        numbers = itertools.count()

        def answer(_):
            return Response(200, assumed(next(numbers)), XML)

        with Stub(answer) as sts:
            yield sts

    @pytest.fixture(scope="class")
    def far(self, shared, sts):
        name = f"far-{next(_numbers)}"
        settings = {"sts_endpoint": sts.url, "region": "eu-west-1", "role_arn": "arn:aws:iam::123456789012:role/one"}
        settings["timeout_ms"] = 2000
        shared.make("storages", name=name, kind="sts", endpoint="http://127.0.0.1:1", settings=settings, secrets=PARENT)
        shared.make("buckets", bucket=name, storage=name)
        return name

    @pytest.fixture
    def ask(self, server, sts, far):
        """Asks, each time as somebody new: nothing is kept for them."""
        sts.fault()

        def ask():
            caller = server.caller(far, access="read", prefix="data")
            return server.call("POST", "/api/v1/credentials", caller.token, {"bucket": far, "prefix": "data"})

        yield ask
        sts.fault()

    @pytest.mark.parametrize("size", ["300", "12.5", "-1", "lots", "", " 42 "])
    def test_a_size_that_is_odd_spoils_nothing(self, ask, sts, size):
        sts.fault(lambda _: Response(200, assumed(700, size), XML))
        answer = ask()
        assert answer.status == 200 and answer.json()["access_key_id"] == "ASIA700", answer

    def test_white_space_is_no_part_of_a_key(self, ask, sts):
        sts.fault(lambda _: Response(200, assumed(701, around="\n   "), XML))
        answer = ask()
        assert answer.status == 200, answer
        said = answer.json()
        assert (said["access_key_id"], said["secret_access_key"], said["session_token"]) == ("ASIA701", "given-secret-701", "given-token-701")

    @pytest.mark.parametrize("fault", [RESET, Response(500, b"")], ids=["reset", "500"])
    def test_one_failure_is_nobodys(self, ask, sts, fault):
        sts.fault(fault, times=1)
        assert ask().status == 200

    @pytest.mark.parametrize(
        "fault, status",
        [(HTML, 502), (Response(200, b""), 502), (Response(500, b""), 502), (RESET, 502), (SILENCE, 504)],
        ids=["html", "nothing", "500", "reset", "silence"],
    )
    def test_what_lasts_is_told_with_when_to_come_again(self, ask, sts, fault, status):
        sts.fault(fault)
        answer = ask()
        assert answer.status == status and int(answer.headers.get("retry-after", 0)) >= 1, answer

    def test_says_no_more_than_can_be_held(self, server, ask, sts):
        before = memory(server.process)
        sts.fault(lambda _: Response(200, endless(b"<x>" * 20000, 256 * MIB), XML, None))
        assert ask().status == 502
        assert memory(server.process) - before < 32 * MIB


class TestAMachinesTokens:
    """Google's metadata server hands out one token until five minutes before its end."""

    LEFT = [1000, 950, 890, 600, 301, 120, 59]

    @pytest.fixture(scope="class")
    def google(self):
        with Google() as google:
            yield google

    @pytest.fixture
    def asker(self, server, google):
        """Makes a storage at that Google, and gives what asks it."""
        google.fault()

        def asker(left: int):
            google.left(left)
            name = f"google-{next(_numbers)}"
            settings = {"identity": {"kind": "metadata", "endpoint": google.url}, "token_service": f"{google.url}/v1/token"}
            server.make("storages", name=name, kind="gcs", settings=settings)
            server.make("buckets", bucket=name, storage=name)
            caller = server.caller(name, prefix="data", access="read")
            return lambda: server.call("POST", "/api/v1/credentials", caller.token, {"bucket": name, "prefix": "data"})

        yield asker
        google.fault()

    def test_are_asked_for_only_where_the_servers_file_says(self, server, google):
        google.fault()
        elsewhere = google.url.replace("127.0.0.1", "localhost")
        for endpoint, token_service in ((elsewhere, google.url), (google.url, elsewhere)):
            settings = {"identity": {"kind": "metadata", "endpoint": endpoint}, "token_service": f"{token_service}/v1/token"}
            fields = {"name": f"google-{next(_numbers)}", "kind": "gcs", "settings": settings}
            answer = server.call("POST", "/api/v1/storages", server.admin_token, fields)
            assert answer.status == 422 and b"machine_identity_hosts" in answer.body, answer
        assert google.requests == []

    def good(self, answer, left: int):
        """What was fetched, with its true end; or word that the store has nothing that lives long enough."""
        if left < 60:
            assert answer.status in (502, 503, 504) and answer.headers.get("retry-after"), answer
            return
        assert answer.status == 200, answer
        said = answer.json()
        lives = (datetime.fromisoformat(said["expiration"]) - datetime.now(UTC)).total_seconds()
        assert left - 30 < lives <= left + 1, (lives, left)
        assert said["cuts"], "it does not say that it was cut"

    @pytest.mark.parametrize("left", LEFT)
    def test_are_handed_out_as_they_are(self, asker, google, left):
        ask = asker(left)
        self.good(ask(), left)
        asked = len(google.requests)
        assert asked <= 3, "it asks again and again for what it was given"
        self.good(ask(), left)
        if left >= 120:
            assert len(google.requests) == asked, "what is good is kept"

    @pytest.mark.parametrize("left", LEFT)
    def test_are_handed_out_to_many_at_once(self, asker, google, left):
        ask = asker(left)
        with ThreadPoolExecutor(10) as pool:
            for answer in pool.map(lambda _: ask(), range(10)):
                self.good(answer, left)
        assert len(google.requests) <= 6 or left < 120

    @pytest.mark.parametrize("left", [left for left in LEFT if left >= 120])
    def test_are_kept_for_when_the_store_fails(self, asker, google, left):
        ask = asker(left)
        self.good(ask(), left)
        google.fault(Response(500, b""))
        self.good(ask(), left)


class Google(Stub):
    """The metadata server and the token service."""

    def __init__(self):
        self.end = datetime.now(UTC)
        super().__init__(self._google)

    def left(self, secs: int) -> None:
        self.end = datetime.now(UTC) + timedelta(seconds=secs)

    def _google(self, request) -> Response:
        secs = max(0, round((self.end - datetime.now(UTC)).total_seconds()))
        said = {"access_token": f"ya29.stub-{len(self.requests)}-{'x' * 40}", "expires_in": secs, "token_type": "Bearer"}
        if request.path == "/v1/token":
            # As Google does it: what is exchanged has the end of what it was made of, and need not say it.
            said = {"access_token": said["access_token"], "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"}
            said |= {"token_type": "Bearer", "expires_in": secs}
        elif "/token" not in request.path:
            return Response(200, b"stub@project.iam.gserviceaccount.com", {"metadata-flavor": "Google"})
        return Response(200, json.dumps(said).encode(), {"content-type": "application/json", "metadata-flavor": "Google"})
