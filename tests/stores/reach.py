"""The reach table: what a key opens and what it does not, held against a few lines that say what it should."""

from concurrent.futures import ThreadPoolExecutor

from botocore.exceptions import ClientError

READ = {"get-object", "list-bucket", "get-bucket-info"}
WRITE = {"put-object", "multipart-upload", "abort-upload"}
READ_WRITE = READ | WRITE | {"delete-object", "list-uploads"}
WORDS = {"read": READ, "write": WRITE, "read-write": READ_WRITE}

HERE, ELSEWHERE = "reach", "elsewhere"


def allowed(call) -> bool | str:
    """Whether the store did it; a refusal for any other reason than what the key may reach is told as it is."""
    try:
        call()
    except ClientError as error:
        code = error.response["Error"]["Code"]
        return code not in ("AccessDenied", "403") and code
    return True


class Scope:
    """What was asked for, with paths by kind as the API has them (`prefixes`, `objects`, `raw_prefixes`); none means all."""

    def __init__(self, actions: str | list[str], **paths: list[str]):
        self.asked = {"access": actions} if isinstance(actions, str) else {"actions": actions}
        self.asked |= paths or {"whole_bucket": True}
        self.actions = WORDS[actions] if isinstance(actions, str) else set(actions)
        self.paths = [(kind, path) for kind, all_of in paths.items() for path in all_of]
        self.whole = not paths

    def covers(self, key: str) -> bool:
        return self.whole or any(
            key == path
            if kind == "objects"
            else key.startswith(path)
            if kind == "raw_prefixes"
            else key == path or key.startswith(f"{path}/")
            for kind, path in self.paths
        )

    def may_list(self, prefix: str) -> bool:
        """Where nothing has to be filtered. Ceph takes a condition's value that starts with `$` for a variable's name."""
        texts = [path if kind == "raw_prefixes" else f"{path}/" for kind, path in self.paths if kind != "objects"]
        own = any(prefix.startswith(text) and not text.startswith("$") for text in texts)
        return "list-bucket" in self.actions and (self.whole or own)

    def keys(self) -> list[str]:
        """Keys in, at and around its paths; of many paths, around the first and the last, and beside the others."""
        keys = {"outside/x", "x", "jobs"}
        paths = [path for _, path in self.paths] or ["jobs/daily"]
        for path in paths[3:-1]:
            keys |= {path, f"{path}/x", f"{path}x"}
        for path in paths[:3] + paths[3:][-1:]:
            keys |= {path, f"{path}/", f"{path}/x", f"{path}/sub/y", f"{path}/a*b?c", f"{path}/ü:1", f"{path}//d"}
            keys |= {f"{path}-secret/x", f"{path}x", f"x{path}", path[:-1] or "q"}
        return sorted(keys)


class Table:
    """Asks the store for everything with one key, and notes each answer that is not the right one."""

    def __init__(self, parent, s3, scope: Scope):
        self.parent, self.s3, self.scope = parent, s3, scope
        self.rows, self.wrong = [], []

    def row(self, call, right: bool, *what: str) -> bool:
        got = allowed(call)
        self.rows.append(what)
        if got is not right:
            self.wrong.append((*what, f"got {got}", f"right is {right}"))
        return got is True

    def run(self) -> "Table":
        keys = self.scope.keys()
        with ThreadPoolExecutor(8) as several:
            for each in (self.put, self.object, self.upload):
                list(several.map(each, keys))
        self.copies([key for key in keys if self.scope.covers(key)], [key for key in keys if not self.scope.covers(key)])
        self.bucket(keys[0])
        return self

    def put(self, key: str) -> None:
        for bucket in (HERE, ELSEWHERE):
            self.parent.put_object(Bucket=bucket, Key=key, Body=b"body")

    def object(self, key: str) -> None:
        s3, scope, at = self.s3, self.scope, {"Bucket": HERE, "Key": key}
        may = scope.actions if scope.covers(key) else set()
        self.row(lambda: s3.get_object(**at), "get-object" in may, "get", key)
        self.row(lambda: s3.head_object(**at), "get-object" in may, "head", key)
        self.row(lambda: s3.get_object(Bucket=ELSEWHERE, Key=key), False, "get elsewhere", key)
        self.row(lambda: s3.put_object(Bucket=ELSEWHERE, Key=key, Body=b"body"), False, "put elsewhere", key)
        self.row(lambda: s3.put_object(**at, Body=b"body"), "put-object" in may, "put", key)
        self.row(lambda: s3.put_object_acl(**at, ACL="public-read"), False, "acl", key)
        self.row(lambda: s3.list_objects_v2(Bucket=HERE, Prefix=key), scope.may_list(key), "list", key)
        self.row(lambda: s3.list_objects(Bucket=HERE, Prefix=key), scope.may_list(key), "list v1", key)
        if self.row(lambda: s3.delete_object(**at), "delete-object" in may, "delete", key):
            self.parent.put_object(**at, Body=b"body")

    def upload(self, key: str) -> None:
        s3, parent, at = self.s3, self.parent, {"Bucket": HERE, "Key": key}
        may = self.scope.actions if self.scope.covers(key) else set()
        parts, own = "multipart-upload" in may, []
        if self.row(lambda: own.append(s3.create_multipart_upload(**at)["UploadId"]), parts, "create upload", key):
            parent.abort_multipart_upload(**at, UploadId=own[0])
        upload, part = parent.create_multipart_upload(**at)["UploadId"], []
        self.row(
            lambda: part.append(s3.upload_part(**at, UploadId=upload, PartNumber=1, Body=b"part")["ETag"]),
            parts,
            "upload part",
            key,
        )
        self.row(lambda: s3.list_parts(**at, UploadId=upload), parts, "list parts", key)
        made = part or [parent.upload_part(**at, UploadId=upload, PartNumber=1, Body=b"part")["ETag"]]
        whole = {"Parts": [{"ETag": made[0], "PartNumber": 1}]}
        completing = {"UploadId": upload, "MultipartUpload": whole}
        if self.row(lambda: s3.complete_multipart_upload(**at, **completing), parts, "complete", key):
            upload = parent.create_multipart_upload(**at)["UploadId"]
        if not self.row(lambda: s3.abort_multipart_upload(**at, UploadId=upload), "abort-upload" in may, "abort", key):
            parent.abort_multipart_upload(**at, UploadId=upload)

    def copies(self, inside: list[str], outside: list[str]) -> None:
        def copy(source, target, right, *what, bucket=HERE):
            source_at = {"Bucket": bucket, "Key": source}
            to = {"Bucket": HERE, "Key": target}
            self.row(lambda: self.s3.copy_object(**to, CopySource=source_at), right, *what, source, target)

        if len(inside) > 1:
            copy(inside[0], inside[1], {"get-object", "put-object"} <= self.scope.actions, "copy in to in")
        if inside:
            copy(inside[0], inside[0], False, "copy from elsewhere", bucket=ELSEWHERE)
        if inside and outside:
            copy(inside[0], outside[0], False, "copy in to out")
            copy(outside[0], inside[0], False, "copy out to in")

    def bucket(self, key: str) -> None:
        s3, scope, may = self.s3, self.scope, self.scope.actions
        at = {"Bucket": HERE}
        everything = scope.whole and "list-bucket" in may
        self.row(lambda: s3.list_objects_v2(**at), everything, "list all")
        self.row(lambda: s3.list_objects_v2(**at, Prefix=""), everything, "list the empty prefix")
        self.row(lambda: s3.list_objects_v2(**at, Delimiter="/"), everything, "list directories")
        self.row(lambda: s3.list_objects_v2(Bucket=ELSEWHERE, Prefix=key), False, "list elsewhere")
        self.row(lambda: s3.list_object_versions(**at, Prefix=key), False, "list versions")
        self.row(lambda: s3.list_multipart_uploads(**at), scope.whole and "list-uploads" in may, "list uploads")
        self.row(lambda: s3.get_bucket_location(**at), "get-bucket-info" in may, "location")
        self.row(lambda: s3.head_bucket(**at), everything, "head bucket")
        self.row(lambda: s3.put_bucket_policy(**at, Policy="{}"), False, "policy")
        self.row(lambda: s3.delete_bucket(**at), False, "delete bucket")
        self.row(lambda: s3.create_bucket(Bucket="reach-new"), False, "create bucket")
        self.row(lambda: s3.list_buckets(), False, "list buckets")
