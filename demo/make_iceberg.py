#!/usr/bin/env python3
"""Remakes the Iceberg table under demo/data and demo/iceberg.rs from the parquet files beside it. See README.md; the build never runs
this."""

import pathlib
import shutil
import tempfile

import pyarrow.parquet as pq
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.io.pyarrow import PyArrowFileIO

HERE = pathlib.Path(__file__).parent
BUCKET, ROOT = "flights-lake", "tables/arrivals"
DATA = HERE / "data" / BUCKET
TABLE = DATA / ROOT
COLUMNS = ["carrier", "flight", "origin", "dest", "arr_delay"]


class Local(PyArrowFileIO):
    """Writes what is `s3://bucket/key` to `data/bucket/key`."""

    def __init__(self, properties):
        super().__init__(properties)
        self.fs_by_scheme = lambda scheme, netloc=None: SubTreeFileSystem(str(HERE / "data"), LocalFileSystem())


def write() -> None:
    """One snapshot: the flights of the first day."""
    place = f"s3://{BUCKET}/{ROOT}"
    with tempfile.TemporaryDirectory() as directory:
        catalog = SqlCatalog("demo", uri=f"sqlite:///{directory}/demo.db", warehouse=place, **{"py-io-impl": f"{__name__}.Local"})
        catalog.create_namespace("nyc")
        rows = pq.read_table(DATA / "flights/daily/2013-01-01.parquet", columns=COLUMNS)
        catalog.create_table("nyc.arrivals", rows.schema, location=place).append(rows)
    # The first metadata is that of the empty table.
    sorted(TABLE.glob("metadata/*.metadata.json"))[0].unlink()


def listed() -> None:
    keys = sorted(str(path.relative_to(DATA)) for path in TABLE.rglob("*") if path.is_file())
    kinds = {".json": "application/json", ".parquet": "application/vnd.apache.parquet", ".avro": "application/octet-stream"}
    lines = [
        "//! The files of the demo's Iceberg table, each by its key. Made by `demo/make_iceberg.py`.",
        "",
        "/// The bucket of the table.",
        f'pub(crate) const BUCKET: &str = "{BUCKET}";',
        "/// The key of the table's directory.",
        f'pub(crate) const ROOT: &str = "{ROOT}";',
        "/// The files: key, media type, bytes.",
        "#[rustfmt::skip]",
        "pub(crate) const FILES: &[(&str, &str, &[u8])] = &[",
        *[f'    ("{key}", "{kinds[pathlib.Path(key).suffix]}", include_bytes!("data/{BUCKET}/{key}")),' for key in keys],
        "];",
        "",
    ]
    (HERE / "iceberg.rs").write_text("\n".join(lines))
    print(f"{sum((DATA / key).stat().st_size for key in keys)} bytes in {len(keys)} files")


if __name__ == "__main__":
    shutil.rmtree(TABLE, ignore_errors=True)
    for directory in ("data", "metadata"):
        (TABLE / directory).mkdir(parents=True)
    write()
    listed()
