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
from collectors.fetching import host
from collectors.settings import BUNDLED_RECORDING, Settings
from collectors.sources.otlp.listening import address, listen
from collectors.validation import ConfigError

Engines = Annotated[
    list[str] | None, typer.Option("--engine", help="A vLLM replica to scrape; repeat for more.")
]
Store = Annotated[str | None, typer.Option(help="Root of the tables.")]
Recording = Annotated[Path | None, typer.Option(help="A recording to play as if live.")]
ClockScale = Annotated[float | None, typer.Option(min=1, help="Divides every window and `for`; drills only.")]
Config = Annotated[Path | None, typer.Option(help="mangaops.yaml to read.")]
Port = Annotated[int | None, typer.Option(help="Port of the console.")]
OtlpPort = Annotated[int | None, typer.Option(help="Port that receives traces over OTLP/HTTP.")]
Mlflow = Annotated[str | None, typer.Option(help="MLflow server that keeps the traces.")]
Prometheus = Annotated[str | None, typer.Option(help="Prometheus server that scrapes the replicas already.")]
Host = Annotated[str | None, typer.Option(help="Address the console listens on.")]

DEMO_STORE = ".mangaops/demo"
DEMO_CLOCK_SCALE = 20.0  # the bundled recording's faults last a minute each, not twenty


def up(
    *,
    engine: Engines = None,
    store: Store = None,
    recording: Recording = None,
    otlp_port: OtlpPort = None,
    mlflow: Mlflow = None,
    prometheus: Prometheus = None,
    port: Port = None,
    host: Host = None,
    clock_scale: ClockScale = None,
    config: Config = None,
) -> None:
    """Collector and console together; with nothing configured, the bundled recording played as if live."""
    flags = _flags(engine, store, recording, clock_scale) | {"port": port, "host": host}
    flags |= {"otlp_port": otlp_port, "mlflow": mlflow, "prometheus": prometheus}
    chosen = _demo_if_bare(wiring.settings(config, flags))
    wiring.book(chosen)
    _refuse_busy_port(chosen)
    _refuse_busy_otlp_port(chosen)
    environment = {**os.environ, **_environment(chosen)}
    base = [sys.executable, "-m"]
    children = [
        Child("collector", [*base, "collectors.cli", "collect", *_config(config)], environment),
        Child("console", [*base, "collectors.cli", "console", *_config(config)], environment),
    ]
    _greet(chosen)
    supervise(children)


def collect(
    *,
    engine: Engines = None,
    store: Store = None,
    recording: Recording = None,
    otlp_port: OtlpPort = None,
    mlflow: Mlflow = None,
    prometheus: Prometheus = None,
    clock_scale: ClockScale = None,
    config: Config = None,
) -> None:
    """Collect and judge until stopped (Ctrl-C or SIGTERM stores what is held first)."""
    flags = _flags(engine, store, recording, clock_scale)
    flags |= {"otlp_port": otlp_port, "mlflow": mlflow, "prometheus": prometheus}
    chosen = wiring.settings(config, flags)
    if not _is_fed(chosen):
        remedy = "Give --engine URL, --prometheus URL, --otlp-port N, --mlflow URL or --recording DIR"
        raise ConfigError("settings", [f"engines: nothing to collect from. {remedy}"])
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


def _is_fed(chosen: Settings) -> bool:
    """Whether anything is named that facts come from."""
    return bool(chosen.engines or chosen.recording or chosen.otlp_port or chosen.mlflow or chosen.prometheus)


def _demo_if_bare(chosen: Settings) -> Settings:
    """With nothing that facts come from, the bundled recording, in a store of its own."""
    if _is_fed(chosen):
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
    optional = {
        "MANGAOPS_RECORDING": chosen.recording,
        "MANGAOPS_OTLP_PORT": chosen.otlp_port,
        "MANGAOPS_MLFLOW": chosen.mlflow,
        "MANGAOPS_PROMETHEUS": chosen.prometheus,
    }
    return found | {name: str(value) for name, value in optional.items() if value is not None}


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


def _refuse_busy_otlp_port(chosen: Settings) -> None:
    if chosen.otlp_port:
        listen(chosen.otlp_host, chosen.otlp_port).close()


def _greet(chosen: Settings) -> None:
    out.print(f"[bold]mangaops[/]  console  http://{chosen.host}:{chosen.port}", highlight=False)
    out.print(f"          fed by   {escape(_fed_by(chosen))}", highlight=False)
    if chosen.otlp_port:
        to = (
            f", forwarded to {chosen.mlflow.host}:{chosen.mlflow.port}"
            if chosen.mlflow and chosen.forwards
            else ""
        )
        url = address(chosen.otlp_host, chosen.otlp_port)
        out.print(f"          traces   {url}/v1/traces{to}", highlight=False)
    out.print(f"          store    {escape(chosen.store)}", highlight=False)
    if chosen.clock_scale != 1:
        out.print(
            f"          clock    ×{chosen.clock_scale:g}: every window and `for` divided by it",
            highlight=False,
        )
    out.print("          Ctrl-C stops both", highlight=False)


def _fed_by(chosen: Settings) -> str:
    metrics = [str(e) for e in chosen.engines]
    metrics += [f"Prometheus at {host(str(chosen.prometheus))}"] if chosen.prometheus else []
    if metrics:
        return ", ".join(metrics)
    return f"the recording {chosen.recording}, played as if live" if chosen.recording else "traces"
