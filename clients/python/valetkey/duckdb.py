"""DuckDB: a secret that is replaced before it expires."""

from __future__ import annotations

import logging
import threading
from types import TracebackType
from typing import Any

from valetkey.source import Credential, Refused, Source, Unavailable

log = logging.getLogger("valetkey")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def statement(credential: Credential, name: str = "valetkey") -> str:
    """`CREATE OR REPLACE SECRET` for a credential."""
    if not name.isidentifier():
        raise ValueError("the secret's name is an identifier")
    if credential.type == "google":
        raise TypeError("DuckDB takes no access token of Google's")
    if credential.type == "azure":
        connection = f"BlobEndpoint={credential.endpoint_url};SharedAccessSignature={credential.sas_token}"
        parts = ["TYPE azure", f"CONNECTION_STRING {_quoted(connection)}", f"SCOPE {_quoted(f'az://{credential.bucket}/')}"]
    else:
        scheme, _, host = credential.endpoint_url.partition("://")
        parts = [
            "TYPE s3",
            f"KEY_ID {_quoted(credential.access_key_id)}",
            f"SECRET {_quoted(credential.secret_access_key)}",
            f"SESSION_TOKEN {_quoted(credential.session_token)}",
            f"REGION {_quoted(credential.region)}",
            f"ENDPOINT {_quoted(host)}",
            "URL_STYLE 'path'",
            f"USE_SSL {str(scheme == 'https').lower()}",
            f"SCOPE {_quoted(f's3://{credential.bucket}/')}",
        ]
    return f"CREATE OR REPLACE SECRET {name} ({', '.join(parts)})"


class secret:  # noqa: N801 - used as a function, and with `with`
    """Keeps a secret of a database fresh until it is closed. Secrets are a database's: all connections to it have it."""

    def __init__(self, connection: Any, source: Source, name: str = "valetkey", every: float = 1.0) -> None:
        self._own, self._source, self._name, self._every = connection.cursor(), source, name, every
        self._set = ""
        self._ended = threading.Event()
        self._replace()
        self._thread = threading.Thread(target=self._keep, daemon=True, name="valetkey-duckdb")
        self._thread.start()

    def _replace(self) -> None:
        credential = self._source.get()
        if credential.lease_id != self._set:
            self._own.execute(statement(credential, self._name))
            self._set = credential.lease_id

    def _keep(self) -> None:
        said = ""
        while not self._ended.wait(self._every):
            try:
                self._replace()
            except (Refused, Unavailable):
                # The next query says what it means that there is none; this one goes on as soon as there is.
                continue
            except Exception as error:  # noqa: BLE001 - a thread that ends says so to nobody, and the secret would expire
                if str(error) != said:
                    said = str(error)
                    log.warning("the secret %s of DuckDB was not replaced: %s", self._name, error)

    def close(self) -> None:
        """Removes it."""
        self._ended.set()
        self._thread.join()
        self._own.execute(f"DROP SECRET IF EXISTS {self._name}")
        self._own.close()

    def __enter__(self) -> secret:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
