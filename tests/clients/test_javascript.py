import json
import subprocess
from pathlib import Path

from contract import PART, Client, ListsByText, Refusal, Whole

SCRIPT = Path(__file__).with_name("client.mjs")


class Failed(Exception):
    """The name, status and message of the error that the SDK threw."""


class JavaScript(Client):
    denied = Refusal(Failed, r"^AccessDenied \(403\)")
    absent = Refusal(Failed, r"^NoSuchKey \(404\)")
    expired = Refusal(Failed, r"^ExpiredToken \(400\)")

    def __init__(self, lease, scratch):
        super().__init__(lease, scratch)
        env = lease.env() | {"S3_ENDPOINT": lease.endpoint}
        self.node = subprocess.Popen(
            ["node", SCRIPT], env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def close(self):
        self.node.communicate(timeout=10)

    def call(self, operation, bucket, **fields):
        print(json.dumps({"operation": operation, "Bucket": bucket, **fields}), file=self.node.stdin, flush=True)
        answer = json.loads(self.node.stdout.readline())
        if "error" in answer:
            raise Failed(answer["error"])
        return answer["value"]

    def read(self, bucket, key, **fields):
        file = self.scratch / "read"
        self.call("read", bucket, Key=key, file=str(file), **fields)
        return file.read_bytes()

    def read_range(self, bucket, key, start, length):
        return self.read(bucket, key, Range=f"bytes={start}-{start + length - 1}")

    def list(self, bucket, prefix):
        return self.call("list", bucket, Prefix=prefix)

    def write(self, bucket, key, data, operation="write", **fields):
        file = self.scratch / "source"
        file.write_bytes(data)
        self.call(operation, bucket, Key=key, file=str(file), **fields)

    def write_parts(self, bucket, key, data):
        self.write(bucket, key, data, operation="writeParts", partSize=PART)

    def copy(self, bucket, source, target):
        self.call("copy", bucket, Key=target, CopySource=f"{bucket}/{source}")

    def delete(self, bucket, key):
        self.call("delete", bucket, Key=key)


class TestJavaScript(Whole, ListsByText):
    client = JavaScript
