"""Which process sent an export, in OpenTelemetry's own words for it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from collectors.signals.traces import MAX_TEXT

# The first that is there names it; OTEL_RESOURCE_ATTRIBUTES sets any of them. service.name is not among them:
# all replicas share it.
NAMES = ("service.instance.id", "k8s.pod.name", "host.name")
# An SDK makes up an instance id where it is given none, another in each of an engine's processes.
_MADE_UP = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def sender_of(resource: Iterable[KeyValue]) -> str | None:
    """The process that a resource's attributes name; None where they name none."""
    told = {each.key: each.value.string_value for each in resource if each.key in NAMES}
    return next((told[n][:MAX_TEXT] for n in NAMES if told.get(n) and not _MADE_UP.fullmatch(told[n])), None)
