"""What the query engines spell differently. All other SQL is one text for all of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

AT = '"at"'  # quoted, for it is a keyword in DuckDB


@dataclass(frozen=True, slots=True)
class Dialect:
    """Templates with positional `{}` for what differs between engines."""

    name: str
    epoch_us: str
    timestamp: str
    expand: str  # one row for each integer in [{0}, {1})
    latest: str  # the value {0} that goes with the greatest {1}
    at_least: str  # the value {0} that goes with the least {1}
    integer: str
    blob: str  # bytes from hexadecimal text
    bucket_rows: str  # one row for each bucket of the column "buckets", as column b
    bucket_field: str
    null_float: str
    sample: str  # some percent {0} of a table's rows, wherever they lie; empty where that saves nothing
    text: str
    backslash_escapes: bool

    def literal(self, value: float | bool | str) -> str:  # noqa: FBT001 - a value, not a switch
        """A value as a SQL literal, quoted so that nothing in a text can leave it."""
        if isinstance(value, bool):
            return "true" if value else "false"
        if not isinstance(value, str):
            return repr(value)
        escaped = value.replace("\\", "\\\\") if self.backslash_escapes else value
        return "'" + escaped.replace("'", "''") + "'"

    def filled(self, sql: str, tables: Collection[str], relation: Callable[[str], str]) -> str:
        """The statement with its tables for `{name}`; what a text literal holds stays as it is."""
        escaped = r"|\\." if self.backslash_escapes else ""
        inside = r"[^'\\]" if self.backslash_escapes else r"[^']"
        pattern = rf"'(?:{inside}{escaped})*'|{{({'|'.join(tables)})}}"
        return re.sub(pattern, lambda m: relation(m[1]) if m[1] else m[0], sql, flags=re.DOTALL)

    def group(self, column: str) -> str:
        """A grouping column as text; a missing value is the empty text."""
        return f"coalesce({self.text.format(column)}, '')"

    def quantiles(self, column: str, fractions: Sequence[float]) -> str:
        """An exact quantile of the column for each fraction, as an array; without values empty or NULL."""
        if self.name == "clickhouse":
            found = f"quantilesExactInclusive({', '.join(map(repr, fractions))})({column})"
            return f"if(count({column}) = 0, [], {found})"
        return f"quantile_cont({column}, [{', '.join(map(repr, fractions))}])"

    def instant(self, at: datetime) -> str:
        """An aware instant as a literal with microseconds."""
        return self.timestamp.format(at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f"))


DUCKDB = Dialect(
    name="duckdb",
    epoch_us="epoch_us({})",
    timestamp="TIMESTAMPTZ '{}+00'",
    expand="unnest(range({0}, {1}))",
    latest="arg_max({0}, {1})",
    at_least="arg_min({0}, {1})",
    integer="CAST({} AS BIGINT)",
    blob="from_hex('{}')",
    bucket_rows="unnest(buckets)",
    bucket_field="b.{}",
    null_float="CAST(NULL AS DOUBLE)",
    sample=" TABLESAMPLE SYSTEM({}%)",
    text="CAST({} AS VARCHAR)",
    backslash_escapes=False,
)

CLICKHOUSE = Dialect(
    name="clickhouse",
    epoch_us="toUnixTimestamp64Micro({})",
    timestamp="toDateTime64('{}', 6, 'UTC')",
    expand="arrayJoin(range({0}, {1}))",
    latest="argMax({0}, {1})",
    at_least="argMin({0}, {1})",
    integer="toInt64({})",
    blob="unhex('{}')",
    bucket_rows="arrayJoin(buckets)",
    bucket_field="tupleElement(b, '{}')",
    null_float="CAST(NULL AS Nullable(Float64))",
    sample="",
    text="CAST({} AS Nullable(String))",
    backslash_escapes=True,
)
