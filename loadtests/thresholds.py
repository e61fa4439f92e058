"""The rules with a drill's own thresholds: a tiny model on a CPU keeps no promise made for a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml

from collectors.validation import parse_yaml

FILE = "rules.yaml"


def written(rules: Path, thresholds: Mapping[str, float], folder: Path) -> Path:
    """A copy of the rules in the folder, with these thresholds. Raises ConfigError, OSError."""
    data = parse_yaml(rules.read_text(encoding="utf-8"), str(rules))
    for rule in data["rules"]:
        if rule["name"] in thresholds:
            rule["threshold"] = thresholds[rule["name"]]
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / FILE
    file.write_text(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return file
