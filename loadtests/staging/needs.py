"""What has to be there before staging starts, each with the command that brings it."""

from __future__ import annotations

from importlib.util import find_spec

from loadtests.staging.parts import ADAPTERS, Place

SETUP = "Run: make staging-setup"
MODULES = ("fastapi", "locust", "mlflow", "moto", "tokenizers")


def missing(place: Place) -> list[str]:
    """One line for each thing that is not there; none if staging can start."""
    lacking = [
        f"{name} is not installed in this environment. {SETUP}" for name in MODULES if not find_spec(name)
    ]
    if place.engine_url:
        return lacking
    if not place.engine_python.is_file():
        lacking.append(f"vLLM is not installed in {place.engine_python.parent.parent}. {SETUP}")
    absent = [name for name in ("base", *ADAPTERS) if not (place.models / name).is_dir()]
    if absent:
        lacking.append(f"{place.models} holds no model {', '.join(absent)}. {SETUP}")
    return lacking
