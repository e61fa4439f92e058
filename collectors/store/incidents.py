"""Incidents as they were told last, and what people said of them."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from collectors.model import EventFact
from collectors.store.dialect import AT
from collectors.store.latest import newest_of_each
from collectors.store.reader import Reader
from collectors.store.tables import TABLES, facts

INCIDENT, NOTE = "incident", "incident_note"


def incidents(
    reader: Reader, since: datetime | None = None, until: datetime | None = None
) -> list[dict[str, Any]]:
    """Every incident told of in (since, until], as it was told last, oldest first. Raises StoreError."""
    told = newest_of_each(reader, INCIDENT, since, until)
    return sorted(map(json.loads, told), key=lambda i: (i["start"], i["id"]))


def notes(reader: Reader, since: datetime | None = None, until: datetime | None = None) -> list[EventFact]:
    """What people said of incidents in (since, until], oldest first.

    `subject` is the incident's id, `before` the state it was given, `after` the text.
    """
    d = reader.dialect
    found = reader.query(
        f"SELECT * FROM {{events}} WHERE kind = {d.literal(NOTE)} ORDER BY {AT}", since=since, until=until
    )
    return facts(TABLES["events"], found)
