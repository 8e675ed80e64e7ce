"""Waiting for the connector so that a signal is heard."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def interruptible(call: Callable[[], T], interrupted: Callable[[], object] = lambda: None) -> T:
    """Make a call that may wait long; in the main thread, where signals arrive, another thread makes it.

    :param call: what is called
    :param interrupted: called when a signal's handler ends the wait by an exception; the call itself goes on
    :return: what it returns
    """
    if threading.current_thread() is not threading.main_thread():
        return call()
    done = threading.Lock()  # an Event's own lock may be held by the thread that a signal interrupts
    done.acquire()
    found: list[T] = []
    raised: list[BaseException] = []

    def work() -> None:
        try:
            found.append(call())
        except BaseException as error:
            raised.append(error)
        done.release()

    threading.Thread(target=work, name="tradewind-snowflake", daemon=True).start()
    try:
        done.acquire()
    except BaseException:
        interrupted()
        raise
    if raised:
        raise raised[0]
    return found[0]
