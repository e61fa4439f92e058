"""What staging consists of: each part's command, port, environment and the sign that it is ready.

Plain data, so that docker-compose.yml can be held against it. Nothing is started here.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

HOST = "127.0.0.1"
# The well-known ports with a 1 before them, so that staging stands beside whatever has those.
PORTS: Mapping[str, int] = {
    "console": 18501,
    "collector": 14318,
    "engine": 18000,
    "gateway": 18080,
    "mlflow": 15000,
    "aws": 15555,
    "prometheus": 19090,
    "alertmanager": 19093,
}
BASE_MODEL = "manga-base"
ADAPTERS = ("manga_domain_v3", "general_support_v2", "jp_style_v1")
# Asked for by name in drills alone: with them there are more adapters than slots. Each has another's weights.
SPARE_ADAPTERS: Mapping[str, str] = {
    "winter_event_v1": "manga_domain_v3",
    "summer_event_v1": "general_support_v2",
}
ENGINE_VENV = Path(".venv-vllm")
BINARIES = {"prometheus": ("prometheus",), "alertmanager": ("alertmanager", "prometheus-alertmanager")}
CONTEXT_TOKENS = 4096
SEQUENCES = 16  # at once in the engine: two cores give sixteen streams a steady pace
ADAPTER_SLOTS = 3


@dataclass(frozen=True, slots=True)
class Place:
    """Where a stack lives: its folder, its ports, and what it takes from outside.

    `engine_url` names an engine that is there already; then none is started.
    """

    root: Path
    ports: Mapping[str, int] = field(default_factory=lambda: PORTS)
    engine_python: Path = ENGINE_VENV / "bin" / "python"
    models: Path = Path(".mangaops/models")
    engine_url: str | None = None
    scrape_url: str | None = (
        None  # where the collector reaches the engine's metrics, if not at the engine itself
    )
    mlflow_store: str | None = None
    rules: Path | None = None  # what the collector judges by, if not by its own
    clock_scale: float = 1.0

    def url(self, part: str) -> str:
        """The part's address on this machine."""
        if part == "engine" and self.engine_url:
            return self.engine_url.rstrip("/")
        return f"http://{HOST}:{self.ports[part]}"

    @property
    def store(self) -> Path:
        """Root of the tables."""
        return self.root / "store"

    @property
    def gateway_config(self) -> Path:
        """The gateway's configuration; a change to it takes effect while the gateway runs."""
        return self.root / "gateway.yaml"


@dataclass(frozen=True, slots=True)
class Part:
    """A process of the stack. `ready` is the path that answers 200; empty means that its port is open."""

    name: str
    command: tuple[str, ...]
    port: int
    ready: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    after: tuple[str, ...] = ()  # parts that have to be ready before it is started
    outlives: tuple[
        str, ...
    ] = ()  # parts that have to be gone before it is stopped: they still tell it things
    patience_s: float = 60.0


def parts(place: Place, *, console: bool) -> list[Part]:
    """All parts that this machine can start, in the order in which they are shown."""
    found = [collector(place), mlflow(place), aws(place), gateway(place)]
    if place.engine_url is None:
        found.insert(1, engine(place))
    for name, build in (("prometheus", prometheus), ("alertmanager", alertmanager)):
        if binary := installed(name):
            found.append(build(place, binary))
    return [console_part(place), *found] if console else found


def installed(name: str) -> str | None:
    """The path of an optional part's binary; None where this machine has none."""
    return next((b for b in map(shutil.which, BINARIES[name]) if b), None)


def engine(place: Place) -> Part:
    """Real vLLM on the CPU with the generated model."""
    models = place.models
    weights = {**{name: name for name in ADAPTERS}, **SPARE_ADAPTERS}
    modules = tuple(f"{name}={models / folder}" for name, folder in weights.items())
    command = (
        # the `vllm` command looks for a distribution of another name
        *(str(place.engine_python), "-m", "vllm.entrypoints.openai.api_server"),
        *("--host", HOST, "--port", str(place.ports["engine"])),
        *("--model", str(models / "base"), "--served-model-name", BASE_MODEL, "--dtype", "bfloat16"),
        *ENGINE_FLAGS,
        *("--lora-modules", *modules),
        *("--otlp-traces-endpoint", f"{place.url('collector')}/v1/traces"),
    )
    # what tells its start-up from other engines': the name under which it is scraped
    named = {"OTEL_RESOURCE_ATTRIBUTES": f"service.instance.id={HOST}:{place.ports['engine']}"}
    environment = {**ENGINE_ENVIRONMENT, **named}
    return Part("engine", command, place.ports["engine"], "/health", environment, (), ("gateway",), 300.0)


ENGINE_FLAGS = (
    *("--max-model-len", str(CONTEXT_TOKENS), "--max-num-seqs", str(SEQUENCES)),
    *("--enable-prefix-caching", "--block-size", "32"),  # a multiple of 32 on a CPU
    *("--enable-lora", "--max-loras", str(ADAPTER_SLOTS), "--max-lora-rank", "8"),
    *("--enable-per-request-metrics", "--enable-prompt-tokens-details", "--stream-interval", "1"),
)
ENGINE_ENVIRONMENT: Mapping[str, str] = {
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
    "OTEL_BSP_SCHEDULE_DELAY": "500",  # ms; the default of 5 s would hold every row back that long
}


def gateway(place: Place) -> Part:
    """The gateway before the engine; ready when its warm-up has ended."""
    command = (
        *(sys.executable, "-m", "loadtests.staging.gateway", "--config", str(place.gateway_config)),
        *("--engine", place.url("engine"), "--otlp", place.url("collector")),
        *("--host", HOST, "--port", str(place.ports["gateway"])),
    )
    return Part("gateway", command, place.ports["gateway"], "/ping", after=("engine", "collector"))


def collector(place: Place) -> Part:
    """Collects from the engine, receives spans and hands them on to MLflow."""
    command = (
        *(sys.executable, "-m", "collectors.cli", "collect", "--store", str(place.store)),
        *("--engine", place.scrape_url or place.url("engine"), "--otlp-port", str(place.ports["collector"])),
        *("--mlflow", place.url("mlflow"), "--clock-scale", f"{place.clock_scale:g}"),
    )
    # a scrape a second: a drill's windows last seconds
    environment = {"MANGAOPS_SCRAPE_INTERVAL": "1s"} if place.clock_scale > 1 else {}
    if place.rules:
        environment["MANGAOPS_RULES"] = str(place.rules)
    outlives = ("gateway", "engine")
    return Part("collector", command, place.ports["collector"], "", environment, outlives=outlives)


def console_part(place: Place) -> Part:
    """The console on the stack's own store."""
    command = (
        *(sys.executable, "-m", "collectors.cli", "console", "--store", str(place.store)),
        *("--host", HOST, "--port", str(place.ports["console"])),
    )
    return Part("console", command, place.ports["console"], "/_stcore/health")


def mlflow(place: Place) -> Part:
    """The record of every trace; SQLite unless another store is named."""
    store = place.mlflow_store or f"sqlite:///{place.root / 'mlflow.db'}"
    command = (
        *(sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store),
        *("--artifacts-destination", str(place.root / "artifacts")),
        *("--host", HOST, "--port", str(place.ports["mlflow"]), "--workers", "1"),
    )
    # each worker of its job runner takes 230 MB, and nothing here runs a job
    environment = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    return Part("mlflow", command, place.ports["mlflow"], "/health", environment, (), ("collector",), 180.0)


def aws(place: Place) -> Part:
    """Stands in for AWS: moto's server."""
    command = (sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(place.ports["aws"]))
    return Part("aws", command, place.ports["aws"], "/moto-api/data.json")


def prometheus(place: Place, binary: str) -> Part:
    """Scrapes the engine and the gateway."""
    command = (
        *(binary, f"--config.file={place.root / 'prometheus.yml'}"),
        *(f"--storage.tsdb.path={place.root / 'prometheus'}",),
        *(f"--web.listen-address={HOST}:{place.ports['prometheus']}",),
    )
    return Part("prometheus", command, place.ports["prometheus"], "/-/ready")


def alertmanager(place: Place, binary: str) -> Part:
    """Where alerts go; it routes them nowhere."""
    command = (
        *(binary, f"--config.file={place.root / 'alertmanager.yml'}"),
        *(f"--storage.path={place.root / 'alertmanager'}", "--cluster.listen-address="),
        *(f"--web.listen-address={HOST}:{place.ports['alertmanager']}",),
    )
    return Part("alertmanager", command, place.ports["alertmanager"], "/-/ready")
