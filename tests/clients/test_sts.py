"""AWS STS: unmodified clients assume roles with the parent access key and with a token, at its own address and at the S3 endpoint's."""

import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import boto3
import minio
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from minio.credentials import AssumeRoleProvider, LdapIdentityProvider, WebIdentityProvider

POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": ["s3:GetObject", "s3:PutObject"],
            "Resource": ["arn:aws:s3:::uploads-lake/uploads/user-123/*"],
        }
    ],
}
INSIDE, BESIDE = "uploads/user-123/hello.txt", "uploads/user-124/secret.txt"
ROLE = "arn:aws:iam:::role/valetkey"
NODE = Path(__file__).with_name("sts.mjs")
AWS_1, AWS_2 = Path(sys.executable).with_name("aws"), Path("/usr/bin/aws")


@pytest.fixture
def told(server):
    told = server.ready["sts"]
    server.secrets.add(told["secret_access_key"])
    assert told["url"] == f"{server.api}/sts"
    return told


@pytest.fixture(params=["api", "s3"])
def url(request, server, told):
    """Both addresses that it is served at."""
    return told["url"] if request.param == "api" else server.s3


def clean(**more):
    """An environment with nothing of AWS in it but what is given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return kept | {"AWS_EC2_METADATA_DISABLED": "true", "AWS_MAX_ATTEMPTS": "1"} | more


def sts(url, key, region="eu-west-1", **config):
    id, secret, token = key
    return boto3.client(
        "sts",
        endpoint_url=url,
        region_name=region,
        aws_access_key_id=id,
        aws_secret_access_key=secret,
        aws_session_token=token,
        config=Config(retries={"total_max_attempts": 1}, **config),
    )


@pytest.fixture
def parent(told):
    return (told["access_key_id"], told["secret_access_key"], None)


@pytest.fixture
def take(server):
    """A key of an answer, which is then looked for in the log."""

    def take(answer):
        given = answer["Credentials"]
        server.secrets |= {given["SecretAccessKey"], given["SessionToken"]}
        return given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"]

    return take


def s3(server, key):
    id, secret, token = key
    return boto3.client(
        "s3",
        endpoint_url=server.s3,
        region_name="auto",
        aws_access_key_id=id,
        aws_secret_access_key=secret,
        aws_session_token=token,
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
    )


def code(call, *args, **fields):
    try:
        call(*args, **fields)
    except ClientError as error:
        return error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
    return None


PARTS = ["AccessKeyId", "SecretAccessKey", "SessionToken"]


def between(text, name):
    return text.split(f"<{name}>")[1].split(f"</{name}>")[0]


def signed(url, key, **fields):
    """A form that botocore signs, whatever is in it."""
    request = AWSRequest("POST", url if "/sts" in url else f"{url}/", data=urllib.parse.urlencode(fields))
    request.headers["Content-Type"] = "application/x-www-form-urlencoded"
    SigV4Auth(Credentials(*key), "sts", "eu-west-1").add_auth(request)
    sent = urllib.request.Request(request.url, request.data.encode(), dict(request.headers), method="POST")
    try:
        answer = urllib.request.urlopen(sent, timeout=30)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        return answer.status, answer.read().decode()


class TestBoto3:
    def test_assumes_narrows_and_ends(self, server, url, parent, take):
        client = sts(url, parent)
        answer = client.assume_role(RoleArn=ROLE, RoleSessionName="night", DurationSeconds=3600, SourceIdentity="ann")
        key = take(answer)
        assert answer["AssumedRoleUser"]["Arn"].endswith("/night") and answer["SourceIdentity"] == "ann"
        assert answer["ResponseMetadata"]["RequestId"]
        own = s3(server, key)
        assert own.get_object(Bucket="uploads-lake", Key=BESIDE)["Body"].read()
        assert code(own.get_object, Bucket="flights-lake", Key="flights/daily/2013-01-01.parquet") == ("AccessDenied", 403)
        narrowed = take(sts(url, key).assume_role(RoleArn=ROLE, RoleSessionName="night", Policy=json.dumps(POLICY)))
        child = s3(server, narrowed)
        child.get_object(Bucket="uploads-lake", Key=INSIDE)
        child.put_object(Bucket="uploads-lake", Key="uploads/user-123/new.txt", Body=b"new")
        for call in [child.get_object, child.delete_object]:
            assert code(call, Bucket="uploads-lake", Key=BESIDE) == ("AccessDenied", 403)
        assert code(child.delete_object, Bucket="uploads-lake", Key=INSIDE) == ("AccessDenied", 403)
        lease = server.call("GET", f"/api/v1/whose/{key[0]}", server.admin_token).json()["lease_id"]
        assert server.call("DELETE", f"/api/v1/leases/{lease}", server.admin_token).status == 200
        assert code(child.get_object, Bucket="uploads-lake", Key=INSIDE) == ("ExpiredToken", 400)
        assert code(sts(url, narrowed).get_caller_identity) == ("ExpiredToken", 403)

    def test_reads_here_and_writes_there(self, server, url, parent, take):
        """A policy whose statements allow different things, and a session of it that is narrowed once more."""
        key = take(sts(url, parent).assume_role(RoleArn=ROLE, RoleSessionName="night"))
        own = s3(server, key)
        for name in ("x", "tmp/old"):
            own.put_object(Bucket="uploads-lake", Key=f"uploads/user-123/{name}", Body=b"before")
        policy = {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::uploads-lake/uploads/user-123/*"},
                {"Effect": "Allow", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::uploads-lake/uploads/user-123/tmp/*"},
                {
                    "Effect": "Allow",
                    "Action": "s3:ListBucket",
                    "Resource": "arn:aws:s3:::uploads-lake",
                    "Condition": {"StringLike": {"s3:prefix": "uploads/user-123/tmp/*"}},
                },
            ],
        }
        child_key = take(sts(url, key).assume_role(RoleArn=ROLE, RoleSessionName="night", Policy=json.dumps(policy)))
        at = lambda name: {"Bucket": "uploads-lake", "Key": f"uploads/user-123/{name}"}

        def check(child):
            child.get_object(**at("x"))
            assert code(child.put_object, **at("x"), Body=b"after") == ("AccessDenied", 403)
            assert code(child.get_object, Bucket="uploads-lake", Key=BESIDE) == ("AccessDenied", 403)
            assert code(child.delete_object, **at("tmp/old")) == ("AccessDenied", 403)
            assert code(child.list_objects_v2, Bucket="uploads-lake", Prefix="uploads/user-123/") == ("AccessDenied", 403)

        child = s3(server, child_key)
        check(child)
        child.put_object(**at("tmp/new"), Body=b"new")
        listed = child.list_objects_v2(Bucket="uploads-lake", Prefix="uploads/user-123/tmp/")["Contents"]
        assert {"uploads/user-123/tmp/new", "uploads/user-123/tmp/old"} <= {entry["Key"] for entry in listed}
        less = {"Version": "2012-10-17", "Statement": policy["Statement"][:2]}
        less["Statement"][1] = policy["Statement"][1] | {"Resource": "arn:aws:s3:::uploads-lake/uploads/user-123/tmp/a*"}
        session = sts(url, child_key).assume_role(RoleArn=ROLE, RoleSessionName="night", Policy=json.dumps(less))
        grandchild = s3(server, take(session))
        check(grandchild)
        grandchild.put_object(**at("tmp/a"), Body=b"a")
        assert code(grandchild.put_object, **at("tmp/b"), Body=b"b") == ("AccessDenied", 403)
        assert code(grandchild.list_objects_v2, Bucket="uploads-lake", Prefix="uploads/user-123/tmp/") == ("AccessDenied", 403)

    def test_every_action(self, server, url, parent, take):
        client = sts(url, parent)
        identity = client.get_caller_identity()
        assert identity["Arn"].endswith(":user/uploads") and len(identity["Account"]) == 12
        assert client.get_access_key_info(AccessKeyId=parent[0])["Account"] == identity["Account"]
        key = take(client.get_session_token(DurationSeconds=900))
        assert ":assumed-role/" in sts(url, key).get_caller_identity()["Arn"]
        answer = client.get_federation_token(Name="bob", Policy=json.dumps(POLICY))
        assert answer["FederatedUser"]["Arn"].endswith(":federated-user/bob")
        s3(server, take(answer)).get_object(Bucket="uploads-lake", Key=INSIDE)
        with pytest.raises(ClientError) as refused:
            client.assume_role(RoleArn="arn:aws:iam:::role/flights-daily", RoleSessionName="night")
        said = refused.value.response["Error"]
        assert said["Code"] == "AccessDenied"
        coded = said["Message"].split("Encoded authorization failure message: ")[1]
        told = json.loads(client.decode_authorization_message(EncodedMessage=coded)["DecodedMessage"])
        assert told["allowed"] is False and told["context"]["action"] == "sts:AssumeRole"

    def test_scopes_a_credential(self, server, url, parent, take):
        """Not every version knows the action yet; every one can sign for it."""
        key = take(sts(url, parent).get_session_token())
        policy = json.dumps(POLICY)
        status, body = signed(url, key, Action="GetScopedCredentials", Policy=policy, DurationSeconds="60")
        assert status == 200 and body.startswith("<GetScopedCredentialsResponse "), body
        scoped = s3(server, take({"Credentials": {name: between(body, name) for name in PARTS}}))
        scoped.get_object(Bucket="uploads-lake", Key=INSIDE)
        assert code(scoped.get_object, Bucket="uploads-lake", Key=BESIDE) == ("AccessDenied", 403)
        status, body = signed(url, parent, Action="GetScopedCredentials", DurationSeconds="60")
        assert (status, between(body, "Code")) == (400, "InvalidSubjectCredentials")

    @pytest.mark.parametrize(
        "fields, status, expected",
        [
            ({"Action": "GetCallerIdentity", "Surely": "x"}, 400, "ValidationError"),
            ({"Action": "AssumeRoleWithLDAPIdentity", "LDAPPassword": "secret"}, 400, "InvalidAction"),
            ({"Action": "GetCallerIdentity", "Version": "2010-05-08"}, 400, "InvalidAction"),
            ({}, 400, "MissingAction"),
            ({"Action": "AssumeRole", "Policy": "x" * 70_000}, 413, "RequestEntityTooLarge"),
        ],
    )
    def test_is_refused_what_no_client_sends(self, url, parent, fields, status, expected):
        answered, body = signed(url, parent, **fields)
        assert (answered, between(body, "Code")) == (status, expected), body

    def test_assumes_with_a_token(self, server, url, take):
        reader = server.caller("read", "flights-lake")
        client = boto3.client("sts", endpoint_url=url, region_name="auto", aws_access_key_id="", aws_secret_access_key="")
        ask = {"RoleArn": "arn:aws:iam:::role/flights-daily", "RoleSessionName": "night"}
        key = take(client.assume_role_with_web_identity(WebIdentityToken=reader.token, **ask))
        own = s3(server, key)
        own.get_object(Bucket="flights-lake", Key="flights/daily/2013-01-01.parquet")
        assert code(own.get_object, Bucket="flights-lake", Key="flights/daily-secret/2013-01-01.parquet") == ("AccessDenied", 403)
        foreign = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL2lkcC5leGFtcGxlIn0.c2ln"
        assert code(client.assume_role_with_web_identity, WebIdentityToken=foreign, **ask) == ("InvalidIdentityToken", 400)

    def test_is_refused_in_its_own_exceptions(self, url, parent):
        id, secret, _ = parent
        assume = {"RoleArn": ROLE, "RoleSessionName": "night"}
        for key, expected in [
            ((id, "0" * 64, None), ("SignatureDoesNotMatch", 403)),
            (("0" * 32, secret, None), ("InvalidClientTokenId", 403)),
            ((id, secret, "x"), ("InvalidClientTokenId", 403)),
        ]:
            assert code(sts(url, key).assume_role, **assume) == expected
        client = sts(url, parent)
        for fields, expected in [
            ({"DurationSeconds": 900, "Policy": "{}"}, "MalformedPolicyDocument"),
            ({"Policy": json.dumps(POLICY).replace("Allow", "Deny")}, "MalformedPolicyDocument"),
            ({"SerialNumber": "GAHT12345678", "TokenCode": "123456"}, "AccessDenied"),
            ({"PolicyArns": [{"arn": "arn:aws:iam::aws:policy/AdministratorAccess"}]}, "MalformedPolicyDocument"),
        ]:
            assert code(client.assume_role, **assume | fields)[0] == expected
        with pytest.raises(client.exceptions.MalformedPolicyDocumentException):
            client.assume_role(Policy="{}", **assume)

    @pytest.mark.parametrize("region", ["us-east-1", "auto", "eu-west-1"])
    def test_signs_for_any_region_and_presigns(self, told, parent, region):
        client = sts(told["url"], parent, region)
        client.get_caller_identity()
        url = client.generate_presigned_url("get_caller_identity", ExpiresIn=60, HttpMethod="GET")
        with urllib.request.urlopen(url, timeout=30) as answer:
            assert b":user/uploads<" in answer.read()
        url = client.generate_presigned_url("get_session_token", ExpiresIn=60, HttpMethod="GET")
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(url, timeout=30)
        assert refused.value.status == 405 and b"<Credentials>" not in refused.value.read()

    def test_renews_by_itself(self, server, told, tmp_path, monkeypatch):
        """The role of a profile, whose key ends while the profile is used: botocore asks for another."""
        made = {"name": "renewing", "account": "acme", "buckets": ["uploads-lake"], "permission": "object-read-only"}
        key = server.call("POST", "/api/v1/parent-keys", server.admin_token, made).json()
        server.secrets |= {key["token"], key["secret_access_key"]}
        brief = {"name": "brief", "account": "acme", "to": "renewing", "bucket": "uploads-lake", "prefix": "uploads", "max_ttl_secs": 2}
        server.make("grants", **brief)
        config = tmp_path / "config"
        config.write_text(
            f"[profile own]\nregion = auto\nrole_arn = arn:aws:iam:::role/brief\nsource_profile = source\nservices = here\n"
            f"[profile source]\naws_access_key_id = {key['access_key_id']}\naws_secret_access_key = {key['secret_access_key']}\n"
            f"[services here]\nsts =\n  endpoint_url = {told['url']}\ns3 =\n  endpoint_url = {server.s3}\n"
        )
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
        session = boto3.Session(profile_name="own")
        client = session.client("s3", config=Config(s3={"addressing_style": "path"}))
        client.get_object(Bucket="uploads-lake", Key=INSIDE)
        credentials = session.get_credentials()
        before = credentials.get_frozen_credentials()
        server.secrets |= {before.secret_key, before.token}
        while (left := (credentials._expiry_time - datetime.now(UTC)).total_seconds()) >= 0:
            time.sleep(left + 0.001)
        first = (before.access_key, before.secret_key, before.token)
        assert code(s3(server, first).get_object, Bucket="uploads-lake", Key=INSIDE) == ("ExpiredToken", 400)
        client.get_object(Bucket="uploads-lake", Key=INSIDE)
        after = credentials.get_frozen_credentials()
        server.secrets |= {after.secret_key, after.token}
        assert before.access_key != after.access_key


@pytest.mark.parametrize("program", [AWS_1, AWS_2], ids=["1", "2"])
class TestAwsCli:
    def test_assumes_and_is_refused(self, server, url, parent, program):
        env = clean(AWS_ACCESS_KEY_ID=parent[0], AWS_SECRET_ACCESS_KEY=parent[1], AWS_REGION="auto", AWS_DEFAULT_REGION="auto")

        def run(*args):
            command = [program, "sts", "--endpoint-url", url, "--output", "json", *args]
            return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)

        session = ["--role-session-name", "night"]
        answer = json.loads(run("assume-role", "--role-arn", ROLE, *session, "--policy", json.dumps(POLICY)).stdout)
        given = answer["Credentials"]
        server.secrets |= {given["SecretAccessKey"], given["SessionToken"]}
        key = (given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
        s3(server, key).get_object(Bucket="uploads-lake", Key=INSIDE)
        assert code(s3(server, key).get_object, Bucket="uploads-lake", Key=BESIDE) == ("AccessDenied", 403)
        refused = run("assume-role", "--role-arn", "arn:aws:iam:::role/flights-daily", *session)
        assert refused.returncode and "(AccessDenied)" in refused.stderr, refused
        assert json.loads(run("get-caller-identity").stdout)["Arn"].endswith(":user/uploads")


class TestProfile:
    # Debian's version 2 sends the roles of profiles to AWS's own host.
    @pytest.mark.parametrize("program", [AWS_1], ids=["1"])
    def test_assumes_the_role_of_a_profile(self, server, told, parent, program, tmp_path):
        (tmp_path / "config").write_text(
            f"[profile own]\nrole_arn = {ROLE}\nsource_profile = source\nregion = auto\n[profile source]\nregion = auto\n"
            f"aws_access_key_id = {parent[0]}\naws_secret_access_key = {parent[1]}\n"
        )
        env = clean(AWS_CONFIG_FILE=str(tmp_path / "config"), AWS_ENDPOINT_URL_STS=told["url"], HOME=str(tmp_path), AWS_DEFAULT_REGION="auto")
        command = [program, "s3", "cp", "--endpoint-url", server.s3, "--profile", "own", f"s3://uploads-lake/{INSIDE}", "-"]
        done = subprocess.run(command, env=env, capture_output=True, timeout=60)
        assert done.stdout.startswith(b"A key"), done


@pytest.fixture
def identity(server, tmp_path):
    """The environment of who has a token in a file."""
    reader = server.caller("read", "flights-lake")
    file = tmp_path / "token"
    file.write_text(reader.token)
    return clean(
        AWS_WEB_IDENTITY_TOKEN_FILE=str(file),
        AWS_ROLE_ARN="arn:aws:iam:::role/flights-daily",
        AWS_ROLE_SESSION_NAME="night",
        AWS_REGION="auto",
        AWS_ENDPOINT_URL_STS=f"{server.api}/sts",
        AWS_ENDPOINT_URL_S3=server.s3,
    )


class TestWebIdentity:
    """Clients that find a token in the environment."""

    def test_rclone_asks_the_s3_endpoint(self, server, identity):
        remote = {"type": "s3", "provider": "Other", "env_auth": "true", "endpoint": server.s3, "region": "auto"}
        env = identity | {f"RCLONE_CONFIG_R_{name.upper()}": value for name, value in remote.items()}

        def rclone(*args):
            command = ["rclone", "--config", os.devnull, "--retries", "1", "--low-level-retries", "1", *args]
            return subprocess.run(command, env=env, capture_output=True, timeout=60)

        assert len(rclone("lsf", "r:flights-lake/flights/daily/").stdout.split()) == 5
        assert rclone("cat", "r:flights-lake/flights/daily-secret/2013-01-01.parquet").returncode

    def test_s3fs(self, server, identity):
        script = (
            "import s3fs, sys\n"
            f"fs = s3fs.S3FileSystem(endpoint_url={server.s3!r})\n"
            "print(len(fs.ls('flights-lake/flights/daily')))\n"
            "try:\n    fs.cat('flights-lake/flights/daily-secret/2013-01-01.parquet')\n"
            "except PermissionError:\n    print('refused')\n"
        )
        done = subprocess.run([sys.executable, "-c", script], env=identity, capture_output=True, text=True, timeout=60)
        assert done.stdout.split() == ["5", "refused"], done

    def test_javascript(self, server, identity):
        done = subprocess.run(["node", NODE], env=identity, capture_output=True, text=True, timeout=60)
        assert json.loads(done.stdout) == {"inside": 5, "beside": "AccessDenied"}, done


def test_pyarrow_assumes_a_role(server, told, parent):
    script = (
        "from pyarrow.fs import S3FileSystem, FileSelector\n"
        f"fs = S3FileSystem(role_arn={ROLE!r}, session_name='night', endpoint_override={server.s3!r}, region='auto')\n"
        "print(len(fs.get_file_info(FileSelector('uploads-lake/uploads/user-123'))))\n"
    )
    env = clean(AWS_ACCESS_KEY_ID=parent[0], AWS_SECRET_ACCESS_KEY=parent[1], AWS_ENDPOINT_URL_STS=told["url"], AWS_REGION="auto")
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and int(done.stdout) >= 1, done


DUCKDB = """
import glob, sysconfig, duckdb
duckdb.sql('set enable_progress_bar = false')
for name in ["httpfs", "aws"]:
    for file in glob.glob(sysconfig.get_path("purelib") + f"/duckdb_extension_{{name}}/**/*.duckdb_extension", recursive=True):
        duckdb.load_extension(file)
duckdb.sql("create secret (type s3, provider credential_chain, chain 'sts', assume_role_arn '{role}', region 'auto', "
    "endpoint '{host}', use_ssl false, url_style 'path')")
print(len(duckdb.sql("from glob('s3://uploads-lake/uploads/user-123/*')").fetchall()) > 0)
try:
    duckdb.sql("from read_text('s3://flights-lake/flights/daily/2013-01-01.parquet')").fetchall()
except duckdb.Error as error:
    print("403" in str(error))
"""


def test_duckdb_assumes_a_role(server, told, parent):
    """Its chain asks for 900 seconds, of whatever endpoint the environment names."""
    env = clean(AWS_ACCESS_KEY_ID=parent[0], AWS_SECRET_ACCESS_KEY=parent[1], AWS_ENDPOINT_URL_STS=told["url"], AWS_REGION="auto")
    script = DUCKDB.format(role=ROLE, host=urllib.parse.urlsplit(server.s3).netloc)
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["True", "True"], done


class TestMinio:
    """Signs for no region at all, and sends everything else in the query."""

    def client(self, server, provider):
        host = urllib.parse.urlsplit(server.s3).netloc
        return minio.Minio(endpoint=host, credentials=provider, secure=False, region="auto")

    def test_assumes_a_role(self, server, url, parent):
        provider = AssumeRoleProvider(sts_endpoint=url, access_key=parent[0], secret_key=parent[1], policy=json.dumps(POLICY))
        client = self.client(server, provider)
        assert client.get_object(bucket_name="uploads-lake", object_name=INSIDE).read().startswith(b"A key")
        with pytest.raises(minio.error.S3Error, match="AccessDenied"):
            client.get_object(bucket_name="uploads-lake", object_name=BESIDE)

    def test_shows_a_token(self, server, url):
        token = server.caller("read", "flights-lake").token
        answer = {"access_token": token, "id_token": token, "expires_in": 3600}
        role = {"role_arn": "arn:aws:iam:::role/flights-daily", "role_session_name": "night"}
        provider = WebIdentityProvider(jwt_provider_func=lambda: answer, sts_endpoint=url, **role)
        listed = self.client(server, provider).list_objects(bucket_name="flights-lake", prefix="flights/daily/")
        assert len(list(listed)) == 5

    def test_is_refused_what_is_its_own(self, url):
        with pytest.raises(ValueError, match="400"):
            LdapIdentityProvider(sts_endpoint=url, ldap_username="ann", ldap_password="secret-of-ann").retrieve()


def certificate(name, issuer=None):
    """A key and its certificate, of an authority of its own or by one."""
    key = ec.generate_private_key(ec.SECP256R1())
    own = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    signer, of = issuer or (key, None)
    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(own).issuer_name(of.subject if of else own).public_key(key.public_key())
    made = made.serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(hours=1))
    made = made.not_valid_after(now + timedelta(hours=1))
    made = made.add_extension(x509.BasicConstraints(ca=of is None, path_length=None), critical=True)
    names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    made = made.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return key, made.sign(signer, hashes.SHA256())


@pytest.fixture
def https(server, tmp_path):
    """The API behind TLS, as a proxy in front of it would do it, and the file of its authority."""
    authority = certificate("test authority")
    key, leaf = certificate("localhost", authority)
    pem = serialization.Encoding.PEM
    (tmp_path / "ca.pem").write_bytes(authority[1].public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "leaf.pem").write_bytes(private + leaf.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "leaf.pem")
    listener = socket.create_server(("127.0.0.1", 0))
    api = urllib.parse.urlsplit(server.api)

    def pump(source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass
        finally:
            for end in (source, target):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def serve():
        while True:
            try:
                client = context.wrap_socket(listener.accept()[0], server_side=True)
            except ssl.SSLError:
                continue
            except OSError:
                return
            behind = socket.create_connection((api.hostname, api.port))
            for ends in [(client, behind), (behind, client)]:
                threading.Thread(target=pump, args=ends, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield f"https://localhost:{listener.getsockname()[1]}", tmp_path / "ca.pem"
    listener.close()


OBSTORE = """
import obstore
from obstore.store import S3Store
store = S3Store("flights-lake", endpoint={s3!r}, client_options={{"allow_http": True}}, retry_config={{"max_retries": 0}})
print(len(obstore.list(store, "flights/daily/").collect()))
try:
    obstore.get(store, "flights/daily-secret/2013-01-01.parquet")
except Exception as error:
    print("AccessDenied" in str(error))
"""
POLARS = """
import polars
place = "s3://flights-lake/flights/{{}}/*.parquet"
options = {{"endpoint_url": {s3!r}, "allow_http": "true", "max_retries": 0}}
print(polars.scan_parquet(place.format("daily"), storage_options=options, credential_provider=None).select(polars.len()).collect().item() > 0)
try:
    polars.scan_parquet(place.format("daily-secret"), storage_options=options, credential_provider=None).collect()
except Exception as error:
    print("AccessDenied" in str(error))
"""


@pytest.mark.parametrize("script, first", [(OBSTORE, "5"), (POLARS, "True")], ids=["obstore", "polars"])
def test_object_store_sends_all_of_it_in_the_query(server, identity, https, script, first):
    url, authority = https
    env = identity | {"AWS_ENDPOINT_URL_STS": f"{url}/sts", "SSL_CERT_FILE": str(authority)}
    done = subprocess.run([sys.executable, "-c", script.format(s3=server.s3)], env=env, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == [first, "True"], done
