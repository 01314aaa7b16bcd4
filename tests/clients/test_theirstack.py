"""The TheirStack dialect, as its documentation describes it, over plain HTTP."""

import http.client
import re
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from harness import FLIGHTS, Answer, demo_bytes, demo_keys

RATE_HEADERS = ["ratelimit", "ratelimit-policy", "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"]
ROUTES = [
    ("POST", "/v1/datasets/credentials"),
    ("GET", "/v1/datasets"),
    ("GET", "/v0/billing/credit-balance"),
    ("GET", "/v0/teams/credits_consumption"),
    ("GET", "/v0/requests/count"),
]
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@pytest.fixture
def api(server, reader):
    def call(method, path, token=reader.token, body=None, **headers):
        if token:
            headers["Authorization"] = f"Bearer {token}"
        connection = http.client.HTTPConnection(urlsplit(server.api).netloc, timeout=30)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            answer = Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()
        check_rate(answer)
        return server.noted(answer)

    return call


def check_rate(answer):
    """On every response, in the same order in each header: one entry per window."""
    assert [name for name in RATE_HEADERS if name not in answer.headers] == []
    split = {name: [entry.strip() for entry in answer.headers[name].split(",")] for name in RATE_HEADERS}
    assert len({len(entries) for entries in split.values()}) == 1
    for left, policy, limit, remaining, reset in zip(*split.values(), strict=True):
        name, q, w = re.fullmatch(r'"([\w-]+)";q=(\d+);w=(\d+)', policy).groups()
        assert re.fullmatch(rf'"{name}";r={remaining};t={reset};pk="[\w+/=-]+"', left)
        assert limit == q
        assert 0 <= int(remaining) <= int(limit)
        assert 0 <= int(reset) <= int(w)


def check_error(answer, status):
    assert answer.status == status
    assert answer.headers["content-type"].split(";")[0] == "application/json"
    body = answer.json()
    assert set(body) == {"request_id", "error"}
    assert type(body["request_id"]) is int
    assert set(body["error"]) == {"code", "title", "description"}
    assert re.fullmatch(r"[EV]-\d{3}", body["error"]["code"])
    assert all(type(text) is str and text for text in body["error"].values())


def check_ok(answer):
    assert answer.status == 200, answer
    assert answer.headers["content-type"].split(";")[0] == "application/json"
    return answer.json()


def vended(answer):
    body = check_ok(answer)
    assert set(body) == {"access_key_id", "secret_access_key", "session_token", "expiration", "storage"}
    assert set(body["storage"]) == {"bucket_name", "endpoint_url", "prefixes"}
    return body


def client(body):
    return boto3.client(
        "s3",
        endpoint_url=body["storage"]["endpoint_url"],
        region_name="auto",
        aws_access_key_id=body["access_key_id"],
        aws_secret_access_key=body["secret_access_key"],
        aws_session_token=body["session_token"],
        config=Config(retries={"total_max_attempts": 1}),
    )


class TestCredentials:
    def test_names_the_storage(self, api, server, reader):
        body = vended(api("POST", "/v1/datasets/credentials"))
        assert body["storage"] == {"bucket_name": reader.bucket, "endpoint_url": server.s3, "prefixes": [reader.prefix]}

    def test_lasts_a_week(self, api):
        text = vended(api("POST", "/v1/datasets/credentials"))["expiration"]
        assert INSTANT.fullmatch(text)
        left = datetime.fromisoformat(text) - datetime.now(UTC)
        assert timedelta(days=7) - timedelta(minutes=1) < left <= timedelta(days=7)

    def test_opens_the_dataset(self, api, reader):
        s3 = client(vended(api("POST", "/v1/datasets/credentials")))
        assert s3.get_object(Bucket=reader.bucket, Key=FLIGHTS)["Body"].read() == demo_bytes(reader.bucket, FLIGHTS)
        found = s3.list_objects_v2(Bucket=reader.bucket, Prefix=reader.prefix)["Contents"]
        assert {entry["Key"] for entry in found} == demo_keys(reader.bucket, reader.prefix)

    def test_opens_nothing_else(self, api, server):
        s3 = client(vended(api("POST", "/v1/datasets/credentials")))
        for bucket, key in server.forbidden:
            with pytest.raises(ClientError, match=r"\(AccessDenied\)"):
                s3.get_object(Bucket=bucket, Key=key)

    def test_is_read_only_for_writers_too(self, api, writer):
        body = vended(api("POST", "/v1/datasets/credentials", writer.token))
        for prefix in body["storage"]["prefixes"]:
            with pytest.raises(ClientError, match=r"\(AccessDenied\)"):
                client(body).put_object(Bucket=body["storage"]["bucket_name"], Key=f"{prefix}/x", Body=b"x")

    @pytest.mark.parametrize("body", [None, b"", b"{}"])
    def test_needs_no_body(self, api, body):
        answer = api("POST", "/v1/datasets/credentials", body=body, **({"Content-Type": "application/json"} if body else {}))
        assert vended(answer)["storage"]["bucket_name"] == "flights-lake"

    @pytest.mark.parametrize(("body", "status"), [(b'{"prefixes":["x"]}', 422), (b"not json", 400)])
    def test_takes_no_fields(self, api, body, status):
        """Whoever sends a field means to narrow the key: a wider one must not come back in silence."""
        answer = api("POST", "/v1/datasets/credentials", body=body, **{"Content-Type": "application/json"})
        check_error(answer, status)

    def test_is_new_each_time(self, api):
        bodies = [vended(api("POST", "/v1/datasets/credentials")) for _ in range(2)]
        for name in ("access_key_id", "secret_access_key", "session_token"):
            assert bodies[0][name] != bodies[1][name]

    def test_is_not_to_be_kept_by_caches(self, api):
        assert "no-store" in api("POST", "/v1/datasets/credentials").headers["cache-control"]


class TestDatasets:
    OPTION = {
        "id": str,
        "description": str,
        "item_type": str,
        "format": str,
        "frequency": str,
        "version": str,
        "is_deprecated": bool,
        "dataset_prefix": (str, type(None)),
        "dataset_url": (str, type(None)),
        "dictionary_url": (str, type(None)),
        "sample_dataset_url": (str, type(None)),
        "last_updated": (str, type(None)),
        "size": (int, type(None)),
    }

    def test_is_a_bare_array(self, api, reader):
        groups = check_ok(api("GET", "/v1/datasets"))
        assert isinstance(groups, list)
        assert groups
        for group in groups:
            assert {"type", "description", "is_accessible", "options"} <= set(group)
            assert type(group["is_accessible"]) is bool
            for option in group["options"]:
                for name, kind in self.OPTION.items():
                    assert isinstance(option[name], kind), name
                assert option["last_updated"] is None or INSTANT.fullmatch(option["last_updated"])
                if not group["is_accessible"]:
                    assert (option["dataset_prefix"], option["dataset_url"]) == (None, None)
        prefixes = {
            option["dataset_prefix"] for group in groups if group["is_accessible"] for option in group["options"]
        }
        assert reader.prefix in prefixes
        assert not any(prefix and "secret" in prefix for prefix in prefixes)

    def test_direct_links_open_what_they_name(self, api):
        """`dataset_url` is a signed link to the newest file of the dataset."""
        groups = check_ok(api("GET", "/v1/datasets"))
        urls = [option["dataset_url"] for group in groups for option in group["options"] if option["dataset_url"]]
        for url in urls:
            parts = urlsplit(url)
            connection = http.client.HTTPConnection(parts.netloc, timeout=30)
            connection.request("GET", f"{parts.path}?{parts.query}")
            response = connection.getresponse()
            bucket, _, key = parts.path.lstrip("/").partition("/")
            assert (response.status, response.read()) == (200, demo_bytes(bucket, key))
            connection.close()


class TestAccount:
    def test_credit_balance(self, api):
        body = check_ok(api("GET", "/v0/billing/credit-balance"))
        for name in ("ui_credits", "used_ui_credits", "api_credits", "used_api_credits"):
            assert body[name] >= 0

    @pytest.mark.parametrize(
        ("path", "fields"),
        [
            ("/v0/teams/credits_consumption", {"period_start", "api_credits_consumed", "ui_credits_consumed"}),
            ("/v0/requests/count", {"period_start", "number_of_requests"}),
        ],
    )
    def test_daily_counts(self, api, path, fields):
        start, end = (datetime.now(UTC) + timedelta(days=days) for days in (-2, 1))
        query = f"?start_datetime={start:%Y-%m-%dT%H:%M:%S}&end_datetime={end:%Y-%m-%dT%H:%M:%S}&timezone=UTC"
        for rows in (check_ok(api("GET", path)), check_ok(api("GET", path + query))):
            assert isinstance(rows, list)
            days = [row["period_start"] for row in rows]
            assert len(days) == len(set(days))
            for row in rows:
                assert set(row) == fields
                assert INSTANT.fullmatch(row["period_start"])
                assert all(type(row[name]) is int and row[name] >= 0 for name in fields - {"period_start"})

    def test_counts_its_own_requests(self, api):
        check_ok(api("GET", "/v1/datasets"))
        rows = check_ok(api("GET", "/v0/requests/count"))
        assert sum(row["number_of_requests"] for row in rows) >= 1

    @pytest.mark.parametrize("path", ["/v0/teams/credits_consumption", "/v0/requests/count"])
    @pytest.mark.parametrize("query", ["start_datetime=yesterday", "timezone=Mars/Olympus"])
    def test_bad_parameters(self, api, path, query):
        check_error(api("GET", f"{path}?{query}"), 422)


class TestErrors:
    @pytest.mark.parametrize(("method", "path"), ROUTES)
    @pytest.mark.parametrize("token", [None, "wrong", "x" * 5000])
    def test_without_a_good_token(self, api, method, path, token):
        answer = api(method, path, token)
        check_error(answer, 401)
        assert answer.headers["www-authenticate"].startswith("Bearer")

    def test_with_another_scheme(self, api, reader):
        check_error(api("POST", "/v1/datasets/credentials", None, Authorization=f"Token {reader.token}"), 401)

    @pytest.mark.parametrize("path", ["/v1/nothing", "/v0/nothing", "/v1/datasets/nothing", "/v1/datasets/credentials//"])
    def test_unknown_path(self, api, path):
        check_error(api("GET", path), 404)

    @pytest.mark.parametrize(("method", "path"), ROUTES)
    def test_other_method(self, api, method, path):
        answer = api("PUT", path)
        check_error(answer, 405)
        assert method in answer.headers["allow"]

    def test_numbers_its_requests(self, api):
        ids = [api("GET", "/v1/nothing").json()["request_id"] for _ in range(3)]
        assert len(set(ids)) == 3
