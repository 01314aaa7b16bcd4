"""pyarrow, renewed: its own S3 takes no provider, so it works through s3fs."""

from __future__ import annotations

from typing import Any

from pyarrow.fs import FSSpecHandler, PyFileSystem

from valetkey import s3fs
from valetkey.source import Source


def filesystem(source: Source, **options: Any) -> PyFileSystem:
    """A file system that renews."""
    return PyFileSystem(FSSpecHandler(s3fs.filesystem(source, **options)))
