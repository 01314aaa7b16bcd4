#!/usr/bin/env python3
"""Remakes the Delta table under demo/data and demo/table.rs from the parquet files beside it. See README.md; the build never
runs this."""

import pathlib
import shutil

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable, WriterProperties, write_deltalake

HERE = pathlib.Path(__file__).parent
BUCKET, ROOT = "flights-lake", "tables/flights"
DAILY = HERE / "data" / BUCKET / "flights/daily"
TABLE = HERE / "data" / BUCKET / ROOT
COLUMNS = ["time_hour", "carrier", "flight", "tailnum", "origin", "dest", "dep_delay", "arr_delay", "distance"]
ZSTD = WriterProperties(compression="ZSTD", compression_level=19)


def flights(*days: int) -> pa.Table:
    return pa.concat_tables(pq.read_table(DAILY / f"2013-01-{day:02}.parquet", columns=COLUMNS) for day in days)


def write() -> None:
    """Version 0: three days. 1: the fourth. 2: without the flights that were cancelled. 3: a carrier renamed."""
    target = str(TABLE)
    write_deltalake(
        target,
        flights(1, 2, 3),
        partition_by=["origin"],
        name="flights",
        description="Flights that left New York City in the first days of 2013",
        configuration={"delta.enableChangeDataFeed": "true"},
        writer_properties=ZSTD,
    )
    write_deltalake(target, flights(4), mode="append", writer_properties=ZSTD)
    DeltaTable(target).delete("dep_delay IS NULL", writer_properties=ZSTD)
    DeltaTable(target).update(
        updates={"carrier": "'AA'"}, predicate="carrier = 'US' AND origin = 'JFK'", writer_properties=ZSTD
    )


def listed() -> None:
    keys = sorted(str(path.relative_to(HERE / "data" / BUCKET)) for path in TABLE.rglob("*") if path.is_file())
    lines = [
        "//! The files of the demo's Delta table, each by its key. Made by `demo/make_delta.py`.",
        "",
        "/// The bucket of the table.",
        f'pub(crate) const BUCKET: &str = "{BUCKET}";',
        "/// The key of the table's directory.",
        f'pub(crate) const ROOT: &str = "{ROOT}";',
        "/// The files: key, media type, bytes.",
        "#[rustfmt::skip]",
        "pub(crate) const FILES: &[(&str, &str, &[u8])] = &[",
    ]
    for key in keys:
        kind = "application/json" if key.endswith(".json") else "application/vnd.apache.parquet"
        lines.append(f'    ("{key}", "{kind}", include_bytes!("data/{BUCKET}/{key}")),')
    (HERE / "table.rs").write_text("\n".join([*lines, "];", ""]))
    sizes = [(HERE / "data" / BUCKET / key).stat().st_size for key in keys]
    print(f"{sum(sizes)} bytes in {len(sizes)} files")


def check() -> None:
    table = DeltaTable(str(TABLE))
    for version in range(table.version() + 1):
        rows = DeltaTable(str(TABLE), version=version).to_pyarrow_table()
        print(f"version {version}: {rows.num_rows} rows, {pc.sum(pc.equal(rows['carrier'], 'AA'))} of AA")
    changed = pa.table(table.load_cdf(starting_version=2)).group_by("_change_type").aggregate([([], "count_all")])
    print(changed.to_pylist())


if __name__ == "__main__":
    shutil.rmtree(TABLE, ignore_errors=True)
    write()
    listed()
    check()
