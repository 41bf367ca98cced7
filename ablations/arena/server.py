"""Starts an arena: opens the study, holds it for this process, serves it until interrupted."""

from __future__ import annotations

import logging
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from filelock import FileLock, Timeout

from ablations.arena import gallery, votes
from ablations.arena.app import create_app
from ablations.arena.clock import Clock
from ablations.arena.desk import Desk
from ablations.arena.seals import Seals, kept
from ablations.arena.settings import LOOPBACK, Settings, read
from ablations.arena.store import StorageError, Store, url_of
from bench.errors import UserError
from bench.study import Study

KEEP_ALIVE_SECONDS = 30


@dataclass(frozen=True)
class Arena:
    """An open arena: the application and what it rests on."""

    app: FastAPI
    desk: Desk
    store: Store
    folder: Path
    """STUDY/.arena: secret, admin token, copies of the videos."""


def _say(line: str) -> None:
    print(line, flush=True)


@contextmanager
def opened(study: Path, settings: Settings, say: gallery.Say = _say) -> Iterator[Arena]:
    """Open a study's arena and hold it: no second one can serve the same study meanwhile.

    Raises:
        UserError: about the study, the database or another arena that serves it.
    """
    folder = study / ".arena"
    Study.open(study)  # nothing is written into a folder that is none
    with _held(folder, study):
        seals = Seals(kept(folder / "secret"))
        token = kept(folder / "admin-token")
        # Before the videos, whose copies take long: a typing mistake in the URL shows at once.
        try:
            store = Store(url_of(study, settings.database), exclusive=True)
        except StorageError as error:
            raise UserError(f"arena.database cannot be opened: {error}") from error
        try:
            shown = _gallery(study, settings, say)
            desk = Desk(shown, store, settings, seals, Clock(not_before=store.latest()))
            yield Arena(create_app(desk, token), desk, store, folder)
        finally:
            store.close()


def _gallery(study: Path, settings: Settings, say: gallery.Say) -> gallery.Gallery:
    try:
        return gallery.prepare(
            study, control_videos=settings.control_videos, seed=settings.seed, say=say
        )
    except OSError as error:
        raise UserError(
            f"study={study}: the copies for raters cannot be written ({error.strerror or error})"
        ) from error


@contextmanager
def _held(folder: Path, study: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"study={study} is served by another arena already; stop that one first"
        ) from None
    try:
        yield
    finally:
        lock.release()


def run(cfg: Mapping[str, Any], say: gallery.Say = _say) -> None:
    """The body of `stage=arena`."""
    settings = read(cfg.get("arena"))
    study = Path(str(cfg["study"]))
    if settings.export or settings.import_:
        _exchange(study, settings, say)
        return
    with (
        _bound(settings) as listener,
        opened(study, settings, say) as arena,
        _ended_by_signals(_server(arena, settings)) as server,
    ):
        # Not before there is something to show: who finds the address open is served.
        with _address_told(settings):
            listener.listen(1024)
        host, port = listener.getsockname()[:2]
        address = (
            settings.public_url or f"http://{'localhost' if host in LOOPBACK else host}:{port}/"
        )
        count = len(arena.desk.gallery.clips)
        say(
            f"arena of {len(arena.desk.gallery.variants)} variants, {count} videos, "
            f"{arena.desk.votes['normal']} votes so far"
        )
        say(f"raters: {address}")
        say(f"admin:  {address.rstrip('/')}/admin (its token: {arena.folder / 'admin-token'})")
        if settings.host not in LOOPBACK and settings.access == "open":
            say("whoever reaches this address may vote; arena.access=invitation asks for links")
        say("stop with Ctrl-C; raters can go on where they were after the next start")
        server.run(sockets=[listener])
        say("stopped; all votes are stored")


def _server(arena: Arena, settings: Settings) -> uvicorn.Server:
    return uvicorn.Server(
        uvicorn.Config(
            arena.app,
            log_level=logging.WARNING,
            access_log=False,
            server_header=False,
            proxy_headers=bool(settings.proxies),
            forwarded_allow_ips=settings.proxies,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=5,
            lifespan="off",
        )
    )


@contextmanager
def _ended_by_signals(server: uvicorn.Server) -> Iterator[uvicorn.Server]:
    """Ctrl-C and SIGTERM end `server` in order, whether it runs already or is about to.

    uvicorn listens to signals while it runs only. A KeyboardInterrupt just before would be a
    traceback, or nothing at all where Python ignores exceptions (in a weak reference's callback).
    Outside the main thread, where Python takes no handlers, nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield server
        return
    before = {
        number: signal.signal(number, server.handle_exit)
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield server
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _bound(settings: Settings) -> Iterator[socket.socket]:
    """A socket that holds the address."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with _address_told(settings):
            listener.bind((settings.host, settings.port))
        yield listener
    finally:
        listener.close()


@contextmanager
def _address_told(settings: Settings) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"arena.host={settings.host}, arena.port={settings.port} cannot be listened on "
            f"({error.strerror}); arena.port=0 takes a free one"
        ) from None


def _exchange(study: Path, settings: Settings, say: gallery.Say) -> None:
    """Import, then export. Only an import needs the study for itself."""
    fastchat = settings.format == "fastchat"
    known = frozenset(cell.variant for cell in Study.open(study).cells()) or None
    try:
        if settings.import_:
            source = Path(settings.import_)
            with _held(study / ".arena", study):
                added, there = votes.import_file(
                    study, settings.database, source, fastchat=fastchat, variants=known
                )
            say(f"imported {added} votes from {source}; {there} were there already")
        if settings.export:
            target = Path(settings.export)
            count = votes.export_file(
                study, settings.database, target, fastchat=fastchat, kinds=settings.kinds
            )
            say(f"exported {count} votes to {target}")
    except StorageError as error:
        raise UserError(f"the votes' database did not answer: {error}") from error
