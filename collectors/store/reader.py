"""What every engine offers to those who read the store."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

import pyarrow as pa

from collectors.store.dialect import Dialect


class Reader(Protocol):
    """An engine that runs SQL over the tables under `root`."""

    @property
    def root(self) -> str:
        """Where the tables lie."""
        ...

    @property
    def dialect(self) -> Dialect:
        """What the engine spells its own way."""
        ...

    def snapshot(self) -> AbstractContextManager[None]:
        """While it lasts, all queries of this thread see the same state of the tables."""
        ...

    def version(self, name: str) -> int | None:
        """The table's current version; None where it does not exist. Raises StoreError."""
        ...

    def query(self, sql: str, params: Any = (), *, since: Any = None, until: Any = None) -> pa.Table:
        """Rows as an Arrow table."""
        ...
