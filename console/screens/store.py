"""The store as screens read it: each answer is kept as long as the tables' versions stand."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
import streamlit as st

from collectors.settings import Settings
from collectors.store.dialect import Dialect
from collectors.store.opening import open_reader
from collectors.store.reader import Reader
from collectors.store.tables import TABLES
from console.desk import Desk, open_desk

Versions = tuple[tuple[str, int | None], ...]


@dataclass(frozen=True, slots=True)
class CachedReader:
    """Reads through Streamlit's cache, shared by all sessions; safe, because a version never changes."""

    inner: Reader

    @property
    def dialect(self) -> Dialect:
        """The engine's spelling."""
        return self.inner.dialect

    @property
    def root(self) -> str:
        """Where the tables lie."""
        return self.inner.root

    def version(self, name: str) -> int | None:
        """As the inner reader's. Raises StoreError."""
        return self.inner.version(name)

    def snapshot(self) -> AbstractContextManager[None]:
        """As the inner reader's."""
        return self.inner.snapshot()

    def query(
        self,
        sql: str,
        params: Sequence[Any] = (),
        *,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> pa.Table:
        """As the inner reader's. Raises StoreError."""
        asked = {t for t in TABLES if f"{{{t}}}" in sql}
        versions = tuple(v for v in _versions(self.inner.root, self.inner) if v[0] in asked)
        return _rows(self.inner.root, versions, sql, tuple(params), since, until, self.inner)


@st.cache_resource(show_spinner=False)
def desk(settings: Settings) -> Desk:
    """The one desk of this process. Raises ConfigError."""
    reader = open_reader(settings.store, settings.query_engine, settings.duckdb_memory)
    return open_desk(CachedReader(reader), settings, reader.version)


# A second: one run of a screen asks a dozen questions, and each look at the Delta log costs milliseconds.
@st.cache_data(ttl=1.0, max_entries=4, show_spinner=False)
def _versions(root: str, _reader: Reader) -> Versions:  # noqa: ARG001 - part of the key
    return tuple((t, _reader.version(t)) for t in TABLES)


@st.cache_data(ttl=300, max_entries=600, show_spinner=False)
def _rows(
    root: str,  # noqa: ARG001 - part of the key
    versions: Versions,  # noqa: ARG001 - part of the key
    sql: str,
    params: tuple[Any, ...],
    since: datetime | None,
    until: datetime | None,
    _reader: Reader,
) -> pa.Table:
    return _reader.query(sql, params, since=since, until=until)
