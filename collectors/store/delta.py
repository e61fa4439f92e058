"""Writing the Delta tables: append, compact, expire.

A commit is atomic: a crash leaves the last one, readers never block, and collectors may append at once.
The log is kept short (FILES_KEPT), because opening a table reads it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import (
    BloomFilterProperties,
    ColumnProperties,
    CommitProperties,
    DeltaTable,
    Transaction,
    WriterProperties,
    write_deltalake,
)
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from collectors.store.errors import StoreError, told
from collectors.store.tables import TABLES, Table, rows

# Replaced files and old log entries stay this long: longer than any reader's query, and the log stays small.
FILES_KEPT = "interval 10 minutes"
# Compaction rewrites only files below this, so a day's table is not written again every time.
COMPACT_BYTES = 48 * 1024 * 1024
ROW_GROUP_ROWS = 131_072  # a bloom-filter hit decodes one row group; smaller ones make look-ups cheap
BLOOM_FALSE_POSITIVES = 0.01
# Files that no commit names (a writer was killed) are left this long: time to restore a lost log around them.
ORPHANS_KEPT_H = 7 * 24
# Collectors that create a table at the same moment get in each other's way; the next attempt finds it there.
ATTEMPTS = 5
# A collector that dies during its upkeep keeps the others from theirs for so long.
CLAIM = timedelta(hours=1)
_UPKEEP = "upkeep"  # the application whose transaction says who may compact: odd is claimed, even is done

_FULL = ("No space left", "StorageFull", "os error 28", "os error 122")  # the last one is a quota

_CONFIGURATION = {
    "delta.logRetentionDuration": FILES_KEPT,
    "delta.deletedFileRetentionDuration": FILES_KEPT,
    "delta.checkpointInterval": "50",
    "delta.dataSkippingStatsColumns": "at",  # all that files are pruned by; others would bloat the log
}


@dataclass(frozen=True, slots=True)
class Upkeep:
    """What maintenance did to one table."""

    table: str
    compacted: int
    expired: int
    vacuumed: int
    skipped: str | None = None


class DeltaWriter:
    """Appends facts to the tables under one root, a folder."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._open: dict[str, DeltaTable] = {}
        self._claims: dict[str, int] = {}

    def append(self, name: str, facts: Sequence[Any], transaction: tuple[str, int] | None = None) -> bool:
        """Commit facts to a table at once; False where this transaction is in it already.

        `transaction` (application, version) makes an append happen once, however often it is tried.
        Raises StoreError; then nothing of the facts is stored.
        """
        with self._told(name):
            for _ in range(ATTEMPTS - 1):
                try:
                    return self._append(TABLES[name], facts, transaction)
                except CommitFailedError:  # another's commit came first: with its outcome before us, again
                    self._open.pop(name, None)
            return self._append(TABLES[name], facts, transaction)

    def version(self, name: str, application: str) -> int | None:
        """The last version an application committed to the table. Raises StoreError."""
        with self._told(name):
            target = self._target(name)
            return None if target is None else target.transaction_version(application)

    def path(self, name: str) -> str:
        """Where the table lies."""
        return f"{self.root.rstrip('/')}/{name}"

    def keep_up(self, name: str, expire_before: date, now: datetime) -> Upkeep:
        """Compact small files, drop days before the date, and clean what nobody reads any more.

        Of several collectors one does it at a time, the others skip it: two compactions that replace the
        same files would keep the rows of both, which delta-rs permits (its pull request 3982).
        Raises StoreError.
        """
        with self._told(name):
            target = self._target(name)
            if target is None:
                return Upkeep(name, 0, 0, 0, "no table yet")
            claim = 2 * int(now.timestamp() * 1000) + 1
            if self._is_claimed(name, target, claim):
                return Upkeep(name, 0, 0, 0, "another collector is at it")
            try:
                _commit(TABLES[name], target, (), (_UPKEEP, claim))
                self._claims[name] = claim
                done = _keep_up(TABLES[name], target, expire_before)
                _commit(TABLES[name], target, (), (_UPKEEP, claim + 1))
                self._claims.pop(name)
            except CommitFailedError:
                self._open.pop(name, None)
                return Upkeep(name, 0, 0, 0, "another collector was faster")
            return done

    def _is_claimed(self, name: str, target: DeltaTable, claim: int) -> bool:
        """Whether another collector has begun its upkeep lately; a claim of our own is left from an error."""
        last = target.transaction_version(_UPKEEP)
        if last is None or last % 2 == 0 or last == self._claims.get(name):
            return False
        return abs(claim - last) < 2 * CLAIM.total_seconds() * 1000

    @contextmanager
    def _told(self, name: str) -> Iterator[None]:
        """Turns an engine's error into a StoreError; the table is opened anew the next time."""
        try:
            yield
        except (DeltaError, OSError, ValueError) as error:
            self._open.pop(name, None)
            raise _store_error(self.path(name), error) from error

    def _append(self, table: Table, facts: Sequence[Any], transaction: tuple[str, int] | None) -> bool:
        target = self._target(table.name) or (self._begun(table) if facts else None)
        if transaction and target is not None:
            done = target.transaction_version(transaction[0])
            if done is not None and done >= transaction[1]:
                return False
        if target is not None and facts:
            _commit(table, target, facts, transaction)
        return True

    def _begun(self, table: Table) -> DeltaTable | None:
        """The table, created empty where another collector has not done so at the same moment.

        Created together with facts it would not be seen that another began it with the same ones.
        """
        path = self.path(table.name)
        try:
            DeltaTable.create(
                path,
                table.schema,
                mode="ignore",
                partition_by=["day"],
                name=table.name,
                configuration=_CONFIGURATION,
            )
        except DeltaError:
            if not DeltaTable.is_deltatable(path):
                raise
        return self._target(table.name)

    def _target(self, name: str) -> DeltaTable | None:
        if name in self._open:
            self._open[name].update_incremental()
            return self._open[name]
        try:
            self._open[name] = DeltaTable(self.path(name))
        except TableNotFoundError:
            return None
        return self._open[name]


def _commit(
    table: Table, target: DeltaTable, facts: Sequence[Any], transaction: tuple[str, int] | None
) -> None:
    write_deltalake(
        target,
        rows(table, facts),
        mode="append",
        partition_by=["day"],
        writer_properties=writer_properties(table),
        commit_properties=CommitProperties(
            app_transactions=[Transaction(*transaction)] if transaction else None
        ),
    )


def writer_properties(table: Table) -> WriterProperties:
    """Parquet settings of a table: compression, row groups, bloom filters on sought columns.

    Measured values hardly repeat: a dictionary of them only slows the reading down, and so does a strong
    compression.
    """
    bloom = ColumnProperties(
        bloom_filter_properties=BloomFilterProperties(True, BLOOM_FALSE_POSITIVES, ROW_GROUP_ROWS)
    )
    plain = ColumnProperties(dictionary_enabled=False)
    measured = [f.name for f in table.schema if pa.types.is_float64(f.type)]
    return WriterProperties(
        compression="LZ4_RAW",
        max_row_group_size=ROW_GROUP_ROWS,
        column_properties={**dict.fromkeys(measured, plain), **dict.fromkeys(table.sought, bloom)},
    )


def _keep_up(table: Table, target: DeltaTable, expire_before: date) -> Upkeep:
    expired = target.delete(f"day < '{expire_before.isoformat()}'")
    compacted = target.optimize.compact(target_size=COMPACT_BYTES, writer_properties=writer_properties(table))
    target.create_checkpoint()
    target.cleanup_metadata()
    vacuumed = target.vacuum(dry_run=False, enforce_retention_duration=False)
    vacuumed += target.vacuum(ORPHANS_KEPT_H, dry_run=False, enforce_retention_duration=False, full=True)
    return Upkeep(
        table.name,
        int(compacted.get("numFilesRemoved", 0)),
        int(expired.get("num_removed_files", 0)),
        len(vacuumed),
    )


def _store_error(where: str, error: Exception) -> StoreError:
    text = told(error)
    if any(sign in text for sign in _FULL):
        return StoreError(where, "the disk is full", "Free space; what is buffered is written then")
    if "Permission denied" in text:
        return StoreError(where, "not allowed to write", "Give this user write access to the store")
    if Path(where).exists():
        remedy = f"Move {where} away (a new table is begun) or restore it from a copy"
        return StoreError(where, f"the table cannot be used: {text}", remedy)
    return StoreError(where, text, "Check that the store's root exists and can be reached")
