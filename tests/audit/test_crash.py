"""The log itself, killed, unplugged, full or failing at every operation: what was recorded stays recorded."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lumen_box.atomic import Disk
from lumen_box.audit import AuditLog, Event
from lumen_box.audit.events import Entry
from lumen_box.clock import Clock
from lumen_box.errors import Damaged, NoSpace
from tests.support.crash import GROWING, Crash, CrashingDisk, RecordingDisk, fail_everywhere, stop_everywhere
from tests.support.power import cut_everywhere, kill_then_cut, without_waiting

SEGMENT = 16 * 1024
CLOCK = Clock(now=lambda: datetime(2026, 11, 23, 9, 0, tzinfo=UTC))
LINES = 7  # of which a segment takes two
LONG = "x" * 7000


@pytest.fixture(autouse=True)
def _economical(monkeypatch: pytest.MonkeyPatch) -> None:
    without_waiting(monkeypatch)


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """A place whose log does not exist yet."""
    folder = tmp_path / "template"
    folder.mkdir()
    return folder


def opened(folder: Path, disk: Disk | None = None) -> AbstractContextManager[AuditLog]:
    return closing(AuditLog(folder / "audit", disk=disk, clock=CLOCK, segment_size=SEGMENT))


def write(folder: Path, disk: Disk, recorded: Callable[[], None] = lambda: None) -> None:
    """An act around a few long lines, over four segments. ``recorded`` is called whenever a line counts."""
    with opened(folder, disk) as log:
        with log.act(Event.MODEL_INSTALLED, "local:0"):
            recorded()
            for number in range(LINES):
                log.record(Event.GENERATION, "u1", number=number, text=LONG)
                recorded()
        recorded()


def expected(size: int) -> list[tuple[str, str, object]]:
    events: list[tuple[str, str, object]] = [("model.installed", "intent", None)]
    events += [("generation", "event", number) for number in range(LINES)]
    return [*events, ("model.installed", "outcome", None)][:size]


def shown(entry: Entry) -> tuple[str, str, object]:
    return entry.event, entry.phase, entry.detail.get("number")


class Seen:
    """Opens what is left, and counts what was found."""

    def __init__(self) -> None:
        self.repaired = self.unknown = self.found = 0

    def check(self, folder: Path, least: int) -> None:
        """At least the lines that counted are there, in order, and what follows them is the log's own account."""
        with opened(folder) as log:
            entries, size, root = list(log.entries()), log.size, log.root()
        own = [entry for entry in entries if entry.event == Event.LOG_REPAIRED or entry.outcome == "unknown"]
        kept = [shown(entry) for entry in entries if entry not in own]
        assert kept == expected(len(kept))
        assert len(kept) >= least
        assert entries[len(kept) :] == own
        assert [entry.seq for entry in entries] == list(range(size))
        assert (own != [] and own[-1].outcome == "unknown") == (0 < len(kept) <= 1 + LINES), "an act without its end"
        with opened(folder) as again:
            assert (again.size, again.root()) == (size, root), "opening it twice says the same"
            again.record(Event.BOX_CREATED, "box")
        with opened(folder) as last:
            assert last.size == size + 1
        assert not list(folder.rglob(".*"))
        self.found = max(self.found, len(kept))
        self.repaired += any(entry.event == Event.LOG_REPAIRED for entry in own)
        self.unknown += any(entry.outcome == "unknown" for entry in own)


@pytest.mark.parametrize("torn", [False, True])
def test_killed_at_every_operation(template: Path, tmp_path: Path, torn: bool) -> None:
    seen, counted = Seen(), [0]

    def act(folder: Path, disk: Disk) -> None:
        counted[0] = 0
        write(folder, disk, lambda: counted.__setitem__(0, counted[0] + 1))

    tried = stop_everywhere(template, tmp_path, act, lambda folder: seen.check(folder, counted[0]), torn=torn)
    print(f"killed at each of {tried} operations: {seen.unknown} acts unknown, {seen.repaired} lines torn")
    assert tried >= 50
    assert seen.unknown >= 30
    assert seen.repaired == (LINES + 2 if torn else 0)
    assert seen.found == LINES + 2


def test_the_power_cut_after_every_operation(template: Path, tmp_path: Path) -> None:
    seen, counts = Seen(), [0]

    def act(folder: Path, disk: Disk) -> None:
        assert isinstance(disk, RecordingDisk)
        write(folder, disk, lambda: counts.append(disk.operations))

    def check(folder: Path, done: int) -> None:
        seen.check(folder, sum(0 < count <= done for count in counts))

    operations, states = cut_everywhere(template, tmp_path, act, check)
    print(f"power cut after each of {operations} operations, {states} states: {seen.unknown} acts unknown")
    assert operations >= 50
    assert states >= 70
    assert seen.unknown >= 30


def test_a_log_found_after_a_kill_is_durable_before_it_goes_on(template: Path, tmp_path: Path) -> None:
    def act(folder: Path, disk: Disk) -> None:
        with opened(folder, disk) as log:
            while log.size < LINES:
                log.record(Event.GENERATION, "u1", number=log.size, text=LONG)

    def check(folder: Path) -> None:
        with opened(folder) as log:
            assert [entry.detail["number"] for entry in log.entries()] == list(range(LINES))

    tried = kill_then_cut(template, tmp_path, act, check)
    print(f"killed before each of {tried} fsyncs, went on, and unplugged")
    assert tried >= 18


@pytest.mark.parametrize("torn", [False, True])
@pytest.mark.parametrize("lines", [1, 2])
def test_killed_while_it_is_repaired(template: Path, tmp_path: Path, lines: int, torn: bool) -> None:
    """A torn line is reported, and an open act becomes unknown, however often the repair itself is interrupted."""
    with opened(template) as log:
        log.act(Event.MODEL_INSTALLED, "local:0").__enter__()
        for _ in range(lines):
            log.record(Event.GENERATION, "u1", text=LONG)
    newest = max(path for path in (template / "audit").iterdir() if path.read_bytes().strip(b"\0"))
    data = newest.read_bytes()
    newest.write_bytes(data[:3000].ljust(SEGMENT, b"\0"))  # the last line's end never reached the disk

    def check(folder: Path) -> None:
        with opened(folder) as log:
            said = [(entry.event, entry.outcome) for entry in log.entries()]
        assert ("log.repaired", "done") in said
        assert said.count(("model.installed", "unknown")) == 1

    def act(folder: Path, disk: Disk) -> None:
        with opened(folder, disk):
            pass

    tried = stop_everywhere(template, tmp_path, act, check, torn=torn)
    print(f"repair stopped at each of {tried} operations")
    assert tried >= 8


FAILURES = [(errno.ENOSPC, GROWING), (errno.EIO, GROWING | {"fsync_dir"}), (errno.EIO, frozenset({"unlink", "open"}))]


@pytest.mark.parametrize(("number", "operations"), FAILURES)
def test_a_disk_that_fails_at_every_operation(
    template: Path, tmp_path: Path, number: int, operations: frozenset[str]
) -> None:
    """Nothing is claimed that is not there, the error is the disk's own, and the log goes on with a mended disk."""
    counted = [0]

    def act(folder: Path, disk: Disk) -> None:
        counted[0] = 0
        write(folder, disk, lambda: counted.__setitem__(0, counted[0] + 1))

    def check(folder: Path, error: Exception) -> None:
        full = number == errno.ENOSPC
        assert isinstance(error, NoSpace) if full else isinstance(error, OSError) and error.errno == number
        with opened(folder) as log:
            said = [shown(entry) for entry in log.entries() if entry.event == Event.GENERATION]
        assert said == expected(len(said) + 1)[1:]
        assert len(said) >= counted[0] - 1
        assert not list(folder.rglob(".*"))

    tried = fail_everywhere(template, tmp_path, act, check, errno=number, operations=operations)
    print(f"{errno.errorcode[number]} at each of {tried} operations")
    assert tried >= (30 if len(operations) > 2 else 4)


class Platter(Disk):
    """A disk under a page cache: ``kept`` is what it really holds. A failed fsync loses what was to be written, while
    the kernel goes on showing it; a later fsync then has nothing left to write, and succeeds."""

    def __init__(self) -> None:
        self.kept: dict[str, bytearray] = {}
        self.waiting: list[tuple[str, int, bytes]] = []
        self.failing = False

    def write(self, fd: int, data: bytes | memoryview, offset: int) -> None:
        super().write(fd, data, offset)
        self.waiting.append((os.readlink(f"/proc/self/fd/{fd}"), offset, bytes(data)))

    def fsync(self, fd: int) -> None:
        waiting, self.waiting = self.waiting, []
        if self.failing:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        for path, offset, data in waiting:
            self.kept.setdefault(path, bytearray(SEGMENT))[offset : offset + len(data)] = data


def test_what_a_failed_fsync_lost_is_written_again(template: Path) -> None:
    disk = Platter()
    with opened(template, disk) as log:
        log.record(Event.BOX_CREATED, "box")
        disk.failing = True
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            log.record(Event.GENERATION, "u1", number=1)
        disk.failing = False
        with pytest.raises(Damaged, match="could not be written before"):
            log.record(Event.GENERATION, "u1", number=2)
    with opened(template, disk) as again:
        again.record(Event.GENERATION, "u1", number=3)
        assert [entry.detail.get("number") for entry in again.entries()] == [None, 1, 3]
    path = template / "audit" / "00000001.log"
    assert disk.kept[str(path)] == path.read_bytes()


def test_the_error_of_an_act_is_not_hidden_by_a_log_that_failed_before_it_ended(template: Path) -> None:
    disk = Platter()
    with opened(template, disk) as log, pytest.raises(ZeroDivisionError), log.act(Event.MODEL_INSTALLED, "local:0"):
        disk.failing = True
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            log.record(Event.KEYRING_CHANGED, "local:0")
        _ = 1 // 0


def test_no_descriptor_is_left_open_by_a_log_that_cannot_be_opened(template: Path) -> None:
    write(template, Disk())
    before = len(os.listdir("/proc/self/fd"))
    for at in range(1, 5):
        with pytest.raises(Crash):
            opened(template, CrashingDisk(at))
    (template / "audit" / "00000001.log").write_bytes(b"{}\n".ljust(SEGMENT, b"\0"))
    with pytest.raises(Damaged):
        opened(template)
    assert len(os.listdir("/proc/self/fd")) <= before
