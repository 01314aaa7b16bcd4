"""Stores that somebody else runs and that say nonsense, too much, too little, or nothing."""

import itertools
import json
from datetime import UTC, datetime, timedelta

import pytest

from faults import memory
from harness import MIB
from upstreams import Response, Stub, endless

_numbers = itertools.count()
XML = {"content-type": "application/xml"}
PARENT = {"access_key_id": "AKIDPARENT", "secret_access_key": "parent-secret-that-nobody-sees"}


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

    def test_says_no_more_than_can_be_held(self, server, ask, sts):
        before = memory(server.process)
        sts.fault(lambda _: Response(200, endless(b"<x>" * 20000, 256 * MIB), XML, None))
        assert ask().status == 502
        assert memory(server.process) - before < 32 * MIB


def assumed(number: int, size: str = "10", around: str = "") -> bytes:
    end = (datetime.now(UTC) + timedelta(seconds=3590)).strftime("%Y-%m-%dT%H:%M:%SZ")
    values = {
        "AccessKeyId": f"ASIA{number}",
        "SecretAccessKey": f"given-secret-{number}",
        "SessionToken": f"given-token-{number}",
        "Expiration": end,
    }
    text = "".join(f"<{name}>{around}{value}{around}</{name}>" for name, value in values.items())
    return (
        f"<AssumeRoleResponse><AssumeRoleResult><Credentials>{text}</Credentials><PackedPolicySize>{size}</PackedPolicySize>"
        f"</AssumeRoleResult><ResponseMetadata><RequestId>request-{number}</RequestId></ResponseMetadata></AssumeRoleResponse>"
    ).encode()


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
