"""Numbers, lengths of time and states in words; the one place that decides how a unit reads."""

from __future__ import annotations

from datetime import timedelta

NO_DATA = "no data"
# State words with a shape each, so that no meaning hangs on colour alone.
SHAPES = {
    "firing": "◆",
    "missed": "◆",
    "bad": "◆",
    "pending": "▲",
    "warn": "▲",
    "undetermined": "◐",
    "inactive": "●",
    "met": "●",
    "ok": "●",
    "no_data": "○",
    "none": "○",
    "info": "■",
}
TONES = {
    "firing": "bad",
    "missed": "bad",
    "pending": "warn",
    "undetermined": "warn",
    "inactive": "ok",
    "met": "ok",
    "no_data": "none",
}
STATE_WORDS = {"no_data": "no data", "inactive": "quiet"}
_S = 1000.0
_TENTH, _HUNDREDTH = 0.1, 0.01
_UNITS_S = ((86_400.0, "days"), (3600.0, "h"), (60.0, "min"))
_SMALL, _LONG_MS = 10.0, 10_000.0


def tone(state: str) -> str:
    """The tone of a state: bad, warn, ok or none."""
    return TONES.get(state, "none")


def state_word(state: str) -> str:
    """The state as it is written on screen."""
    return STATE_WORDS.get(state, state.replace("_", " "))


def number(value: float | None, digits: int = 0) -> str:
    """A number with thousands separated; "no data" where there is none."""
    return NO_DATA if value is None else f"{value:,.{digits}f}"


def amount(value: float | None, unit: str) -> str:
    """A value in its unit, rounded for reading: never before a comparison."""
    if value is None:
        return NO_DATA
    if unit == "ratio":
        return percent(value)
    if unit == "ms":
        return f"{value / _S:,.1f} s" if value >= _LONG_MS else f"{number(value, int(value < _SMALL))} ms"
    if unit == "0 or 1":
        return "up" if value == 1 else "down" if value == 0 else number(value, 2)
    digits = 0 if value == int(value) or value >= _SMALL else 2
    return f"{number(value, digits)} {unit}".strip()


def percent(share: float | None, digits: int | None = None) -> str:
    """A share in percent, with as many digits as it takes to tell it from 0 and 100 %."""
    if share is None:
        return NO_DATA
    away = min(share, 1 - share)
    if digits is None:
        digits = 0 if away >= _TENTH or away <= 0 else 1 if away >= _HUNDREDTH else 2
    return f"{share * 100:.{digits}f} %"


def length(span: timedelta | float) -> str:
    """A length of time in its largest fitting unit: 42 s, 4 min, 2.5 h, 3 days."""
    s = span.total_seconds() if isinstance(span, timedelta) else span
    for size, unit in _UNITS_S:
        if s >= 2 * size or (s == size and unit != "days"):
            value = s / size
            return f"{value:.0f} {unit}" if value >= _SMALL or value == int(value) else f"{value:.1f} {unit}"
    return f"{s:.0f} s" if s >= _SMALL or s == int(s) else f"{s:.2g} s"


def window(span: timedelta, scale: float = 1.0) -> str:
    """A window as it was applied; says where a drill's clock divided it."""
    if scale == 1:
        return length(span)
    return f"{length(span / scale)} ({length(span)}, {clock_scale(scale)})"


def clock_scale(scale: float) -> str:
    """The notice that windows were divided."""
    return f"clock ×{scale:g}"


def gained(now: float | None, past: float | None, unit: str) -> str:
    """What the present is beyond the past, with its sign."""
    if now is None or past is None:
        return ""
    text = amount(abs(now - past), unit)
    if text.startswith("0.0 "):
        return text.replace("0.0", "±0", 1)
    return f"{'+' if now >= past else '−'}{text}"


def times(now: float | None, past: float | None) -> str:
    """How many times the past the present is."""
    if now is None or not past or past < 1:
        return ""
    return f"×{now / past:.1f}" if now / past < _SMALL else f"×{now / past:.0f}"


def span(low: float | None, high: float | None, unit: str) -> str:
    """A range of values with its unit once: "10 to 15 requests"."""
    first, last = amount(low, unit), amount(high, unit)
    figure, gap, named = first.partition(" ")
    if first == last:
        return first
    return f"{figure if gap and last.endswith(f' {named}') else first} to {last}"


def counted(n: int, noun: str) -> str:
    """A count with its noun: "1 alert", "2 alerts"."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def title(name: str) -> str:
    """A rule's or reading's name for people who did not write it."""
    if name in _READINGS:
        return _READINGS[name]
    text = " ".join(_SPELLED.get(word, word) for word in name.split("_"))
    return text[:1].upper() + text[1:]


_READINGS = {
    "kv_usage_ratio": "KV cache in use",
    "prefix_hit_ratio": "Prefix-cache hit rate",
    "tokens_per_running_s": "Tokens a second, each running request",
}
_SPELLED = {"kv": "KV", "ttft": "TTFT", "oom": "OOM", "slo": "SLO", "gpu": "GPU", "per": "a", "s": "second"}
