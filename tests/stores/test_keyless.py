"""Ceph without a kept secret: its STS takes tokens that the server signs, and its keys open what the scope says."""

import base64
import functools
import hashlib
import http.server
import json
import os
import threading
import urllib.request
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from harness import Server
from holders import holders
from reach import ELSEWHERE, HERE, Scope, Table
from stores import s3_client

ROLE = "arn:aws:iam:::role/keyless"


@functools.cache
def certificate(n: str, e: str) -> bytes:
    """A certificate of a key that is published: Ceph 16.2 takes a public key in this form alone, whoever signed it."""
    modulus, exponent = (int.from_bytes(base64.urlsafe_b64decode(number + "==")) for number in (n, e))
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "valetkey")])
    start = datetime(2026, 1, 1, tzinfo=UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(1)
    made = made.not_valid_before(start).not_valid_after(start + timedelta(days=36500))
    made = made.public_key(rsa.RSAPublicNumbers(exponent, modulus).public_key())
    made = made.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return made.public_bytes(serialization.Encoding.DER)


class Front:
    """Stands where the issuer's address is, and hands on what the server publishes: discovery as it is, of the keys the one that
    signs, because Ceph 16.2 reads a set of one key, as a certificate."""

    def __init__(self):
        front = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                with urllib.request.urlopen(front.server.api + self.path, timeout=10) as answer:
                    document = json.load(answer)
                if "keys" in document:
                    (key,) = [key for key in document["keys"] if key["alg"] == "RS256"]
                    x5c = base64.b64encode(certificate(key["n"], key["e"])).decode()
                    document = {"keys": [{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": key["kid"], "x5c": [x5c]}]}
                body = json.dumps(document).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    front = Front()
    settings = {"VALETKEY_ISSUER__URL": front.url, "VALETKEY_UPSTREAM__MACHINE_IDENTITY_HOSTS": "127.0.0.1"}
    with Server(os.environ["VALETKEY_BIN"], tmp_path_factory.mktemp("valetkey"), settings) as server:
        front.server = server
        yield server
    front.http.shutdown()
    assert server.leaks() == []
    # Of a token the header alone is in every one: none is in the log.
    assert b"eyJhbGciOi" not in server.log.read_bytes()


@pytest.fixture(scope="module")
def holder(server):
    return holders(server)


@pytest.fixture(scope="module")
def trusted(server, ceph):
    """The trust, set up at Ceph as its operators do: of one storage of this issuer."""
    issuer = server.call("GET", "/.well-known/openid-configuration").json()["issuer"]
    host = issuer.removeprefix("http://")
    ceph.admin("caps", "add", "--uid=vend", "--caps=oidc-provider=*")
    keys = server.call("GET", "/.well-known/jwks.json").json()["keys"]
    (key,) = [key for key in keys if key["alg"] == "RS256"]
    iam = boto3.client(
        "iam",
        endpoint_url=ceph.endpoint,
        region_name="us-east-1",
        aws_access_key_id=ceph.secrets["access_key_id"],
        aws_secret_access_key=ceph.secrets["secret_access_key"],
    )
    iam.create_open_id_connect_provider(
        Url=issuer, ClientIDList=["sts.amazonaws.com"], ThumbprintList=[hashlib.sha1(certificate(key["n"], key["e"])).hexdigest()]
    )
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Federated": [f"arn:aws:iam:::oidc-provider/{host}"]},
                "Action": ["sts:AssumeRoleWithWebIdentity"],
                "Condition": {"StringEquals": {f"{host}:sub": "storage:sts:keyless", f"{host}:aud": "sts.amazonaws.com"}},
            }
        ],
    }
    compact = {"separators": (",", ":")}
    ceph.admin("role", "create", "--role-name=keyless", "--path=/", f"--assume-role-policy-doc={json.dumps(trust, **compact)}")
    rights = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::*"}]}
    ceph.admin("role-policy", "put", "--role-name=keyless", "--policy-name=all", f"--policy-doc={json.dumps(rights, **compact)}")
    for bucket in (HERE, ELSEWHERE):
        ceph.parent.create_bucket(Bucket=bucket)


def storage(server, ceph, name: str, *more: str) -> str:
    settings = {"profile": "ceph", "sts_endpoint": ceph.endpoint, "region": "us-east-1", "role_arn": ROLE}
    sets = [f"{key}={value}" for key, value in settings.items()] + ["identity.kind=valetkey", *more]
    made = server.cli("storage", "create", name, ceph.endpoint, "--kind", "sts", *[part for one in sets for part in ("--set", one)])
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["has_secrets"] is False
    return name


def test_a_token_of_the_server_buys_keys_for_the_scope_and_no_more(server, ceph, holder, trusted):
    storage(server, ceph, "keyless")
    server.make("buckets", bucket=HERE, storage="keyless")
    one = holder()
    one.grant(HERE, whole_bucket=True, access="read-write")
    scope = Scope("read", prefixes=["jobs/daily"])
    lease = one.vend(HERE, **scope.asked)
    client = s3_client(lease.endpoint, lease.access_key_id, lease.secret_access_key, lease.session_token)
    table = Table(ceph.parent, client, scope).run()
    assert table.wrong == []


@pytest.mark.parametrize("name, more", [("sibling", []), ("audience", ["identity.audience=sts.example.com"])])
def test_a_token_of_another_storage_or_for_another_audience_buys_nothing(server, ceph, holder, trusted, name, more):
    bucket = f"keyless-{name}"
    storage(server, ceph, name, *more)
    server.make("buckets", bucket=bucket, storage=name)
    one = holder()
    one.grant(bucket, whole_bucket=True, access="read")
    refused = one.ask(bucket=bucket, prefix="jobs")
    assert refused.status == 502, refused


def test_a_key_that_is_withdrawn_signs_no_more_and_the_next_one_is_taken_once_it_is_trusted(server, ceph, holder, trusted):
    keys = json.loads(server.cli("server", "signing-keys").stdout)["signing_keys"]
    (old,) = [key["kid"] for key in keys if key["algorithm"] == "RS256"]
    assert server.cli("server", "withdraw-signing-key", old).returncode == 0
    one = holder()
    one.grant(HERE, whole_bucket=True, access="read")
    # This Ceph takes whatever certificate is at the issuer's address: another key is known as soon as it is published.
    assert one.ask(bucket=HERE, prefix="fresh").status == 200
