"""Which seconds of a measurement were this machine's own.

On a shared host the hypervisor takes processor time away, in some minutes a fifth of it, and every latency
grows with it. What it took is counted (`steal` in proc(5)), so the seconds in which it took most can be told
without a look at the latencies themselves.
"""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self

import numpy as np
import psutil
from numpy.typing import ArrayLike, NDArray

LOOK_S = 0.25


class Quiet:
    """Notes, while it is open, what the hypervisor takes."""

    def __init__(self) -> None:
        self._looks: list[tuple[float, float]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        """Begin to watch."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop watching."""
        self._ended.set()
        self._thread.join()

    def taken(self, began: ArrayLike) -> NDArray[np.float64]:
        """The share of all processors, in %, that was taken in each second from these instants on.

        Instants are seconds since the epoch.
        """
        at, steal = np.array([*self._looks, self._look()]).T
        first = np.asarray(began, dtype=float)
        took = np.interp(first + 1, at, steal) - np.interp(first, at, steal)
        return np.asarray(100 * took / (psutil.cpu_count() or 1), dtype=float)

    def quiet(self, instants: ArrayLike) -> NDArray[np.bool_]:
        """Which of these lie in the half of the seconds, from first to last, in which least was taken."""
        whole = np.asarray(instants, dtype=float)
        number = (whole - whole.min()).astype(int)
        took = self.taken(whole.min() + np.arange(number.max() + 1))
        chosen = np.argsort(took, kind="stable")[: -(-took.size // 2)]
        return np.isin(number, chosen)

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_S):
            self._looks.append(self._look())

    def _look(self) -> tuple[float, float]:
        return time.time(), getattr(psutil.cpu_times(), "steal", 0.0)
