"""Many small parquet files as one table, read beside the other work.

Ten thousand cells are ten thousand files. Each costs 0.4 ms of a processor, most of it under
Python's lock, so threads gain nothing and a second process does: `begin` starts it, the caller
goes on with the cells' records, and `Reading.table` takes what was found. A small study is read on
the spot, where starting a process would cost more than it saves.

`python -m reports.scan FILE` is that process: paths come in on its input, one table goes to FILE.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from metrics.store import score_schema

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]

ROOT = Path(__file__).parents[1]
MANY = 2000
"""Files from which a process of its own pays: it takes half a second to start."""
MOST_PROCESSES = 4
SHARE = 1.5
"""A process reads so many times the files that the caller reads, who has the records to read."""
WORDS = (
    "metric",
    "backend",
    "fingerprint",
    "segment",
    "reading",
    "status",
    "reason",
    "video_sha256",
    "inputs",
    "device",
)
"""Columns of few distinct texts, kept as dictionaries."""


def read(paths: Sequence[Path | str], schema: pa.Schema) -> pa.Table:
    """All rows of some parquet files.

    Files that are not there are cells that were not scored; files that cannot be read count as not
    there, as they do for the scoring stage, which makes them anew.

    Args:
        paths: the files.
        schema: the columns to have; one that a file lacks is null there.

    Returns: the columns of `schema`, texts as dictionaries, after `file` (the place in `paths`).
    """
    import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]

    found = [(place, table) for place, path in enumerate(paths) if (table := _one(path, schema))]
    whole = pa.concat_tables([table for _, table in found] or [schema.empty_table()])
    places = np.array([place for place, _ in found], dtype=np.int64)
    counts = np.array([len(table) for _, table in found], dtype=np.int64)
    columns = [pa.array(np.repeat(places, counts))]
    for name in schema.names:
        # One array of each column: dictionaries of ten thousand chunks would be merged one by one.
        column = whole[name].combine_chunks()
        columns.append(column.dictionary_encode() if name in WORDS else column)
    return pa.table(columns, names=["file", *schema.names])


def _one(path: Path | str, schema: pa.Schema) -> pa.Table | None:
    """One file with the columns of `schema`, empty where it lacks them; None without a file."""
    import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]
    import pyarrow.parquet as pq  # type: ignore[import-untyped, unused-ignore]

    try:
        # The files are small: reading ahead and threads within one cost more than they give.
        with open(path, "rb") as file:  # noqa: PTH123 - half the price of a Path's
            data = pa.BufferReader(file.read())
        table = pq.ParquetFile(data, pre_buffer=False).read(use_threads=False)
        if table.schema.equals(schema):
            return table
        have = set(table.schema.names)
        columns = [
            table[name] if name in have else pa.nulls(len(table), schema.field(name).type)
            for name in schema.names
        ]
        return pa.table(columns, names=schema.names).cast(schema)
    except (pa.ArrowException, OSError):
        return None


class Reading:
    """Score files being read; `table` waits for them. Get one by `begin`."""

    def __init__(self, paths: Sequence[str], processes: int) -> None:
        self._parts: list[tuple[int, Sequence[str], Path, subprocess.Popen[bytes]]] = []
        size = int(len(paths) * SHARE / (SHARE * processes + 1))
        if processes:
            self._folder = tempfile.TemporaryDirectory(prefix="scores-")
        for number in range(processes):
            start = number * size
            part, out = paths[start : start + size], Path(self._folder.name) / f"{number}.arrow"
            self._parts.append((start, part, out, _process(part, out)))
        self._own = size * processes, paths[size * processes :]

    def table(self) -> pa.Table:
        """All rows, as `read` gives them. To be called once."""
        import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]

        start, paths = self._own
        own = read(paths, score_schema())
        if not self._parts:
            return own
        try:
            tables = [self._taken(*part) for part in self._parts]
        finally:
            for *_, process in self._parts:
                if process.poll() is None:
                    process.kill()
                    process.wait()
            self._folder.cleanup()
        tables.append(_moved(own, start))
        return pa.concat_tables(tables).unify_dictionaries().combine_chunks()

    def _taken(
        self, start: int, part: Sequence[str], out: Path, process: subprocess.Popen[bytes]
    ) -> pa.Table:
        import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]

        table = None
        if process.wait() == 0:
            with suppress(OSError, pa.ArrowException), out.open("rb") as file:
                table = pa.ipc.open_file(pa.BufferReader(file.read())).read_all()
        if table is None:  # it could not be started here, or did not live: the same work, slower
            table = read(part, score_schema())
        return _moved(table, start)


def _moved(table: pa.Table, start: int) -> pa.Table:
    """The table, its files counted from `start`."""
    import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]

    return table.set_column(0, "file", pa.array(table["file"].to_numpy() + start))


def begin(paths: Sequence[Path | str]) -> Reading:
    """Start to read score files, in processes of their own where they are many."""
    spare = min(MOST_PROCESSES, (os.cpu_count() or 1) - 1)
    return Reading([str(path) for path in paths], spare if len(paths) >= MANY else 0)


def _process(paths: Sequence[str], out: Path) -> subprocess.Popen[bytes]:
    asked = out.with_suffix(".paths")
    asked.write_bytes(os.fsencode("\0".join(paths)))
    with asked.open("rb") as given:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "reports.scan", str(out)],
            stdin=given,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(_search_path())},
        )


def _search_path() -> list[str]:
    """Where the process finds what this one finds."""
    return [str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]


def main(out: str) -> None:
    """Read the paths on the standard input and write their table to a file."""
    import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]

    paths = os.fsdecode(sys.stdin.buffer.read()).split("\0")
    table = read(paths, score_schema())
    with pa.OSFile(out, "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


if __name__ == "__main__":
    main(sys.argv[1])
