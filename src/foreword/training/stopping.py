"""Ctrl-C and SIGTERM: while a run steps they ask for a stop, while something is made they end it cleanly."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from foreword.errors import Interrupted


@contextmanager
def asked() -> Iterator[Callable[[], bool]]:
    """Ctrl-C and SIGTERM are noted, and told by what this gives; a second one stops at once."""
    event = threading.Event()

    def ask(number: int, frame: Any) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()

    with _handled(ask, signal.SIGINT, signal.SIGTERM):
        yield event.is_set


@contextmanager
def ending(what: str) -> Iterator[None]:
    """SIGTERM **raises** `Interrupted` with `what`, so that what is half made is taken away on the way out."""

    def end(number: int, frame: Any) -> None:
        raise Interrupted(what, do="give the same command again, with --resume if the run has a folder")

    with _handled(end, signal.SIGTERM):
        yield


@contextmanager
def _handled(handler: Callable[[int, Any], None], *numbers: int) -> Iterator[None]:
    """Handlers are the main thread's alone to set; in any other, nothing is done."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)
