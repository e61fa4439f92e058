"""`python -m console`: Streamlit on console/app.py, headless, without telemetry, on the loopback address."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from collectors.settings import PREFIX, Settings, load_settings
from collectors.validation import ConfigError

APP = Path(__file__).with_name("app.py")
MISTAKE = 2  # exit status of a wrong setting
OPTIONS: Mapping[str, str] = {
    "server.headless": "true",
    "server.fileWatcherType": "none",  # nothing is edited here, and watching costs CPU
    "server.enableXsrfProtection": "true",
    "server.enableCORS": "true",
    "browser.gatherUsageStats": "false",
    "client.toolbarMode": "minimal",
    "client.showErrorDetails": "none",  # a trace belongs into the log, not on a screen
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Become Streamlit; returns only where the settings are wrong."""
    given = vars(_parser().parse_args(arguments))
    config = given.pop("config")
    environment = {**os.environ, **{PREFIX + k.upper(): str(v) for k, v in given.items() if v is not None}}
    try:
        settings = load_settings(config, environment)
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return MISTAKE
    os.environ.update(environment | _told(settings))
    command = streamlit(settings.host, settings.port)
    return os.execv(command[0], command)  # noqa: S606 - our own interpreter, fixed arguments


def _told(settings: Settings) -> dict[str, str]:
    """What the console reads of the settings, so that a file named here counts there too."""
    kept = {
        k: str(getattr(settings, k))
        for k in (
            *("store", "drills", "drills_run", "rules", "slos"),
            *("time_zone", "query_engine", "duckdb_memory"),
        )
    }
    kept["scrape_interval"] = f"{settings.scrape_interval.total_seconds():g}s"
    return {PREFIX + k.upper(): v for k, v in kept.items()}


def streamlit(host: str, port: int) -> list[str]:
    """The command that serves the console."""
    flags = [f"--{k}={v}" for k, v in {**OPTIONS, "server.address": host, "server.port": str(port)}.items()]
    return [sys.executable, "-m", "streamlit", "run", str(APP), *flags]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m console", description="Serve the mangaops console.")
    parser.add_argument("--config", type=Path, help="mangaops.yaml")
    parser.add_argument("--store", help="root of the tables, a folder")
    parser.add_argument("--host", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on (8501)")
    parser.add_argument("--time-zone", help="the second time zone, beside UTC (Asia/Tokyo)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
