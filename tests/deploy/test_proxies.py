"""The API and the S3 endpoint behind the proxies of `deploy/proxy`: curl and boto3 find there what they find without."""

import hashlib
import io
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from faults import until
from fronts import S3, HAProxy
from harness import MIB

# As clients write them: each is a path that a proxy may be tempted to tidy up.
ODD = ["plain", "two//slashes", "a b+c", "50%25", "%2e%2e", "é/ü", "semi;colon", "quo'te", "trailing/", ".hidden", "a/./b"]


def refused(call, **fields) -> tuple[int, str, str]:
    with pytest.raises(ClientError) as error:
        call(**fields)
    answer = error.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], answer["Error"].get("Message", "")


def test_a_lease_names_the_client_and_not_the_proxy(front, caller):
    lease = front.vend(caller, "-H", "X-Forwarded-For: 10.9.9.9")
    assert lease.endpoint == f"https://{S3}:{front.port}"
    shown = front.node.call("GET", f"/api/v1/leases/{lease.id}", front.node.admin_token).json()
    assert shown["from"] == "127.0.0.2"


@pytest.mark.parametrize("style", ["path", "virtual"])
def test_every_key_comes_and_goes_as_it_is(front, caller, style):
    lease = front.vend(caller)
    s3 = lease.boto3(s3={"addressing_style": style})
    for name in ODD:
        at = {"Bucket": "lake", "Key": f"{caller.prefix}/{name}"}
        s3.put_object(**at, Body=name.encode())
        assert s3.get_object(**at, Range="bytes=0-3")["Body"].read() == name.encode()[:4]
    assert lease.keys(f"{caller.prefix}/") == {f"{caller.prefix}/{name}" for name in ODD}
    deleted = s3.delete_objects(Bucket="lake", Delete={"Objects": [{"Key": f"{caller.prefix}/{name}"} for name in ODD]})
    assert len(deleted["Deleted"]) == len(ODD) and lease.keys(f"{caller.prefix}/") == set()


def test_what_the_scope_does_not_open_stays_closed(front, caller):
    s3 = front.vend(caller).boto3()
    assert refused(s3.get_object, Bucket="lake", Key=f"{caller.prefix}-secret/x")[:2] == (403, "AccessDenied")
    assert refused(s3.put_object, Bucket="lake", Key="elsewhere", Body=b"x")[:2] == (403, "AccessDenied")
    reading = front.vend(caller, access="read").boto3()
    assert refused(reading.put_object, Bucket="lake", Key=f"{caller.prefix}/x", Body=b"x")[:2] == (403, "AccessDenied")


def test_a_revocation_is_at_once(front, caller):
    lease = front.vend(caller)
    s3 = lease.boto3()
    s3.put_object(Bucket="lake", Key=f"{caller.prefix}/x", Body=b"x")
    lease.revoke()
    assert refused(s3.get_object, Bucket="lake", Key=f"{caller.prefix}/x")[1] == "ExpiredToken"


def test_a_large_upload_arrives_whole(front, caller):
    """More than nginx takes without being told to, in parts and at once; curl waits for `100 Continue`."""
    lease, data = front.vend(caller), bytes(range(256)) * 4096 * 12
    s3 = lease.boto3()
    config = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB)
    s3.upload_fileobj(io.BytesIO(data), "lake", f"{caller.prefix}/parts", Config=config)
    signed = s3.generate_presigned_url("put_object", {"Bucket": "lake", "Key": f"{caller.prefix}/whole"})
    file = front.node.data.parent / "upload"
    file.write_bytes(data)
    done = front.curl("-T", str(file), "-H", "Expect: 100-continue", "-w", "%{http_code} %{time_total}", signed)
    status, secs = done.stdout.rsplit(" ", 1)
    assert status.endswith("200") and float(secs) < 10, done
    for name in ("parts", "whole"):
        assert hashlib.sha256(lease.get(f"{caller.prefix}/{name}")).digest() == hashlib.sha256(data).digest()


def test_a_body_is_passed_on_as_it_comes(front, caller):
    """A refusal comes while most of the body is still missing: nothing waits for it on the proxy's disk."""
    lease = front.vend(caller, access="read")
    url = lease.boto3().generate_presigned_url("put_object", {"Bucket": "lake", "Key": f"{caller.prefix}/x"})
    path = url.split(f":{front.port}", 1)[1]
    with front.raw() as wire:
        wire.sendall(f"PUT {path} HTTP/1.1\r\nHost: {S3}:{front.port}\r\nContent-Length: {64 * MIB}\r\n\r\n".encode())
        wire.sendall(bytes(64 * 1024))
        assert wire.recv(4096).split(b"\r\n")[0].split(b" ")[1] == b"403"


def test_a_presigned_url_is_good_for_what_it_says(front, caller):
    s3 = front.vend(caller).boto3()
    at = {"Bucket": "lake", "Key": f"{caller.prefix}/two//slashes é"}
    s3.put_object(**at, Body=b"shared")
    url = s3.generate_presigned_url("get_object", at)
    assert front.curl(url).stdout == "shared"
    assert "SignatureDoesNotMatch" in front.curl(url.replace("slashes", "others")).stdout


def test_a_client_that_retries_does_not_notice_a_restart(front, caller):
    """As its SDK does it, while the node behind the proxy is stopped and started again."""
    s3 = front.vend(caller).boto3(retries={"mode": "standard", "total_max_attempts": 8})
    done, over = [0, 0], threading.Event()

    def work(number):
        at = {"Bucket": "lake", "Key": f"{caller.prefix}/{number}"}
        while not over.is_set():
            s3.put_object(**at, Body=str(done[number]).encode())
            assert s3.get_object(**at)["Body"].read() == str(done[number]).encode()
            done[number] += 1

    with ThreadPoolExecutor(2) as pool:
        working = [pool.submit(work, number) for number in range(2)]
        try:
            until(lambda: min(done) > 3 or any(worker.done() for worker in working))
            front.node.restart()
            before = list(done)
            until(lambda: min(now - then for now, then in zip(done, before)) > 3 or any(worker.done() for worker in working))
        finally:
            over.set()
        for worker in working:
            worker.result()


def test_a_proxy_that_changes_the_host_is_named(stopped, caller, tmp_path):
    if isinstance(stopped, HAProxy):
        wrong = ("send-proxy-v2\n", "send-proxy-v2\n    http-request set-header Host valetkey.internal\n")
        host = "valetkey.internal"
    else:
        # The host that nginx sends if nobody says another.
        wrong = ("proxy_set_header Host $http_host;", "")
        host = "valetkey_s3"
    with stopped.running(tmp_path, wrong):
        s3 = stopped.node.vend(caller).boto3()
        status, code, said = refused(s3.get_object, Bucket="lake", Key=f"{caller.prefix}/x")
    assert (status, code) == (403, "SignatureDoesNotMatch")
    assert f"arrived for the host {host}: a proxy in front of this server must change neither" in said


def test_a_proxy_that_changes_the_path_is_named(stopped, caller, tmp_path):
    if isinstance(stopped, HAProxy):
        wrong = ("send-proxy-v2\n", "send-proxy-v2\n    http-request set-path %[path,regsub(//,/,g)]\n")
    else:
        wrong = ("proxy_pass http://valetkey_s3;", "proxy_pass http://valetkey_s3/;")
    with stopped.running(tmp_path, wrong):
        s3 = stopped.node.vend(caller).boto3()
        status, code, said = refused(s3.get_object, Bucket="lake", Key=f"{caller.prefix}/two//slashes")
    assert (status, code) == (403, "SignatureDoesNotMatch") and "nor the path that the client signed" in said
