"""The drills that can be run here, as a person chooses among them."""

from __future__ import annotations

from typing import Literal

from collectors.validation import Strict
from console.views import words

PROVES = {
    "instrumentation": "proves instrumentation, alerts and runbooks, and not the capacity of a GPU",
    "capacity": "proves capacity",
}
CHECKOUT = "Drills are run from a checkout of the project; here is none."


class Offer(Strict):
    """A drill to run. `own_engine`: it breaks the engine, so it has to start that itself."""

    name: str
    title: str
    seconds: float
    clock_scale: float
    proves: Literal["instrumentation", "capacity"]
    phases: tuple[str, ...]
    own_engine: bool


class Catalogue(Strict):
    """What can be run, and what is not installed for it: as such, and beside an engine that runs already."""

    drills: tuple[Offer, ...]
    missing: tuple[str, ...]
    missing_beside_engine: tuple[str, ...]

    def offer(self, name: str) -> Offer | None:
        """The drill of that name."""
        return next((d for d in self.drills if d.name == name), None)

    def lacking(self, engine: str) -> tuple[str, ...]:
        """A line for each thing that is missing, with its remedy."""
        return self.missing_beside_engine if engine else self.missing


def described(offer: Offer) -> str:
    """How long it takes, on which clock, and what it proves."""
    length = f"{words.length(offer.seconds)} of phases, and some minutes to start and to end"
    clock = [words.clock_scale(offer.clock_scale)] if offer.clock_scale != 1 else []
    return " · ".join([length, *clock, PROVES[offer.proves]])


def course(offer: Offer) -> str:
    """Its phases in order."""
    return " → ".join(words.title(name) for name in offer.phases)
