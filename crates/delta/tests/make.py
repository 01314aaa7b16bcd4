#!/usr/bin/env python3
"""Remakes tests/tables, the Delta tables that the tests of this crate read. The build never runs this.

    python3 -m venv .venv && . .venv/bin/activate
    pip install deltalake==1.6.6 pyarrow==26.0.1
    python make.py

Written by deltalake: plain, partitioned, history, changes. What it cannot write (column mapping, deletion vectors,
in-commit timestamps, unknown features) is written here line by line, with files that nobody opens.
Ids and times differ from run to run; the tests do not depend on them.
"""

import json
import pathlib
import shutil
from datetime import date

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.writer import WriterProperties

TABLES = pathlib.Path(__file__).parent / "tables"
SMALL = WriterProperties(compression="ZSTD")


def fresh(name: str) -> str:
    target = TABLES / name
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    return str(target)


def numbers(*ids: int) -> pa.Table:
    return pa.table({"id": pa.array(ids, pa.int64()), "word": [f"w{id}" for id in ids]})


def plain() -> None:
    write_deltalake(fresh("plain"), numbers(1, 2, 3), name="numbers", description="three numbers", writer_properties=SMALL)


def partitioned() -> None:
    places = ["a b", "50%", "x/y", "k=v", "\u00e9", "a:b", "q?#", None, "plain"]
    days = [date(2013, 1, 1), None] * 4 + [date(2013, 1, 2)]
    table = pa.table({"id": range(len(places)), "place": places, "day": pa.array(days, pa.date32())})
    write_deltalake(fresh("partitioned"), table, partition_by=["place", "day"], writer_properties=SMALL)


def history() -> None:
    """Versions 0 to 6: a checkpoint at 4, a delete at 5, an overwrite at 6."""
    target = fresh("history")
    for version in range(5):
        write_deltalake(target, numbers(version * 10, version * 10 + 1), mode="append", writer_properties=SMALL)
    DeltaTable(target).create_checkpoint()
    DeltaTable(target).delete("id = 11")
    write_deltalake(target, numbers(100), mode="overwrite", writer_properties=SMALL)


def changes() -> None:
    """Version 0 made with a feed, 1 an append, 2 an update, 3 a delete, 4 an optimize that changes no rows."""
    target = fresh("changes")
    on = {"delta.enableChangeDataFeed": "true"}
    write_deltalake(target, numbers(1, 2, 3), configuration=on, writer_properties=SMALL)
    write_deltalake(target, numbers(4, 5), mode="append", writer_properties=SMALL)
    DeltaTable(target).update(updates={"word": "'two'"}, predicate="id = 2")
    DeltaTable(target).delete("id = 3")
    DeltaTable(target).optimize.compact()


def log(name: str, version: int, *actions: dict) -> None:
    directory = TABLES / name / "_delta_log"
    directory.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(action, separators=(",", ":")) + "\n" for action in actions)
    (directory / f"{version:020}.json").write_text(lines)


def metadata(schema: list[dict], configuration: dict[str, str], partitions: list[str] = ()) -> dict:
    return {
        "metaData": {
            "id": "5fba94ed-9794-4965-ba6e-6ee3c0d22af9",
            "format": {"provider": "parquet", "options": {}},
            "schemaString": json.dumps({"type": "struct", "fields": schema}, separators=(",", ":")),
            "partitionColumns": list(partitions),
            "configuration": configuration,
            "createdTime": 1357000000000,
        }
    }


def protocol(reader: int, writer: int, *features: str, writer_only: tuple[str, ...] = ()) -> dict:
    found = {"minReaderVersion": reader, "minWriterVersion": writer}
    if reader >= 3:
        found["readerFeatures"] = list(features)
    if writer >= 7:
        found["writerFeatures"] = [*features, *writer_only]
    return {"protocol": found}


def add(path: str, **more) -> dict:
    known = {"path": path, "partitionValues": {}, "size": 100, "modificationTime": 1357000000000, "dataChange": True}
    return {"add": {**known, **more}}


def column(name: str, kind: str = "long", **metadata) -> dict:
    return {"name": name, "type": kind, "nullable": True, "metadata": metadata}


def mapped() -> None:
    """Column mapping by name: the log and the files use physical names."""
    fresh("mapped")
    physical = {"delta.columnMapping.id": 1, "delta.columnMapping.physicalName": "col-aaa"}
    other = {"delta.columnMapping.id": 2, "delta.columnMapping.physicalName": "col-bbb"}
    schema = [column("a b", **physical), column("day", "string", **other)]
    on = {"delta.columnMapping.mode": "name", "delta.columnMapping.maxColumnId": "2"}
    log("mapped", 0, protocol(2, 5), metadata(schema, on, ["day"]))
    stats = json.dumps({"numRecords": 1, "minValues": {"col-aaa": 7}})
    log("mapped", 1, add("Vd/part-0.parquet", partitionValues={"col-bbb": "mon"}, stats=stats))


def vectors() -> None:
    """Deletion vectors: in a file named by its UUID, in a file named absolutely, inline; and a file of another bucket."""
    fresh("vectors")
    by_id = {"storageType": "u", "pathOrInlineDv": "ab^-aqEH.-t@S}K{vb[*k^", "offset": 4, "sizeInBytes": 40, "cardinality": 6}
    by_path = {"storageType": "p", "pathOrInlineDv": "s3://lake/tables/vectors/dv%20x.bin", "offset": 1, "sizeInBytes": 38, "cardinality": 2}
    inline = {"storageType": "i", "pathOrInlineDv": "wi5b=000010000siXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L", "sizeInBytes": 40, "cardinality": 6}
    log("vectors", 0, protocol(3, 7, "deletionVectors"), metadata([column("id")], {"delta.enableDeletionVectors": "true"}))
    log("vectors", 1, add("part-0.parquet"), add("part-1.parquet"), add("part-2.parquet"), add("s3://other/shared/part-3.parquet"))
    log(
        "vectors",
        2,
        {"remove": {"path": "part-0.parquet", "deletionTimestamp": 1357000001000, "dataChange": True}},
        add("part-0.parquet", deletionVector=by_id, tags={"k": None}, baseRowId=3, defaultRowCommitVersion=1),
        {"remove": {"path": "part-1.parquet", "deletionTimestamp": 1357000001000, "dataChange": True}},
        add("part-1.parquet", deletionVector=inline),
        {"remove": {"path": "part-2.parquet", "deletionTimestamp": 1357000001000, "dataChange": True}},
        add("part-2.parquet", deletionVector=by_path),
    )


def timed() -> None:
    """Commits that tell their own time, one day each, whatever the times of their files are."""
    fresh("timed")
    day = 24 * 3600 * 1000
    on = {"delta.enableInCommitTimestamps": "true"}
    for version in range(3):
        info = {"commitInfo": {"inCommitTimestamp": 1357000000000 + version * day, "timestamp": 1, "operation": "WRITE"}}
        first = [protocol(1, 7, writer_only=("inCommitTimestamp",)), metadata([column("id")], on)] if version == 0 else []
        log("timed", version, info, *first, add(f"part-{version}.parquet"))


def unknown() -> None:
    """A feature that no reader knows."""
    fresh("unknown")
    log("unknown", 0, protocol(3, 7, "telepathy"), metadata([column("id")], {}), add("part-0.parquet"))


def main() -> None:
    for make in (plain, partitioned, history, changes, mapped, vectors, timed, unknown):
        make()
    for path in sorted(TABLES.rglob("*")):
        if path.is_file() and path.name.startswith("."):
            path.unlink()
    files = [path for path in TABLES.rglob("*") if path.is_file()]
    print(f"{sum(path.stat().st_size for path in files)} bytes in {len(files)} files")


if __name__ == "__main__":
    main()
