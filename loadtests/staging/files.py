"""The files that a stack's parts read, written into its own folder before they start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from loadtests.staging.parts import HOST, Place

HERE = Path(__file__).parent
GATEWAY_CONFIG = HERE / "gateway" / "gateway.yaml"


def write(place: Place) -> None:
    """All of them; the gateway's is the shipped one, with the engine's tokenizer where it is here."""
    place.root.mkdir(parents=True, exist_ok=True)
    _yaml(place.gateway_config, gateway(place))
    _yaml(place.root / "prometheus.yml", prometheus(place))
    _yaml(place.root / "alertmanager.yml", alertmanager())


def gateway(place: Place) -> dict[str, Any]:
    """As shipped. With the tokenizer, tokens are counted as the engine will; without, they are estimated."""
    shipped: dict[str, Any] = yaml.safe_load(GATEWAY_CONFIG.read_text(encoding="utf-8"))
    tokenizer = place.models / "base" / "tokenizer.json"
    own = place.engine_url is None and tokenizer.is_file()
    return {**shipped, "tokenizer": str(tokenizer.resolve())} if own else shipped


def prometheus(place: Place) -> dict[str, Any]:
    """Scrapes the engine and the gateway every second of a drill, every five otherwise."""
    jobs = {"engine": place.url("engine"), "gateway": place.url("gateway")}
    return {
        "global": {"scrape_interval": "1s" if place.clock_scale > 1 else "5s"},
        "alerting": {
            "alertmanagers": [{"static_configs": [{"targets": [f"{HOST}:{place.ports['alertmanager']}"]}]}]
        },
        "scrape_configs": [
            {
                "job_name": name,
                "scheme": url.partition("://")[0],
                "static_configs": [{"targets": [url.partition("://")[2]]}],
            }
            for name, url in jobs.items()
        ],
    }


def alertmanager() -> dict[str, Any]:
    """One receiver that tells nobody: staging wakes no one."""
    return {"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]}


def _yaml(file: Path, data: dict[str, Any]) -> None:
    file.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
