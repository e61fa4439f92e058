"""Incidents as they were told last, and what people said of them."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from collectors.store.latest import newest_of_each
from collectors.store.reader import Reader

INCIDENT = "incident"


def incidents(
    reader: Reader, since: datetime | None = None, until: datetime | None = None
) -> list[dict[str, Any]]:
    """Every incident told of in (since, until], as it was told last, oldest first. Raises StoreError."""
    told = newest_of_each(reader, INCIDENT, since, until)
    return sorted(map(json.loads, told), key=lambda i: (i["start"], i["id"]))
