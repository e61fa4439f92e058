"""`mangaops up`, `collect` and `console`: the long-running halves."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from collectors.cli import wiring
from collectors.cli.output import out
from collectors.cli.supervise import Child, supervise
from collectors.collecting import build_loop
from collectors.daemon import collect as run_loop
from collectors.settings import BUNDLED_RECORDING, Settings
from collectors.validation import ConfigError

Engines = Annotated[
    list[str] | None, typer.Option("--engine", help="A vLLM replica to scrape; repeat for more.")
]
Store = Annotated[str | None, typer.Option(help="Root of the tables.")]
Recording = Annotated[Path | None, typer.Option(help="A recording to play as if live.")]
ClockScale = Annotated[float | None, typer.Option(min=1, help="Divides every window and `for`; drills only.")]
Config = Annotated[Path | None, typer.Option(help="mangaops.yaml to read.")]
Port = Annotated[int | None, typer.Option(help="Port of the console.")]
Host = Annotated[str | None, typer.Option(help="Address the console listens on.")]

DEMO_STORE = ".mangaops/demo"
DEMO_CLOCK_SCALE = 20.0  # the bundled recording's faults last a minute each, not twenty


def up(
    engine: Engines = None,
    store: Store = None,
    recording: Recording = None,
    port: Port = None,
    host: Host = None,
    clock_scale: ClockScale = None,
    config: Config = None,
) -> None:
    """Collector and console together; with nothing configured, the bundled recording played as if live."""
    flags = _flags(engine, store, recording, clock_scale) | {"port": port, "host": host}
    chosen = _demo_if_bare(wiring.settings(config, flags))
    wiring.book(chosen)
    _refuse_busy_port(chosen)
    environment = {**os.environ, **_environment(chosen)}
    base = [sys.executable, "-m"]
    children = [
        Child("collector", [*base, "collectors.cli", "collect", *_config(config)], environment),
        Child("console", [*base, "collectors.cli", "console", *_config(config)], environment),
    ]
    _greet(chosen)
    supervise(children)


def collect(
    engine: Engines = None,
    store: Store = None,
    recording: Recording = None,
    clock_scale: ClockScale = None,
    config: Config = None,
) -> None:
    """Collect and judge until stopped (Ctrl-C or SIGTERM stores what is held first)."""
    chosen = wiring.settings(config, _flags(engine, store, recording, clock_scale))
    if not chosen.engines and chosen.recording is None:
        raise ConfigError(
            "settings", ["engines: nothing to collect from. Give --engine URL or --recording DIR"]
        )
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    asyncio.run(_collect(chosen))


def console(store: Store = None, port: Port = None, host: Host = None, config: Config = None) -> None:
    """The console alone, on an existing store."""
    chosen = wiring.settings(config, {"store": store, "port": port, "host": host})
    _refuse_busy_port(chosen)
    command = [sys.executable, "-m", "console", "--store", chosen.store, "--host", chosen.host]
    command += ["--port", str(chosen.port), *_config(config)]
    # in our place, not below us: a signal to this process reaches the server itself
    os.execv(sys.executable, command)  # noqa: S606 - our own module, arguments from validated settings


async def _collect(chosen: Settings) -> None:
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    async with build_loop(chosen, wiring.book(chosen), wiring.clock, stop) as loop:
        await run_loop(loop)


def _flags(
    engine: list[str] | None, store: str | None, recording: Path | None, clock_scale: float | None
) -> dict[str, Any]:
    return {"engines": engine or None, "store": store, "recording": recording, "clock_scale": clock_scale}


def _demo_if_bare(chosen: Settings) -> Settings:
    """With no engine and no recording, the bundled one, in a store of its own."""
    if chosen.engines or chosen.recording:
        return chosen
    given = chosen.model_fields_set
    demo = {"recording": BUNDLED_RECORDING, "store": DEMO_STORE, "clock_scale": DEMO_CLOCK_SCALE}
    return chosen.model_copy(update={k: v for k, v in demo.items() if k not in given})


def _environment(chosen: Settings) -> dict[str, str]:
    """The settings as the children read them, so that flags reach them too."""
    found = {
        "MANGAOPS_STORE": chosen.store,
        "MANGAOPS_HOST": chosen.host,
        "MANGAOPS_PORT": str(chosen.port),
        "MANGAOPS_CLOCK_SCALE": str(chosen.clock_scale),
        "MANGAOPS_ENGINES": " ".join(str(e) for e in chosen.engines),
    }
    return {**found, "MANGAOPS_RECORDING": str(chosen.recording)} if chosen.recording else found


def _config(config: Path | None) -> list[str]:
    return ["--config", str(config)] if config else []


def _refuse_busy_port(chosen: Settings) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((chosen.host, chosen.port))
        except OSError as error:
            remedy = "Stop what listens there or choose another with --port"
            raise ConfigError(
                "settings", [f"port: {chosen.host}:{chosen.port}: {error.strerror}. {remedy}"]
            ) from error


def _greet(chosen: Settings) -> None:
    fed_by = (
        ", ".join(str(e) for e in chosen.engines) or f"the recording {chosen.recording}, played as if live"
    )
    out.print(f"[bold]mangaops[/]  console  http://{chosen.host}:{chosen.port}", highlight=False)
    out.print(f"          fed by   {escape(fed_by)}", highlight=False)
    out.print(f"          store    {escape(chosen.store)}", highlight=False)
    if chosen.clock_scale != 1:
        out.print(
            f"          clock    ×{chosen.clock_scale:g}: every window and `for` divided by it",
            highlight=False,
        )
    out.print("          Ctrl-C stops both", highlight=False)
