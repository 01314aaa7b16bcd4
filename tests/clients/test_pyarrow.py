import pyarrow.dataset
from pyarrow import fs

from contract import PART, Client, Refusal, Whole
from harness import demo_keys


class PyArrow(Client):
    denied = Refusal(OSError, "ACCESS_DENIED|Access Denied|HTTP status 403|Forbidden")
    absent = Refusal(FileNotFoundError, "")
    expired = Refusal(OSError, "ExpiredToken|HTTP status 400")

    def __init__(self, lease, scratch):
        super().__init__(lease, scratch)
        self.fs = fs.S3FileSystem(
            access_key=lease.access_key_id,
            secret_key=lease.secret_access_key,
            session_token=lease.session_token,
            endpoint_override=lease.endpoint,
            region=lease.region,
            retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=1),
        )

    def read(self, bucket, key):
        with self.fs.open_input_file(f"{bucket}/{key}") as file:
            return file.read()

    def read_range(self, bucket, key, start, length):
        with self.fs.open_input_file(f"{bucket}/{key}") as file:
            return file.read_at(length, start)

    def list(self, bucket, prefix):
        found = self.fs.get_file_info(fs.FileSelector(f"{bucket}/{prefix}".rstrip("/"), recursive=True))
        return [info.path.split("/", 1)[1] for info in found if info.is_file]

    def write(self, bucket, key, data):
        with self.fs.open_output_stream(f"{bucket}/{key}") as file:
            file.write(data)

    def write_parts(self, bucket, key, data):
        with self.fs.open_output_stream(f"{bucket}/{key}") as file:
            for start in range(0, len(data), PART):
                file.write(data[start : start + PART])

    def copy(self, bucket, source, target):
        self.fs.copy_file(f"{bucket}/{source}", f"{bucket}/{target}")

    def delete(self, bucket, key):
        self.fs.delete_file(f"{bucket}/{key}")


class TestPyArrow(Whole):
    client = PyArrow

    def test_scans_a_dataset(self, use, reading):
        dataset = pyarrow.dataset.dataset(
            f"{reading.bucket}/{reading.prefix}", filesystem=use(reading).fs, format="parquet"
        )
        assert len(dataset.files) == len(demo_keys(reading.bucket, reading.prefix))
        assert dataset.count_rows() == 4334
