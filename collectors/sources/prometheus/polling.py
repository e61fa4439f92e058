"""The same engine facts from a Prometheus server that scrapes the replicas already.

Raw samples are asked for, never rates: put together again by the instant of their scrape they are read as
a text of our own would be, so increments, restarts and gaps come out the same. What went on while nobody
asked is caught up on. Each poll starts from the state that the last one returned.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from collectors.fetching import Unanswered, host
from collectors.model import Batch, Problem
from collectors.signals.metrics import HELP_NEEDED, SAMPLE_NAMES
from collectors.signals.samples import HEALTH, Member, Series, healths, names_unclear, scans
from collectors.sources.prometheus.asking import Server, engines, failures, helps, raw
from collectors.sources.prometheus.stepping import SOURCE, Followed, step

# A scrape is stored when it has ended, under the instant at which it began: asked for again for so long.
SETTLE = timedelta(seconds=30)
FIRST_LOOK = timedelta(minutes=1)  # on a store without facts of ours: something to show at once
LEAD = timedelta(minutes=5)  # before the newest stored scrape: what it is compared with may lie so far back
CATCH_UP = timedelta(hours=1)  # as far as judging goes back; `mangaops backfill` fetches what is older
PIECE = timedelta(minutes=10)  # asked for at once: 120 scrapes at 5 s, 1.5 MB a replica
SHORTEST = timedelta(seconds=1)  # a single scrape that is too large is not halved any more
LOOK_FOR_ENGINES = timedelta(minutes=1)
KNOWN_FOR = timedelta(days=1)  # an engine that is down is missed for so long
_TICK = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Choice:
    """What is read: `label` names a replica, and those in `without` are left to who scrapes them directly."""

    label: str = "instance"
    without: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class PrometheusState:
    """What the next poll starts from.

    `stored` is each replica's newest fact in the store: nothing up to there is told again. `members` are the
    targets known as engines, with the instant at which they last were. Up to `asked` everything was read.
    """

    stored: Mapping[str, datetime] = field(default_factory=dict)
    members: Mapping[Member, datetime] = field(default_factory=dict)
    looked: datetime | None = None
    asked: datetime | None = None
    followed: Mapping[Member, Followed] = field(default_factory=dict)
    helps: Mapping[str, str] | None = None


def poll(
    state: PrometheusState, server: Server, choice: Choice, now: datetime
) -> tuple[PrometheusState, Batch]:
    """All scrapes that it made since the last poll. Blocks. Nothing that the server does makes it raise."""
    batch = Batch()
    try:
        state = discover(state, server, now)
        for since, until in pieces(_begin(state, now), now):
            state, more = read(state, server, choice, since, until)
            batch += more
        return state, batch + _why(server, choice, batch)
    except Unanswered as error:
        return state, batch + Batch(
            problems=(Problem(now, SOURCE, host(server.url), error.what, error.remedy),)
        )


def discover(state: PrometheusState, server: Server, now: datetime) -> PrometheusState:
    """The state with the engines that Prometheus scrapes. Raises Unanswered; also where it scrapes none."""
    if state.looked is not None and timedelta() <= now - state.looked < LOOK_FOR_ENGINES:
        return state
    back = KNOWN_FOR if state.looked is None else 2 * LOOK_FOR_ENGINES
    kept = {member: at for member, at in state.members.items() if now - at < KNOWN_FOR}
    return replace(state, members=members(server, now - back, now, kept), looked=now)


def members(
    server: Server, since: datetime, until: datetime, known: Mapping[Member, datetime] | None = None
) -> dict[Member, datetime]:
    """The engines that Prometheus scraped in a range, and those known. Raises Unanswered; also for none."""
    found = dict(known or {}) | dict.fromkeys(engines(server, since, until), until)
    if not found:
        raise Unanswered(
            "Prometheus knows no vLLM engine", "Add every replica's /metrics to its scrape_configs"
        )
    return found


def pieces(since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
    """The range in parts that can be asked for at once."""
    while since < until:
        yield since, min(since + PIECE, until)
        since += PIECE


def read(
    state: PrometheusState, server: Server, choice: Choice, since: datetime, until: datetime
) -> tuple[PrometheusState, Batch]:
    """The scrapes in (since, until] that were not read before; too many at once are asked for in halves.

    Raises Unanswered, and then nothing of the range is read.
    """
    try:
        return _read(state, server, choice, since, until)
    except Unanswered as error:
        if not error.too_large or until - since <= SHORTEST:
            raise
    middle = since + (until - since) / 2
    state, first = read(state, server, choice, since, middle)
    state, second = read(state, server, choice, middle, until)
    return state, first + second


def _begin(state: PrometheusState, now: datetime) -> datetime:
    if state.asked is not None:
        return max(min(state.asked, now) - SETTLE, now - CATCH_UP)
    stored = [at for at in state.stored.values() if at > now - CATCH_UP]
    return max(min(stored) - LEAD, now - CATCH_UP) if stored else now - FIRST_LOOK


def _read(
    state: PrometheusState, server: Server, choice: Choice, since: datetime, until: datetime
) -> tuple[PrometheusState, Batch]:
    instances = {member.instance for member in state.members}
    health = [s for s in raw(server, HEALTH, instances, since, until) if s.member in state.members]
    after = {member: f.recent[-1] for member, f in state.followed.items() if f.recent}
    names, twins = _names(health, choice, until)
    made = {m: found for m, found in healths(health, after).items() if found and m in names}
    if not made:
        return replace(state, asked=until), Batch(problems=twins)
    first = min(found[0].at for found in made.values())
    samples = raw(server, SAMPLE_NAMES, instances, first - _TICK, until)
    state = _with_helps(state, server, samples)
    texts = scans(samples, {m: [h.at for h in found if h.up] for m, found in made.items()}, state.helps or {})
    followed, told = dict(state.followed), [Batch(problems=twins)]
    for member, found in made.items():
        for each in found:
            before, text = followed.get(member, Followed()), texts.get((member, each.at))
            followed[member], facts = step(before, names[member], each, text)
            told += [facts] if _is_new(state, names[member], each.at) else []
    return replace(state, asked=until, followed=followed), _together(told)


def _together(told: Sequence[Batch]) -> Batch:
    """All of them at once: added one by one, an hour's scrapes would be copied a thousand times."""
    return Batch(
        tuple(fact for each in told for fact in each.metrics),
        events=tuple(event for each in told for event in each.events),
        problems=tuple(problem for each in told for problem in each.problems),
    )


def _is_new(state: PrometheusState, replica: str, at: datetime) -> bool:
    return replica not in state.stored or at > state.stored[replica]


def _names(
    health: Sequence[Series], choice: Choice, at: datetime
) -> tuple[dict[Member, str], tuple[Problem, ...]]:
    """What each target's facts call its replica. Of two by one name the first is read, lest they be mixed."""
    names: dict[Member, str] = {}
    taken: dict[str, Member] = {}
    problems: dict[Member, Problem] = {}
    for each in sorted(health, key=lambda s: s.member):
        name = each.labels.get(choice.label) or each.member.instance
        owner = taken.setdefault(name, each.member)
        if owner != each.member:
            what = f"two targets are called {name}; that of job {each.member.job} is left out"
            remedy = f"Scrape it in one job, or give prometheus_label another label than {choice.label}"
            problems[each.member] = Problem(at, SOURCE, name, what, remedy)
        elif name not in choice.without:
            names[each.member] = name
    return names, tuple(problems.values())


def _with_helps(state: PrometheusState, server: Server, samples: Sequence[Series]) -> PrometheusState:
    """HELP lines are asked for once, and only where a unit hangs on them."""
    if state.helps is not None or not names_unclear(samples):
        return state
    return replace(state, helps=helps(server, HELP_NEEDED))


def _why(server: Server, choice: Choice, batch: Batch) -> Batch:
    """A problem for each replica whose newest scrape failed, in Prometheus's own words."""
    newest = {fact.replica: fact for fact in batch.metrics if fact.metric == "up"}
    told = {problem.subject for problem in batch.problems}
    failed = {name: fact.at for name, fact in newest.items() if not fact.value and name not in told}
    if not failed:
        return Batch()
    try:
        words = failures(server, choice.label)
    except Unanswered:
        words = {}  # that it failed is known all the same
    remedy = "See whether the engine runs there, and the page /targets of Prometheus"
    return Batch(
        problems=tuple(
            Problem(
                at,
                SOURCE,
                name,
                f"Prometheus could not scrape it: {words.get(name, 'no reason given')}",
                remedy,
            )
            for name, at in failed.items()
        )
    )
