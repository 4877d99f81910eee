"""Intent before the act, outcome after it; an intent without outcome becomes ``unknown`` at the next start."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

from .. import errors
from ..atomic import Disk, make_dir
from ..clock import Clock, stamp
from .events import Entry, Event, Outcome, Phase, Value, leaf_hash, parse, tree_hash
from .segments import SEGMENT_SIZE, Segments, _damaged

BOX = "box"  # the actor of what the box does by itself

_REFUSALS = (
    errors.UsageError, errors.Locked, errors.Sealed, errors.NotAllowed, errors.NotFound, errors.Untrusted,
    errors.Stale, errors.Damaged, errors.NoSpace, errors.NotForThisBox, errors.TooNew, errors.PartMissing,
    errors.NoModel, errors.Busy,
)  # fmt: skip


class AuditLog:
    """The open log of one box. Thread-safe; every method that writes returns only once the line is durable.

    Raises ``Damaged`` on opening if the log is not whole, ``NoSpace`` if a line cannot be written.
    """

    def __init__(
        self, folder: Path, *, disk: Disk | None = None, clock: Clock | None = None, segment_size: int = SEGMENT_SIZE
    ) -> None:
        self._disk, self._clock = disk or Disk(), clock or Clock()
        make_dir(self._disk, folder)
        self._lock = threading.Lock()
        self._segments = Segments(folder, self._disk, segment_size)
        try:
            self._next, open_intents = self._check()
            if self._segments.torn:
                self.record(Event.LOG_REPAIRED, BOX, bytes=self._segments.torn)
            for seq, event in open_intents.items():
                self._append(event, "outcome", BOX, seq, "unknown", {})
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._segments.close()

    @property
    def size(self) -> int:
        """How many lines the log has: the tree size."""
        return self._next

    def entries(self) -> Iterator[Entry]:
        return map(parse, self._segments.lines())

    def root(self) -> bytes:
        """The hash of the tree over all lines (RFC 6962)."""
        return tree_hash([leaf_hash(line) for line in self._segments.lines()])

    def record(self, event: Event, actor: str, outcome: Outcome = "done", **detail: Value) -> int:
        """What is over at once. Returns the number of the line."""
        return self._append(event, "event", actor, None, outcome, detail)

    @contextlib.contextmanager
    def act(self, event: Event, actor: str, **detail: Value) -> Iterator[dict[str, Value]]:
        """Writes the intent, runs the block, writes the outcome: ``done``, ``refused`` with the error's code, or
        ``failed``. What the block puts into the dictionary it is given becomes the outcome's detail.

        A killed process leaves the intent alone; the next start adds ``unknown``.
        """
        intent = self._append(event, "intent", actor, None, None, detail)
        learned: dict[str, Value] = {}
        try:
            yield learned
        except _REFUSALS as error:
            self._outcome_anyway(event, actor, intent, "refused", {**learned, "code": error.code})
            raise
        except Exception as error:
            self._outcome_anyway(event, actor, intent, "failed", {**learned, "code": type(error).__name__})
            raise
        self._append(event, "outcome", actor, intent, "done", learned)

    def last(self, event: Event) -> Entry | None:
        """The newest line of this event, or None."""
        return next((entry for entry in reversed(list(self.entries())) if entry.event == event), None)

    def _outcome_anyway(
        self, event: Event, actor: str, intent: int, outcome: Outcome, detail: dict[str, Value]
    ) -> None:
        """A disk that fails must not hide the error that is on its way up: without outcome the intent says enough."""
        with contextlib.suppress(OSError, errors.LumenError):
            self._append(event, "outcome", actor, intent, outcome, detail)

    def _append(
        self,
        event: str,
        phase: Phase,
        actor: str,
        of: int | None,
        outcome: Outcome | None,
        detail: dict[str, Value],
    ) -> int:
        with self._lock:
            entry = Entry(self._next, stamp(self._clock.now()), event, phase, actor, of, outcome, detail)
            self._segments.append(entry.line())
            self._next += 1
            return entry.seq

    def _check(self) -> tuple[int, dict[int, str]]:
        """The number of lines, and the intents among them that have no outcome yet."""
        count, intents = 0, {}
        for entry in self.entries():
            if entry.seq != count:
                raise _damaged(f"line {count} is missing or out of order")
            if entry.phase == "intent":
                intents[entry.seq] = entry.event
            elif entry.phase == "outcome" and entry.of is not None:
                intents.pop(entry.of, None)
            count += 1
        return count, intents
