"""Puts a collector together from settings: its sources, its keeper, its loop."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import httpx

from collectors.daemon import Clock, Loop, Source
from collectors.judging import Book
from collectors.keeping import Keeper
from collectors.model import Batch
from collectors.restoring import restore_starts, restore_written
from collectors.settings import Settings
from collectors.sources.engine import MAX_GAP, EngineState, ScrapeLimits, Target, replica_name, scrape
from collectors.sources.mlflow import polling as mlflow
from collectors.sources.mlflow.asking import Server as MlflowServer
from collectors.sources.mlflow.joining import SOURCE as MLFLOW
from collectors.sources.otlp.facts import SOURCE as OTLP
from collectors.sources.otlp.listening import listen
from collectors.sources.otlp.receiving import Destination, receiving
from collectors.sources.otlp.written import MAX_REMEMBERED, Written
from collectors.sources.prometheus.asking import Server
from collectors.sources.prometheus.polling import CATCH_UP, Choice, PrometheusState, poll
from collectors.sources.prometheus.stepping import SOURCE as PROMETHEUS
from collectors.sources.recording import Head, play_looping, start
from collectors.sources.tape import Tape, load
from collectors.store.delta import DeltaWriter
from collectors.store.duckdb import DuckReader
from collectors.store.latest import newest_fact, newest_scrapes
from collectors.store.reader import Reader

# Judging looks back at hours, not at a month: a small bound keeps the collector small beside the engine.
KEEPER_MEMORY = "128MB"
KEEPER_THREADS = 1  # its windows are short: a second thread wins nothing
# A connection a replica, however many: with httpx's usual hundred, silent replicas keep healthy ones waiting.
UNBOUND = httpx.Limits(max_connections=None, max_keepalive_connections=None)
# Senders try a batch again for a minute or so: what they send twice over a restart is known by then.
RESENT_WITHIN = timedelta(minutes=10)
GAP_INTERVALS = 3  # so many missed scrapes make a gap, however rarely one scrapes


@asynccontextmanager
async def build_loop(
    settings: Settings, book: Book, clock: Clock, stop: asyncio.Event
) -> AsyncIterator[Loop]:
    """The loop over the settings' sources.

    Raises RecordingError, StoreError, and ConfigError where a port is taken, before anything starts.
    """
    reader = DuckReader(settings.store, KEEPER_MEMORY, KEEPER_THREADS)
    tape = load(settings.recording) if settings.recording and not settings.engines else None
    head = first_head(tape, newest_fact(reader), clock()) if tape else None
    begin = head.played + head.shift if head else None
    keeper = Keeper(settings, book, DeltaWriter(settings.store), reader, collector_name(), begin)
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(httpx.AsyncClient(limits=UNBOUND))
        sources = [_recording(tape, head)] if tape and head else [_engines(settings, client)]
        if settings.otlp_port:
            sources.append(await stack.enter_async_context(_traces(settings, reader, clock)))
        if settings.polls:
            sources.append(_mlflow(settings, reader, client, clock()))
        if settings.prometheus:
            sources.append(_prometheus(settings, reader, clock()))
        yield Loop(settings, book, sources, keeper, clock, stop)


def collector_name() -> str:
    """This collector among others on the same store."""
    return f"{socket.gethostname()}:{os.getpid()}"


def first_head(tape: Tape, newest: datetime | None, now: datetime) -> Head:
    """Where playing as if live begins: a store without recent facts gets the last round at once.

    So a first look at the console has a past to show. Otherwise playing begins now, at the tape's start.
    """
    if newest is None or now - newest > tape.end - tape.start:
        return start(tape, now - tape.end, f"~{int(now.timestamp())}")
    return start(tape, now - tape.start, f"~{int(now.timestamp())}")


@dataclass(slots=True)
class _Player:
    tape: Tape
    head: Head

    async def poll(self, now: datetime) -> Batch:
        self.head, batch = play_looping(self.tape, self.head, now)
        return batch


@dataclass(slots=True)
class _Scraper:
    state: EngineState
    targets: tuple[Target, ...]
    client: httpx.AsyncClient
    limits: ScrapeLimits

    async def poll(self, now: datetime) -> Batch:
        self.state, batch = await scrape(self.state, self.targets, self.client, self.limits, now)
        return batch


def _recording(tape: Tape, head: Head) -> Source:
    return Source(tape.source, _Player(tape, head).poll)


def _engines(settings: Settings, client: httpx.AsyncClient) -> Source:
    targets = tuple(Target(str(url)) for url in settings.engines)
    limits = ScrapeLimits(
        timeout=min(settings.scrape_timeout, settings.scrape_interval - timedelta(milliseconds=100)),
        max_gap=max(MAX_GAP, GAP_INTERVALS * settings.scrape_interval),
    )
    return Source("engine", _Scraper(EngineState(), targets, client, limits).poll)


@asynccontextmanager
async def _traces(settings: Settings, reader: Reader, clock: Clock) -> AsyncIterator[Source]:
    listener = listen(settings.otlp_host, settings.otlp_port or 0)
    token = settings.otlp_token.get_secret_value() if settings.otlp_token else None
    to = Destination(str(settings.mlflow), settings.mlflow_experiment) if settings.forwards else None
    written = Written()
    for row in restore_written(reader, OTLP, clock() - RESENT_WITHIN, MAX_REMEMBERED):
        start = row.at - timedelta(milliseconds=row.e2e_ms or 0.0)
        written.add(row.request_id, row.trace_id, start, row.at)
    for told in restore_starts(reader, OTLP, clock() - RESENT_WITHIN):
        written.add(told.key, None, told.begin, told.end)
    async with receiving(listener, clock, written, token=token, to=to) as receiver:
        yield Source(OTLP, receiver.poll, receiver.last)


@dataclass(slots=True)
class _Watcher:
    state: PrometheusState
    server: Server
    choice: Choice

    async def poll(self, now: datetime) -> Batch:
        self.state, batch = await asyncio.to_thread(poll, self.state, self.server, self.choice, now)
        return batch


def _prometheus(settings: Settings, reader: Reader, now: datetime) -> Source:
    stored = newest_scrapes(reader, PROMETHEUS, now - CATCH_UP)
    without = frozenset(replica_name(Target(str(url))) for url in settings.engines)
    choice = Choice(settings.prometheus_label, without)
    return Source(
        PROMETHEUS, _Watcher(PrometheusState(stored), Server(str(settings.prometheus)), choice).poll
    )


@dataclass(slots=True)
class _TraceReader:
    state: mlflow.MlflowState
    server: MlflowServer
    client: httpx.AsyncClient
    asked: datetime | None = None

    async def poll(self, now: datetime) -> Batch:
        if self.asked is not None and timedelta() <= now - self.asked < mlflow.EVERY:
            return Batch()
        self.asked = now
        self.state, batch = await mlflow.poll(self.state, self.server, self.client, now)
        return batch


def _mlflow(settings: Settings, reader: Reader, client: httpx.AsyncClient, now: datetime) -> Source:
    newest = restore_written(reader, MLFLOW, now - mlflow.CATCH_UP, 1)
    since = newest[0].at - 2 * mlflow.OVERLAP if newest else now
    state = mlflow.resumed(restore_written(reader, MLFLOW, since, MAX_REMEMBERED), now)
    server = MlflowServer(str(settings.mlflow), settings.mlflow_experiment)
    return Source(MLFLOW, _TraceReader(state, server, client).poll)
