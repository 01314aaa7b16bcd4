import os
import subprocess

from contract import Client, Refusal, Whole


class Failed(Exception):
    """What rclone printed on stderr."""


class Rclone(Client):
    provider: str
    denied = Refusal(Failed, r"AccessDenied|403 Forbidden|status code: 403")
    hidden = Refusal(Failed, r"is a directory or doesn't exist")
    expired = Refusal(Failed, r"ExpiredToken|400 Bad Request|status code: 400")

    def __init__(self, lease, scratch):
        super().__init__(lease, scratch)
        remote = {
            "type": "s3",
            "provider": self.provider,
            "access_key_id": lease.access_key_id,
            "secret_access_key": lease.secret_access_key,
            "session_token": lease.session_token,
            "region": lease.region,
            "endpoint": lease.endpoint,
            "no_check_bucket": "true",
            "upload_cutoff": "5M",
            "chunk_size": "5M",
            "copy_cutoff": "1G",
        }
        self.env = os.environ | {f"RCLONE_CONFIG_R_{name.upper()}": value for name, value in remote.items()}

    def rclone(self, *args, data=None) -> bytes:
        command = ["rclone", "--config", os.devnull, "--retries", "1", "--low-level-retries", "1", *args]
        done = subprocess.run(command, env=self.env, input=data, capture_output=True, timeout=60)
        if done.returncode:
            raise Failed(done.stderr.decode())
        return done.stdout

    def read(self, bucket, key):
        return self.rclone("cat", f"r:{bucket}/{key}")

    def read_range(self, bucket, key, start, length):
        return self.rclone("cat", "--offset", str(start), "--count", str(length), f"r:{bucket}/{key}")

    def list(self, bucket, prefix):
        names = self.rclone("lsf", "--recursive", "--files-only", f"r:{bucket}/{prefix}").decode().splitlines()
        return [prefix + name for name in names]

    def write(self, bucket, key, data):
        (self.scratch / "source").write_bytes(data)
        self.rclone("copyto", str(self.scratch / "source"), f"r:{bucket}/{key}")

    write_parts = write

    def copy(self, bucket, source, target):
        self.rclone("copyto", f"r:{bucket}/{source}", f"r:{bucket}/{target}")

    def delete(self, bucket, key):
        self.rclone("deletefile", f"r:{bucket}/{key}")


class Cloudflare(Rclone):
    """Lists with ListObjectsV2."""

    provider = "Cloudflare"


class Other(Rclone):
    """Lists with the first ListObjects."""

    provider = "Other"


class TestRcloneCloudflare(Whole):
    client = Cloudflare

    def test_misses_inside(self, use, reading):
        """Rclone prints nothing for what is not there, once both HEAD and a listing have said so."""
        assert use(reading).read(reading.bucket, f"{reading.prefix}/2012-12-31.parquet") == b""


class TestRcloneOther(TestRcloneCloudflare):
    client = Other
