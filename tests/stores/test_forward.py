"""A storage that speaks S3, asked through the gateway, answers as it does when it is asked itself: the same requests, drawn by
chance from a fixed seed, to two buckets of it, of which one is behind the gateway."""

import base64
import hashlib
import os
import random

import pytest
from botocore.exceptions import ClientError

from behind import Behind, OtherS3, OtherValetkey
from harness import MIB

SEED, REQUESTS = 20261129, 500
DIRECT, THROUGH = "asked-itself", "asked-through"
# Keys that paths, URLs, documents and shells read otherwise.
KEYS = ["a", "a/b", "a/b/c", "a//b", "/a", "a/", "a/../b", "./a", "a b", "a+b", "a%2Fb", "a%", "ü/日本", "e\u0301", "😀", "<&>", "\"'", "a\\b", "?x=1", "#", "~", "*", "z" * 900]
# What depends on when, where and by whom it is asked.
ELSEWHERE = {"LastModified", "Initiated", "Owner", "Initiator", "Location", "HostId", "RequestId", "UploadId", "ResponseMetadata", "Name", "Bucket", "AbortDate"}
HEADERS = ["etag", "content-type", "content-length", "content-range", "accept-ranges", "cache-control", "content-disposition", "content-encoding", "content-language", "expires", "x-amz-mp-parts-count", "x-amz-storage-class"]


@pytest.fixture(scope="module", params=["ceph", "valetkey"])
def both(request, tmp_path_factory):
    """A client of the storage itself, and one of the gateway in front of it."""
    make, binary = tmp_path_factory.mktemp, os.environ["VALETKEY_BIN"]
    if request.param == "ceph":
        backend = OtherS3(request.getfixturevalue("ceph"))
        backend.make_bucket(DIRECT)
        backend.make_bucket(THROUGH)
        close = lambda: None
    else:
        backend = OtherValetkey(binary, make("upstream"))
        backend.open([DIRECT, THROUGH])
        close = backend.server.stop
    try:
        with Forwarding(binary, make("valetkey"), backend) as server:
            caller = server.called("differential", "acme", "read-write", THROUGH, "")
            lease = server.vend(caller, prefix=None, whole_bucket=True)
            plain = {"request_checksum_calculation": "when_required", "response_checksum_validation": "when_required"}
            yield backend.parent, lease.boto3(**plain)
        assert server.leaks() == []
    finally:
        close()


class Forwarding(Behind):
    """A gateway with one bucket."""

    def _started(self) -> None:
        self.secrets |= {self.admin_token, self.backend.secrets["secret_access_key"]}
        self.make(
            "storages", name="gateway", kind="gateway", settings=self.backend.settings, secrets=self.backend.secrets
        )
        self.make("buckets", bucket=THROUGH, storage="gateway")
        self.make("accounts", name="acme")


class Side:
    """One of the two ways: a client, a bucket, and the uploads begun there."""

    def __init__(self, client, bucket):
        self.client, self.bucket, self.uploads = client, bucket, {}

    def ask(self, operation, **fields):
        fields = {"Bucket": self.bucket} | fields
        if "CopySource" in fields:
            fields["CopySource"] = {"Bucket": self.bucket, "Key": fields["CopySource"]}
        if "UploadId" in fields:
            fields["UploadId"] = self.uploads.get(fields["UploadId"], "no-such-upload")
        try:
            answer = getattr(self.client, operation)(**fields)
        except ClientError as error:
            status, code = error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Code"]
            if "IfMatch" in fields and operation == "put_object" and code == "NoSuchKey":
                # What AWS and the gateway say where there is no object is to Ceph a condition that does not hold.
                status, code = 412, "PreconditionFailed"
            return status, code, {}, {}
        meta = answer["ResponseMetadata"]
        headers = {name: value for name, value in meta["HTTPHeaders"].items() if name in HEADERS or name.startswith("x-amz-meta-")}
        if "Body" in answer:
            answer["Body"] = hashlib.sha256(answer["Body"].read()).hexdigest()
        else:
            # A document has a length of its own on each way.
            for name in ("content-length", "content-type", "accept-ranges"):
                if operation != "head_object":
                    headers.pop(name, None)
        return meta["HTTPStatusCode"], None, headers, plain(answer)


def plain(value):
    """An answer without what depends on the way."""
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items() if name not in ELSEWHERE}
    if isinstance(value, list):
        # In which order objects are deleted is nobody's to say.
        return sorted((plain(part) for part in value), key=repr)
    return value


class Drawn:
    """Requests drawn by chance, and what is known of the bucket to make them meet something."""

    def __init__(self, seed):
        self.chance, self.tags, self.uploads, self.count = random.Random(seed), {}, {}, 0

    def body(self):
        size = self.chance.choice([0, 1, 10, 1000, 70_000, 300_000])
        return self.chance.randbytes(size)

    def key(self):
        return self.chance.choice(KEYS)

    def said(self):
        said = {}
        if self.chance.random() < 0.5:
            said["Metadata"] = {"colour": self.chance.choice(["blue", "deep  blue", "b l u e"]).replace("  ", " "), "n": "1"}
        if self.chance.random() < 0.5:
            said["ContentType"] = self.chance.choice(["text/plain", "a/b; charset=utf-8"])
        if self.chance.random() < 0.3:
            said |= {"CacheControl": "no-cache", "ContentDisposition": "attachment", "ContentLanguage": "de"}
        if self.chance.random() < 0.2:
            said["ContentEncoding"] = "gzip"
        return said

    def tag(self, key):
        tag = self.tags.get(key, "0" * 32)
        return tag if self.chance.random() < 0.6 else "1" * 32

    def draw(self):
        chance, key = self.chance, self.key()
        kind = chance.choices(
            ["put", "get", "head", "delete", "many", "copy", "list", "list1", "begin", "part", "parts", "end", "abort"],
            [22, 16, 8, 5, 3, 8, 12, 6, 5, 10, 3, 4, 1],
        )[0]
        match kind:
            case "put":
                condition = chance.choice([{}, {}, {}, {"IfNoneMatch": "*"}, {"IfMatch": self.tag(key)}])
                body = self.body()
                md5 = base64.b64encode(hashlib.md5(body if chance.random() < 0.9 else b"?").digest()).decode()
                told = {"ContentMD5": md5} if chance.random() < 0.3 else {}
                return "put_object", {"Key": key, "Body": body} | condition | told | self.said()
            case "get" | "head":
                fields = chance.choice(
                    [
                        {},
                        {},
                        {"Range": chance.choice(["bytes=0-9", "bytes=5-", "bytes=-7", "bytes=0-0", "bytes=9999999-"])},
                        {"IfNoneMatch": self.tag(key)},
                        {"IfMatch": self.tag(key)},
                        {"ResponseContentType": "x/y", "ResponseCacheControl": "no-store"} if kind == "get" else {},
                    ]
                )
                return f"{kind}_object", {"Key": key} | fields
            case "delete":
                return "delete_object", {"Key": key}
            case "many":
                keys = [{"Key": own} for own in chance.sample(KEYS, 4)]
                return "delete_objects", {"Delete": {"Objects": keys, "Quiet": chance.random() < 0.5}}
            case "copy":
                fields = {"MetadataDirective": "REPLACE"} | self.said() if chance.random() < 0.5 else {}
                if chance.random() < 0.3:
                    fields["CopySourceIfMatch"] = self.tag(key)
                source = self.key()
                # Onto itself without a change: storages have words of their own for it.
                return "copy_object", {"Key": key if key != source else f"{key}-copy", "CopySource": source} | fields
            case "list":
                fields = self.listing() | ({"StartAfter": self.key()} if chance.random() < 0.3 else {})
                return "list_objects_v2", fields
            case "list1":
                return "list_objects", self.listing() | ({"Marker": self.key()} if chance.random() < 0.3 else {})
            case "begin":
                self.count += 1
                self.uploads[self.count] = (key, {})
                return "create_multipart_upload", {"Key": key, "UploadId": self.count} | self.said()
        if not self.uploads:
            return "get_object", {"Key": key}
        number = chance.choice(list(self.uploads))
        key, parts = self.uploads[number]
        at = {"Key": key, "UploadId": number}
        match kind:
            case "part":
                part = chance.choice([1, 2, 3])
                if chance.random() < 0.2:
                    return "upload_part_copy", at | {"PartNumber": part, "CopySource": self.key()}
                size = chance.choice([10, 5 * MIB])
                return "upload_part", at | {"PartNumber": part, "Body": chance.randbytes(10) * (size // 10)}
            case "parts":
                return "list_parts", at | chance.choice([{}, {"MaxParts": 1}])
            case "end":
                listed = [{"PartNumber": part, "ETag": tag} for part, tag in sorted(parts.items())]
                if chance.random() < 0.2:
                    listed.reverse()
                return "complete_multipart_upload", at | {"MultipartUpload": {"Parts": listed or [{"PartNumber": 1, "ETag": "x"}]}}
            case _:
                self.uploads.pop(number)
                return "abort_multipart_upload", at

    def listing(self):
        chance, fields = self.chance, {}
        if chance.random() < 0.5:
            fields["Prefix"] = chance.choice(["a", "a/", "ü", "/", "none", "a b"])
        if chance.random() < 0.5:
            fields["Delimiter"] = "/"
        if chance.random() < 0.4:
            fields["MaxKeys"] = chance.choice([0, 1, 3, 1000])
        return fields

    def learn(self, operation, fields, answer):
        """What later requests may want to meet."""
        status, _, _, said = answer
        if status < 300 and operation in ("put_object", "get_object", "head_object") and "ETag" in said:
            self.tags[fields["Key"]] = said["ETag"].strip('"')
        if status < 300 and operation == "upload_part":
            self.uploads[fields["UploadId"]][1][fields["PartNumber"]] = said["ETag"]
        if status < 300 and operation == "complete_multipart_upload":
            self.uploads.pop(fields["UploadId"], None)


def test_the_same_requests_get_the_same_answers(both):
    direct, through = Side(both[0], DIRECT), Side(both[1], THROUGH)
    drawn, parted, done = Drawn(SEED), [], {}
    for at in range(REQUESTS):
        operation, fields = drawn.draw()
        if operation == "create_multipart_upload":
            number = fields.pop("UploadId")
            for side in (direct, through):
                side.uploads[number] = side.client.create_multipart_upload(Bucket=side.bucket, **fields)["UploadId"]
            continue
        one, other = direct.ask(operation, **fields), through.ask(operation, **fields)
        done[operation, one[0]] = done.get((operation, one[0]), 0) + 1
        drawn.learn(operation, fields, one)
        if one != other:
            shown = {name: value if not isinstance(value, bytes) else len(value) for name, value in fields.items()}
            parted.append((at, operation, shown, one, other))
    assert parted == [], "\n".join(map(str, parted[:20]))
    # What was drawn met what it was to meet.
    for operation, status in [("get_object", 200), ("get_object", 206), ("get_object", 404), ("put_object", 412), ("list_objects_v2", 200), ("complete_multipart_upload", 200), ("copy_object", 200)]:
        assert done.get((operation, status)), (operation, status, done)


def test_keys_are_told_page_by_page(both):
    """The storage's own tokens go through."""
    direct, through = Side(both[0], DIRECT), Side(both[1], THROUGH)
    pages = []
    for side in (direct, through):
        for key in KEYS:
            side.client.put_object(Bucket=side.bucket, Key=f"pages/{key}", Body=b"x")
        told, token = [], {}
        while True:
            page = side.client.list_objects_v2(Bucket=side.bucket, Prefix="pages/", MaxKeys=4, **token)
            told.append([entry["Key"] for entry in page.get("Contents", [])])
            if not page["IsTruncated"]:
                break
            token = {"ContinuationToken": page["NextContinuationToken"]}
        pages.append(told)
    assert pages[0] == pages[1] and sum(map(len, pages[1])) == len(KEYS)
