"""A catalog of Iceberg tables as another product keeps it: PyIceberg's own models behind Iceberg's REST protocol, in memory. It knows one
client, by its token, and hands out credentials of its own, which nobody may see."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

from pyiceberg.catalog.rest import CommitTableRequest, CreateTableRequest
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC
from pyiceberg.table.metadata import new_table_metadata
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER
from pyiceberg.table.update import update_table_metadata

TOKEN = "the-token-of-valetkey-at-the-catalog"
OWN = "a-secret-of-the-catalog"


class Refused(Exception):
    def __init__(self, status, kind, message="refused"):
        self.status, self.kind, self.message = status, kind, message


class Catalog:
    """Tables of a warehouse in a directory: `place` is its URL."""

    def __init__(self, place: str):
        self.place, self.namespaces, self.tables, self.asked, self.lock = place, {}, {}, [], threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def answer(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                address = urlsplit(self.path)
                parts = [unquote(part) for part in address.path.removeprefix("/api/v1/").split("/")]
                with outer.lock:
                    outer.asked.append((self.command, address.path, dict(self.headers)))
                    try:
                        if self.headers["authorization"] != f"Bearer {TOKEN}":
                            raise Refused(401, "NotAuthorizedException")
                        status, told = outer.serve(self.command, parts, parse_qs(address.query), json.loads(body or "null"))
                    except Refused as refused:
                        status = refused.status
                        told = {"error": {"message": refused.message, "type": refused.kind, "code": status}}
                text = b"" if told is None else json.dumps(told).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_DELETE = do_HEAD = answer

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.uri = f"http://127.0.0.1:{self.server.server_port}/api"

    def loaded(self, metadata):
        secret = {"s3.access-key-id": "THEIRS", "s3.secret-access-key": OWN, "s3.endpoint": "http://127.0.0.1:1", "token": OWN}
        return {
            "metadata-location": f"{metadata.location}/metadata/{metadata.last_updated_ms}.metadata.json",
            "metadata": json.loads(metadata.model_dump_json()),
            "config": secret,
            "storage-credentials": [{"prefix": self.place, "config": secret}],
        }

    def table(self, namespace, name):
        if (namespace, name) not in self.tables:
            raise Refused(404, "NoSuchTableException")
        return self.tables[namespace, name]

    def serve(self, method, parts, query, body):
        match method, parts:
            case "GET", ["config"]:
                assert query == {"warehouse": ["prod"]}
                return 200, {"defaults": {}, "overrides": {"prefix": "of/prod", "uri": "http://127.0.0.1:1"}}
            case _, ["of", "prod", *rest]:
                return self.within(method, rest, body)
        raise Refused(404, "NotFoundException")

    def within(self, method, parts, body):
        match method, parts:
            case "GET", ["namespaces"]:
                return 200, {"namespaces": [list(name) for name in self.namespaces]}
            case "POST", ["namespaces"]:
                self.namespaces[tuple(body["namespace"])] = body.get("properties", {})
                return 200, {"namespace": body["namespace"], "properties": body.get("properties", {})}
            case _, ["namespaces", namespace, *rest]:
                levels = tuple(namespace.split("\x1f"))
                if levels not in self.namespaces:
                    raise Refused(404, "NoSuchNamespaceException")
                return self.of(method, levels, rest, body)
            case "POST", ["tables", "rename"]:
                source, target = ((tuple(body[end]["namespace"]), body[end]["name"]) for end in ("source", "destination"))
                self.tables[target] = self.table(*source)
                del self.tables[source]
                return 204, None
        raise Refused(404, "NotFoundException")

    def of(self, method, namespace, parts, body):
        match method, parts:
            case "GET", []:
                return 200, {"namespace": list(namespace), "properties": self.namespaces[namespace]}
            case "GET", ["tables"]:
                names = [name for own, name in self.tables if own == namespace]
                return 200, {"identifiers": [{"namespace": list(namespace), "name": name} for name in names]}
            case "POST", ["tables"]:
                # The model wants what the specification lets a client leave out.
                asked = CreateTableRequest.model_validate({"location": None, "partition-spec": None, "write-order": None} | body)
                if (namespace, asked.name) in self.tables:
                    raise Refused(409, "AlreadyExistsException")
                location = asked.location or "/".join([self.place, *namespace, asked.name])
                spec, order = asked.partition_spec or UNPARTITIONED_PARTITION_SPEC, asked.write_order or UNSORTED_SORT_ORDER
                made = new_table_metadata(asked.table_schema, spec, order, location, asked.properties or {})
                if not asked.stage_create:
                    self.tables[namespace, asked.name] = made
                return 200, self.loaded(made)
            case "GET", ["tables", name]:
                return 200, self.loaded(self.table(namespace, name))
            case "DELETE", ["tables", name]:
                self.table(namespace, name)
                del self.tables[namespace, name]
                return 204, None
            case "POST", ["tables", name]:
                asked, known = CommitTableRequest.model_validate(body), self.tables.get((namespace, name))
                try:
                    for requirement in asked.requirements:
                        requirement.validate(known)
                except CommitFailedException as error:
                    raise Refused(409, "CommitFailedException", str(error)) from error
                self.tables[namespace, name] = update_table_metadata(self.table(namespace, name), asked.updates)
                return 200, self.loaded(self.tables[namespace, name])
        raise Refused(404, "NotFoundException")

    def stop(self):
        self.server.shutdown()
