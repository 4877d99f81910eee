"""The worker's end of the control socket: frames out, with a beat in between, and frames in, with their descriptors."""

from __future__ import annotations

import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from .framing import Frames, pack, unpack
from .protocol import BEAT_SECONDS, Beat, Event, FromWorker, Step, ToWorker

RECEIVE: Final = 1 << 16

Inbox = Iterator[tuple[ToWorker, bytes, int | None]]


def receive(control: socket.socket) -> Inbox:
    """Messages with their tail and the descriptor that came with them; ends when the gateway closes its end."""
    frames = Frames()
    descriptors: list[int] = []
    while True:
        data, fds, _, _ = socket.recv_fds(control, RECEIVE, 1)
        if not data:
            return
        descriptors += fds
        for body, tail in frames.feed(data):
            yield unpack(body, ToWorker), tail, descriptors.pop(0) if descriptors else None


class Outbox:
    """Frames on their way out, and the beat while there are none."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._frames: queue.SimpleQueue[FromWorker | None] = queue.SimpleQueue()
        self._pulse: Callable[[], Beat] = Beat
        self._thread = threading.Thread(target=self._write, name="write", daemon=True)
        self._thread.start()

    def put(self, message: FromWorker) -> None:
        self._frames.put(message)

    def tell(self, events: list[Event]) -> None:
        """The news of one step, if there is any."""
        if events:
            self._frames.put(Step(tuple(events)))

    def watch(self, pulse: Callable[[], Beat]) -> None:
        """From now on beats are what ``pulse`` says."""
        self._pulse = pulse

    def close(self) -> None:
        """Sends what is left."""
        self._frames.put(None)
        self._thread.join()

    def _write(self) -> None:
        due = 0.0  # when the next beat is
        try:
            while message := self._next(due):
                if isinstance(message, Beat):
                    due = time.monotonic() + BEAT_SECONDS
                self._control.sendall(pack(message))
        except OSError:
            os._exit(0)  # the gateway is gone

    def _next(self, due: float) -> FromWorker | None:
        try:
            return self._frames.get(timeout=max(due - time.monotonic(), 0.0))
        except queue.Empty:
            return self._pulse()
