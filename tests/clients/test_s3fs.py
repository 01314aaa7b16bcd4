import s3fs

from contract import PART, Client, Refusal, Whole


class S3fs(Client):
    denied = Refusal(PermissionError, "Access Denied|Forbidden|AccessDenied")
    absent = Refusal(FileNotFoundError, "")
    expired = Refusal(OSError, "expired|Bad Request")  # it begins with HEAD, whose answer has no body

    def __init__(self, lease, scratch):
        self.fs = s3fs.S3FileSystem(
            key=lease.access_key_id,
            secret=lease.secret_access_key,
            token=lease.session_token,
            client_kwargs={"endpoint_url": lease.endpoint, "region_name": lease.region},
            use_listings_cache=False,
            skip_instance_cache=True,
        )
        self.fs.retries = 1

    def read(self, bucket, key):
        return self.fs.cat_file(f"{bucket}/{key}")

    def read_range(self, bucket, key, start, length):
        return self.fs.cat_file(f"{bucket}/{key}", start=start, end=start + length)

    def list(self, bucket, prefix):
        return [path.split("/", 1)[1] for path in self.fs.find(f"{bucket}/{prefix}")]

    def write(self, bucket, key, data):
        self.fs.pipe_file(f"{bucket}/{key}", data)

    def write_parts(self, bucket, key, data):
        with self.fs.open(f"{bucket}/{key}", "wb", block_size=PART) as file:
            for start in range(0, len(data), PART):
                file.write(data[start : start + PART])

    def copy(self, bucket, source, target):
        self.fs.cp_file(f"{bucket}/{source}", f"{bucket}/{target}")

    def delete(self, bucket, key):
        self.fs.rm_file(f"{bucket}/{key}")


class TestS3fs(Whole):
    client = S3fs
