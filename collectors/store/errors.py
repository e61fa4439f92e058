"""What can go wrong with the store, in words a person can act on."""

from __future__ import annotations


class StoreError(Exception):
    """A table could not be read or written: where, what, remedy."""

    def __init__(self, where: str, what: str, remedy: str) -> None:
        super().__init__(f"{where}: {what}. {remedy}")
        self.where, self.what, self.remedy = where, what, remedy
