"""Reading the Delta tables with ClickHouse: a server, or chDB, the same engine in this process.

ClickHouse reads the Delta log itself (`deltaLake`, `deltaLakeLocal`) at the version that was newest when the
query began, so a commit is seen as a whole or not at all.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from collectors.store.dialect import AT, CLICKHOUSE, Dialect
from collectors.store.errors import StoreError, told
from collectors.store.tables import TABLES

EMBEDDED = "chdb://memory"
CONNECT_S, ANSWER_S = 5, 60
_BINARY = {f.name for t in TABLES.values() for f in t.schema if pa.types.is_binary(f.type)}


class ClickHouseReader:
    """Runs SQL in which `{metrics}`, `{requests}`, `{events}` and `{judgements}` stand for the tables.

    `server` is a URL such as clickhouse://user:password@host:8123; it has to reach the root by the same
    name. Embedded, the root has to lie below the working directory. Safe to share between threads.
    """

    dialect: Dialect = CLICKHOUSE

    def __init__(self, root: str, server: str = EMBEDDED) -> None:
        self.root, self.server = root, server
        self._client: Any = None
        self._lock = threading.Lock()
        self._pinned = threading.local()

    def query(
        self, sql: str, params: Any = (), *, since: datetime | None = None, until: datetime | None = None
    ) -> pa.Table:
        """The result as an Arrow table; rows outside (since, until] are not seen. Raises StoreError."""
        if params:
            raise ValueError("ClickHouse is asked without parameters. Put them in with Dialect.literal")
        connected = self._connected()
        text = self.dialect.filled(sql, TABLES, lambda name: self._relation(name, since, until))
        try:
            return _typed(connected.query_arrow(text))
        except _errors() as error:
            raise StoreError(_safe(self.server), told(error), _remedy(error)) from error

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """While it lasts, this thread's queries see each table as it first saw it."""
        outer = getattr(self._pinned, "versions", None)
        self._pinned.versions = {} if outer is None else outer
        try:
            yield
        finally:
            self._pinned.versions = outer

    def version(self, name: str) -> int | None:
        """The table's current version; None where it does not exist. Raises StoreError."""
        try:
            return DeltaTable(self._path(name)).version()
        except TableNotFoundError:
            return None
        except (DeltaError, OSError) as error:
            where = self._path(name)
            raise StoreError(where, told(error), f"Move {where} away or restore it from a copy") from error

    def _relation(self, name: str, since: datetime | None, until: datetime | None) -> str:
        version = self._seen(name)
        if version is None:
            return f"null({self.dialect.literal(_structure(TABLES[name].schema))})"
        function = "deltaLake" if "://" in self.root else "deltaLakeLocal"
        path = self.dialect.literal(self._path(name))
        rows = f"SELECT * FROM {function}({path}) WHERE {_bounds(since, until)}"
        return f"({rows} SETTINGS delta_lake_snapshot_version = {version})"

    def _seen(self, name: str) -> int | None:
        pinned: dict[str, int | None] | None = getattr(self._pinned, "versions", None)
        if pinned is None:
            return self.version(name)
        if name not in pinned:
            pinned[name] = self.version(name)
        return pinned[name]

    def _path(self, name: str) -> str:
        root = self.root.rstrip("/") if "://" in self.root else str(Path(self.root).resolve())
        return f"{root}/{name}"

    def _connected(self) -> Any:
        with self._lock:
            self._client = self._client or _connect(self.server)
            return self._client


def _connect(server: str) -> Any:
    errors = _errors()
    import clickhouse_connect  # noqa: PLC0415 - only those who ask for ClickHouse need it

    bounded: dict[str, Any] = {"connect_timeout": CONNECT_S, "send_receive_timeout": ANSWER_S}
    bounded["autogenerate_session_id"] = False  # a session would let one query at a time through
    try:
        return clickhouse_connect.get_client(dsn=server, **({} if server.startswith("chdb:") else bounded))
    except errors as error:
        raise StoreError(_safe(server), told(error), "Start it, or correct its URL") from error


def _errors() -> tuple[type[Exception], ...]:
    """What a client raises. Raises StoreError where there is none."""
    try:
        from clickhouse_connect.driver.exceptions import ClickHouseError  # noqa: PLC0415 - as above
    except ImportError as error:
        remedy = "Install it: pip install 'mangaops[clickhouse]' (and chdb, for the embedded engine)"
        raise StoreError("clickhouse", "clickhouse-connect is not installed", remedy) from error
    return (ClickHouseError, OSError)


def _remedy(error: Exception) -> str:
    if "PATH_ACCESS_DENIED" in str(error):
        return "ClickHouse may not read there. Set its user_files_path; embedded, start above the store"
    return "Check the server and that it reaches the store's root"


def _safe(server: str) -> str:
    """The URL without user and password."""
    scheme, _, rest = server.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def _bounds(since: datetime | None, until: datetime | None) -> str:
    """The time, and its days: whole partitions are left out by them."""
    low = [f"{AT} > {CLICKHOUSE.instant(since)}", f"day >= {_day(since)}"] if since else []
    high = [f"{AT} <= {CLICKHOUSE.instant(until)}", f"day <= {_day(until)}"] if until else []
    return " AND ".join([*low, *high]) or "true"


def _day(at: datetime) -> str:
    return f"toDate32('{at.astimezone(UTC).date()}')"


_TYPES = {
    pa.types.is_date: "Nullable(Date32)",
    pa.types.is_timestamp: "Nullable(DateTime64(6, 'UTC'))",
    pa.types.is_string: "Nullable(String)",
    pa.types.is_binary: "Nullable(String)",
    pa.types.is_int32: "Nullable(Int32)",
    pa.types.is_boolean: "Nullable(Bool)",
    pa.types.is_float64: "Nullable(Float64)",
    pa.types.is_list: "Array(Tuple(low Nullable(Float64), high Nullable(Float64), count Nullable(Float64)))",
}


def _structure(schema: pa.Schema) -> str:
    """A table that is not there yet has its columns and no row."""
    return ", ".join(f'"{f.name}" {_type(f.type)}' for f in schema)


def _type(kind: pa.DataType) -> str:
    return next(name for is_, name in _TYPES.items() if is_(kind))


def _typed(found: pa.Table) -> pa.Table:
    """ClickHouse knows no difference between text and bytes."""
    for k, name in enumerate(found.column_names):
        if name in _BINARY:
            found = found.set_column(k, name, found.column(k).cast(pa.binary()))
    return found
