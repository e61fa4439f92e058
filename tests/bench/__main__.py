"""`make bench`: every figure the project states about its own speed, beside a peer's, in one run."""

from __future__ import annotations

import argparse
import platform
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.bench import client, collector, explaining, gateway, otlp, requests, scrape, screens
from tests.bench.report import Figure, show

NAMES = ("scrape", "requests", "collector", "screens", "client", "gateway", "otlp")


def main() -> None:
    """Run the chosen parts, all by default."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=NAMES)
    parser.add_argument("--seconds", type=int, default=40, help="how long the collector is watched")
    chosen = parser.parse_args()
    print(f"{platform.machine()}, Python {platform.python_version()}; smaller is better")
    with tempfile.TemporaryDirectory(prefix="mangaops-bench-") as folder:
        root = Path(folder)
        parts: dict[str, tuple[str, Callable[[], list[Figure]]]] = {
            "scrape": (
                "One scrape of a real engine, parsed and stored",
                lambda: scrape.figures(root / "scrape"),
            ),
            "requests": (
                f"{requests.ROWS:,} requests over {requests.DAYS} days",
                lambda: _requests(root / "big"),
            ),
            "collector": ("Collector, 8 replicas every 5 s", lambda: collector.figures(root, chosen.seconds)),
            "screens": ("Console, warm run of each screen", lambda: screens.figures(root / "screens")),
            "client": (
                "Load generator and stock locust on one server",
                lambda: client.figures(root / "client"),
            ),
            "gateway": (
                f"Gateway, {gateway.REQUESTS_PER_S} requests a second",
                lambda: gateway.figures(root / "gateway"),
            ),
            "otlp": ("Traces of four spans, received on one core", lambda: otlp.figures(root / "otlp")),
        }
        for name, (title, measure) in parts.items():
            if not chosen.only or name in chosen.only:
                show(title, measure())


def _requests(root: Path) -> list[Figure]:
    requests.build(root)
    return [*requests.figures(root), explaining.figure(root, requests.LOOKED_UP)]


if __name__ == "__main__":
    main()
