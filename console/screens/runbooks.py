"""Stub."""
from console.screens.parts import Tick, heading
from console.services import Desk


def show(desk: Desk, tick: Tick) -> None:
    """Draw the screen."""
    heading("runbooks", tick())
