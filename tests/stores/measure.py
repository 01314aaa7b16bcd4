#!/usr/bin/env python3
"""How fast a storage that speaks S3 is through the gateway, as a ratio to the same storage asked directly, in one run.

    VALETKEY_BIN=target/release/valetkey tests/stores/measure.py            # the table; `setup` installs what it needs, and `wrk`
    VALETKEY_BIN=target/release/valetkey tests/stores/measure.py --flat 2   # a multipart upload of 2 GiB: memory and disk of the gateway

The storage is another Valetkey on the same machine. Both ways take turns in rounds; a figure is the median over them. Run it with the
environment of `../clients` (`.venv/bin/python`).
"""

import argparse
import concurrent.futures
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "clients")]

import boto3  # noqa: E402
from behind import Behind, OtherValetkey  # noqa: E402
from botocore.config import Config  # noqa: E402

BUCKET, MIB = "measured", 1024 * 1024
QUIET = {"VALETKEY_LOG__LEVEL": "warn"}
PUT = 'wrk.method = "PUT"\nwrk.body = string.rep("x", {size})\n'


class Gateway(Behind):
    """A gateway with one bucket."""

    def _started(self) -> None:
        self.secrets = set()
        fields = {"settings": self.backend.settings, "secrets": self.backend.secrets}
        self.make("storages", name="gateway", kind="gateway", **fields)
        self.make("buckets", bucket=BUCKET, storage="gateway")
        self.make("accounts", name="acme")


def rate(url: str, connections: int, secs: int, script: str | None = None) -> float:
    """Requests a second."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{secs}s", "--timeout", "30s"]
    if script:
        path = pathlib.Path(tempfile.mkdtemp()) / "script.lua"
        path.write_text(script)
        command += ["-s", str(path)]
    ran = subprocess.run([*command, url], capture_output=True, text=True, check=True)
    if "Non-2xx" in ran.stdout:
        raise SystemExit(ran.stdout)
    return float(re.search(r"Requests/sec:\s+([\d.]+)", ran.stdout)[1])


def upload(s3, key: str, gib: float, workers: int = 4) -> float:
    """Uploads in parts; says how long the completion takes."""
    parts, at = int(gib * 1024 / 8), {"Bucket": BUCKET, "Key": key}
    upload_id, body = s3.create_multipart_upload(**at)["UploadId"], os.urandom(8 * MIB)

    def one(number):
        tag = s3.upload_part(**at, UploadId=upload_id, PartNumber=number, Body=body)["ETag"]
        return {"PartNumber": number, "ETag": tag}

    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        listed = list(pool.map(one, range(1, parts + 1)))
    began = time.perf_counter()
    s3.complete_multipart_upload(**at, UploadId=upload_id, MultipartUpload={"Parts": listed})
    return time.perf_counter() - began


def put_large(url: str) -> float:
    """MiB a second of one connection."""
    body, began = b"x" * (64 * MIB), time.perf_counter()
    urllib.request.urlopen(urllib.request.Request(url, data=body, method="PUT"), timeout=120).close()
    return 64 / (time.perf_counter() - began)


def table(direct, through, secs: int, rounds: int) -> None:
    signed = lambda s3, what, **fields: s3.generate_presigned_url(what, Params={"Bucket": BUCKET} | fields, ExpiresIn=3600)
    direct.put_object(Bucket=BUCKET, Key="small", Body=os.urandom(4096))
    direct.put_object(Bucket=BUCKET, Key="large", Body=os.urandom(64 * MIB))
    for number in range(1000):
        direct.put_object(Bucket=BUCKET, Key=f"many/{number:04}", Body=b"x")
    rows = {
        "GET 4 KiB, 16 connections (requests/s)": lambda s3: rate(signed(s3, "get_object", Key="small"), 16, secs),
        "PUT 4 KiB, 16 connections (requests/s)": lambda s3: rate(
            signed(s3, "put_object", Key="put"), 16, secs, PUT.format(size=4096)
        ),
        "GET 64 MiB, 2 connections (MiB/s)": lambda s3: 64 * rate(signed(s3, "get_object", Key="large"), 2, secs * 2),
        "PUT 64 MiB (MiB/s)": lambda s3: put_large(signed(s3, "put_object", Key="put-large")),
        "LIST 1,000 keys, 4 connections (requests/s)": lambda s3: rate(
            signed(s3, "list_objects_v2", Prefix="many/"), 4, secs
        ),
        "CompleteMultipartUpload of 256 MiB (1/s)": lambda s3: 1 / upload(s3, "completed", 0.25),
    }
    print("| request | direct | through the gateway | ratio |\n|---|---|---|---|")
    for name, run in rows.items():
        both = [(run(direct), run(through)) for _ in range(rounds)]
        one, other = (statistics.median(values) for values in zip(*both, strict=True))
        print(f"| {name} | {one:,.1f} | {other:,.1f} | {other / one:.2f} |", flush=True)


def flat(server, through, gib: float) -> None:
    """What a large upload takes of the gateway."""
    def resident():
        status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) // 1024

    def disk():
        return sum(path.stat().st_size for path in server.data.rglob("*") if path.is_file()) // MIB

    seen, over = [], threading.Event()

    def watch():
        while not over.wait(0.2):
            seen.append((resident(), disk()))

    before, watching = (resident(), disk()), threading.Thread(target=watch)
    watching.start()
    took = upload(through, "flat", gib)
    over.set()
    watching.join()
    most = tuple(max(values) for values in zip(*seen, strict=True))
    print(f"{gib} GiB in parts: memory {before[0]} MiB before, {most[0]} MiB at most; disk {before[1]} MiB before, {most[1]} MiB at most")
    print(f"the completion took {took:.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--secs", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--flat", type=float, metavar="GIB")
    options = parser.parse_args()
    binary = os.path.abspath(os.environ["VALETKEY_BIN"])
    with tempfile.TemporaryDirectory(prefix="measure-") as scratch:
        one, other = pathlib.Path(scratch, "storage"), pathlib.Path(scratch, "gateway")
        one.mkdir()
        other.mkdir()
        with OtherValetkey(binary, one, QUIET) as backend:
            backend.open([BUCKET])
            with Gateway(binary, other, backend, QUIET) as server:
                caller = server.called("measured", "acme", "read-write", BUCKET, "")
                own = {"signature_version": "s3v4", "max_pool_connections": 16}
                lease = server.vend(caller, ttl=3600, prefix=None, whole_bucket=True)
                through = lease.boto3(**own)
                if options.flat:
                    flat(server, through, options.flat)
                else:
                    keys = {f"aws_{name}": value for name, value in backend.secrets.items()}
                    config = Config(s3={"addressing_style": "path"}, **own)
                    at = {"endpoint_url": backend.settings["endpoint"], "region_name": "auto"}
                    table(boto3.client("s3", **at, **keys, config=config), through, options.secs, options.rounds)


if __name__ == "__main__":
    main()
