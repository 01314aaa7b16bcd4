"""Another issuer's tokens: unmodified clients read with keys that they bought, and what is not meant for this server buys nothing."""

import http.server
import json
import os
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import boto3
import jwt
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives.asymmetric import rsa

from harness import FLIGHTS, Server, demo_bytes

AUDIENCE = "https://valetkey.example"


class Issuer:
    """An identity provider: a discovery document and one key, as GitHub's has many."""

    def __init__(self):
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.asked = []
        own = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                own.asked.append(self.path)
                body = json.dumps(own.documents()[self.path]).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def documents(self):
        public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
        return {
            "/.well-known/openid-configuration": {"issuer": self.url, "jwks_uri": f"{self.url}/keys"},
            "/keys": {"keys": [public | {"kid": "one", "use": "sig", "alg": "RS256"}]},
        }

    def token(self, key=None, **claims):
        now = int(time.time())
        usual = {"iss": self.url, "aud": AUDIENCE, "sub": "repo", "repository_id": "42", "ref": "refs/heads/main"}
        claims = usual | {"iat": now, "exp": now + 600, "jti": f"{time.time_ns()}"} | claims
        return jwt.encode(claims, key or self.key, algorithm="RS256", headers={"kid": "one"})


@pytest.fixture(scope="module")
def issuer():
    issuer = Issuer()
    yield issuer
    issuer.http.shutdown()


@pytest.fixture(scope="module")
def trusting(tmp_path_factory, issuer):
    """A server that takes the issuer's tokens of one repository for who may read `flights/daily`."""
    settings = {"VALETKEY_IDENTITY__PRIVATE_HOSTS": "127.0.0.1"}
    with Server(os.environ["VALETKEY_BIN"], tmp_path_factory.mktemp("identity"), settings) as server:
        caller = server.caller("read", "flights-lake")
        for line in [
            ["identity", "add", "ci", "--issuer", issuer.url, "--audience", AUDIENCE],
            ["identity", "rule", "add", "ci", "main", "--account", caller.account, "--caller", caller.name]
            + ["--claim", "repository_id=42", "--claim", "ref=refs/heads/main"],
        ]:
            done = server.cli(*line)
            assert done.returncode == 0, done.stderr
        yield server
        # Neither the log nor a file has a token that was shown.
        assert server.leaks() == []


@pytest.fixture
def token(trusting, issuer):
    def token(**claims):
        made = issuer.token(**claims)
        trusting.secrets.add(made)
        return made

    return token


def reads(server, keys):
    s3 = boto3.client(
        "s3",
        endpoint_url=server.s3,
        region_name="us-east-1",
        aws_access_key_id=keys[0],
        aws_secret_access_key=keys[1],
        aws_session_token=keys[2],
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
    )
    return s3.get_object(Bucket="flights-lake", Key=FLIGHTS)["Body"].read()


def by_sts(server, token):
    sts = boto3.client("sts", endpoint_url=f"{server.api}/sts", region_name="us-east-1", config=Config(retries={"total_max_attempts": 1}))
    role = {"RoleArn": "arn:aws:iam:::role/valetkey", "RoleSessionName": "ci"}
    keys = sts.assume_role_with_web_identity(WebIdentityToken=token, **role)["Credentials"]
    return keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"]


def by_native(server, token):
    answer = server.call("POST", "/api/v1/credentials", token, {"bucket": "flights-lake", "prefix": "flights/daily"})
    assert answer.status == 200, answer
    vended = answer.json()
    return vended["access_key_id"], vended["secret_access_key"], vended["session_token"]


def by_theirstack(server, token):
    answer = server.call("POST", "/v1/datasets/credentials", token)
    assert answer.status == 200, answer
    vended = answer.json()
    return vended["access_key_id"], vended["secret_access_key"], vended["session_token"]


@pytest.mark.parametrize("buy", [by_sts, by_native, by_theirstack], ids=["sts", "native", "theirstack"])
def test_data_is_read_with_keys_that_a_token_bought(trusting, issuer, token, buy):
    assert reads(trusting, buy(trusting, token())) == demo_bytes("flights-lake", FLIGHTS)
    # One question for the document and one for the keys, whatever comes.
    assert len(issuer.asked) == 2


def test_an_sdk_sends_the_token_of_its_file(trusting, token, tmp_path, monkeypatch):
    file = tmp_path / "jwt"
    file.write_text(token())
    for name, value in {
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(file),
        "AWS_ROLE_ARN": "arn:aws:iam:::role/valetkey",
        "AWS_ENDPOINT_URL_STS": f"{trusting.api}/sts",
        "AWS_ENDPOINT_URL_S3": trusting.s3,
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"]:
        monkeypatch.delenv(name, raising=False)
    s3 = boto3.session.Session().client("s3", config=Config(s3={"addressing_style": "path"}))
    assert s3.get_object(Bucket="flights-lake", Key=FLIGHTS)["Body"].read() == demo_bytes("flights-lake", FLIGHTS)


def test_who_one_is_is_said_with_how_one_is_known(trusting, token):
    mine = token(jti="run-7")
    done = trusting.cli("whoami", token=mine)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["identity"] == {"provider": "ci", "rule": "main", "subject": "repo", "token_id": "run-7"}
    changes = trusting.cli("audit", "--noun", "token")
    assert "run-7" in changes.stdout and issuer_of(mine) in changes.stdout


def issuer_of(token):
    return jwt.decode(token, options={"verify_signature": False})["iss"]


def wrong(issuer, token):
    now = int(time.time())
    return {
        "audience": (token(aud="https://other.example"), "InvalidIdentityToken"),
        "no audience": (token(aud=[]), "InvalidIdentityToken"),
        "another's signature": (token(key=issuer.stranger), "InvalidIdentityToken"),
        "another issuer": (token(iss=issuer.url + "/"), "InvalidIdentityToken"),
        "expired": (token(exp=now - 61), "ExpiredTokenException"),
        "another tenant": (token(repository_id="43"), "AccessDenied"),
        "another branch": (token(ref="refs/heads/evil"), "AccessDenied"),
    }


def test_what_is_not_meant_for_this_server_buys_nothing(trusting, issuer, token):
    for why, (bad, code) in wrong(issuer, token).items():
        with pytest.raises(ClientError) as refused:
            by_sts(trusting, bad)
        assert refused.value.response["Error"]["Code"] == code, why
        for path in ["/api/v1/credentials", "/v1/datasets/credentials", "/delta-sharing/shares"]:
            method = "GET" if path.endswith("shares") else "POST"
            answer = trusting.call(method, path, bad, None if method == "GET" else {})
            assert answer.status == (403 if code == "AccessDenied" else 401), (why, path, answer)


def exchanged(server, token, **more):
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": token,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
    }
    data = urllib.parse.urlencode(form | more).encode()
    try:
        with urllib.request.urlopen(f"{server.api}/oauth/token", data, timeout=30) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_a_token_is_exchanged_for_a_short_one(trusting, token):
    status, answer = exchanged(trusting, token())
    assert (status, answer["token_type"]) == (200, "Bearer") and 0 < answer["expires_in"] <= 600
    trusting.secrets.add(answer["access_token"])
    assert reads(trusting, by_native(trusting, answer["access_token"])) == demo_bytes("flights-lake", FLIGHTS)
    assert exchanged(trusting, token(), scope="all")[1]["error"] == "invalid_scope"
    assert exchanged(trusting, token(repository_id="43")) [1]["error"] == "invalid_grant"


def test_a_subject_that_is_ended_reads_no_more(trusting, token):
    old, unseen = token(sub="leaver"), token(sub="leaver", nonce="1")
    keys = by_native(trusting, old)
    assert reads(trusting, keys)
    # A second is the least that tokens tell apart.
    time.sleep(1.1)
    done = trusting.cli("identity", "end", "ci", "--subject", "leaver")
    assert done.returncode == 0, done.stderr
    with pytest.raises(ClientError) as refused:
        reads(trusting, keys)
    assert refused.value.response["Error"]["Code"] == "ExpiredToken"
    for ended in [old, unseen]:
        assert trusting.call("GET", "/api/v1/me", ended).status == 401
    assert trusting.call("GET", "/api/v1/me", token(sub="stayer")).status == 200
