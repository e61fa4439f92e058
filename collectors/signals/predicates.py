"""Conditions on one request column, as data: rules and SLOs name them, the store puts them into SQL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Operator = Literal["<", "<=", ">", ">=", "==", "!=", "present", "always"]
Value = float | int | bool | str


@dataclass(frozen=True, slots=True)
class Where:
    """`column op value`; a missing column value meets no condition but `always`."""

    column: str
    op: Operator
    value: Value | None = None

    def __str__(self) -> str:
        if self.op in {"present", "always"}:
            return f"{self.column} {self.op}".strip()
        return f"{self.column} {self.op} {self.value}"


always = Where("", "always")


def present(column: str) -> Where:
    """The column holds a value."""
    return Where(column, "present")


def equals(column: str, value: Value) -> Where:
    """The column equals the value."""
    return Where(column, "==", value)
