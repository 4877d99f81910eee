"""The log of the box: intent before the act, outcome after it, and honest after a crash."""

from __future__ import annotations

import errno
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lumen_box import errors
from lumen_box.atomic import Disk
from lumen_box.audit import AuditLog, Event
from lumen_box.audit.events import MAX_LINE, leaf_hash, parse, tree_hash
from lumen_box.clock import Clock

SEGMENT = 16 * 1024
CLOCK = Clock(now=lambda: datetime(2026, 11, 23, 9, 0, tzinfo=UTC))


def open_log(folder: Path, disk: Disk | None = None) -> AuditLog:
    return AuditLog(folder, disk=disk, clock=CLOCK, segment_size=SEGMENT)


def outcomes(log: AuditLog) -> list[tuple[str, str, str | None]]:
    return [(entry.event, entry.phase, entry.outcome) for entry in log.entries()]


def test_an_act_leaves_an_intent_and_an_outcome(tmp_path: Path) -> None:
    log = open_log(tmp_path / "audit")
    with log.act(Event.MODEL_INSTALLED, "local:0", model="clinical@1.0.0") as learned:
        learned["bytes"] = 7
    first, second = log.entries()
    assert (first.phase, first.detail) == ("intent", {"model": "clinical@1.0.0"})
    assert (second.phase, second.of, second.outcome, second.detail) == ("outcome", 0, "done", {"bytes": 7})
    assert first.time == "2026-11-23T09:00:00Z"


@pytest.mark.parametrize(
    ("raised", "outcome", "code"),
    [(errors.Untrusted("no"), "refused", "untrusted"), (RuntimeError("?"), "failed", "RuntimeError")],
)
def test_a_refusal_and_a_failure_are_told_apart(tmp_path: Path, raised: Exception, outcome: str, code: str) -> None:
    log = open_log(tmp_path / "audit")
    with pytest.raises(type(raised)), log.act(Event.MODEL_ACTIVATED, "box"):
        raise raised
    last = list(log.entries())[-1]
    assert (last.outcome, last.detail["code"]) == (outcome, code)


def test_an_intent_without_outcome_becomes_unknown_at_the_next_start(tmp_path: Path) -> None:
    log = open_log(tmp_path / "audit")
    log.act(Event.MODEL_INSTALLED, "box").__enter__()
    log.close()
    again = open_log(tmp_path / "audit")
    assert outcomes(again)[-1] == ("model.installed", "outcome", "unknown")
    again.close()
    assert open_log(tmp_path / "audit").size == 2  # and only once


def test_lines_go_on_across_segments_and_starts(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    log = open_log(folder)
    for number in range(300):
        log.record(Event.GENERATION, "u1", number=number)
    root, size = log.root(), log.size
    log.close()
    again = open_log(folder)
    assert (again.size, again.root()) == (size, root) == (300, root)
    segments = sorted(folder.iterdir())
    assert len(segments) > 3
    assert {segment.stat().st_size for segment in segments} == {SEGMENT}
    assert {segment.stat().st_mode & 0o777 for segment in segments} == {0o600}


@pytest.mark.parametrize("kept", range(0, 200, 13))
def test_a_torn_last_line_is_cut_off_and_reported(tmp_path: Path, kept: int) -> None:
    folder = tmp_path / "audit"
    log = open_log(folder)
    log.record(Event.BOX_CREATED, "box")
    whole = log.root()
    end = len(next(iter(log.entries())).line()) + 1
    log.record(Event.TOKEN_CREATED, "local:0", name="x" * 150)
    log.close()
    path = folder / "00000001.log"
    data = bytearray(path.read_bytes())
    torn = data[end : end + kept].rstrip(b"\n")
    data[end:] = torn + bytes(SEGMENT - end - len(torn))
    path.write_bytes(data)

    again = open_log(folder)
    entries = list(again.entries())
    assert tree_hash([leaf_hash(entries[0].line())]) == whole
    assert [entry.event for entry in entries[1:]] == (["log.repaired"] if torn else [])
    assert not torn or entries[1].detail["bytes"] == len(torn)


def test_pages_written_out_of_order_are_a_torn_line_too(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    log = open_log(folder)
    log.record(Event.BOX_CREATED, "box")
    log.close()
    path = folder / "00000001.log"
    data = bytearray(path.read_bytes())
    end = data.index(b"\n") + 1
    data[end + 40 : end + 60] = b"the end of a line.}\n"  # its beginning never reached the disk
    path.write_bytes(data)
    assert outcomes(open_log(folder))[-1] == ("log.repaired", "event", "done")


def tamper_bit(data: bytearray) -> bytearray:
    data[data.index(b'"seq":1') + 6] ^= 1
    return data


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(tamper_bit, id="a number changed"),
        pytest.param(lambda data: data[data.index(b"\n") + 1 :] + bytes(data.index(b"\n") + 1), id="first line gone"),
        pytest.param(lambda data: data[:-1], id="shorter"),
        pytest.param(lambda data: data[: SEGMENT - MAX_LINE - 1] + b"x" * (MAX_LINE + 1), id="more than one line torn"),
    ],
)
def test_anything_else_is_damage(tmp_path: Path, change) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path / "audit"
    log = open_log(folder)
    for _ in range(3):
        log.record(Event.BOX_CREATED, "box")
    log.close()
    path = folder / "00000001.log"
    path.write_bytes(bytes(change(bytearray(path.read_bytes()))))
    before = path.read_bytes()
    with pytest.raises(errors.Damaged, match="audit"):
        open_log(folder)
    assert path.read_bytes() == before


def test_a_missing_segment_is_damage(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    log = open_log(folder)
    for number in range(300):
        log.record(Event.GENERATION, "u1", number=number)
    log.close()
    (folder / "00000002.log").unlink()
    with pytest.raises(errors.Damaged, match="segment is missing"):
        open_log(folder)


class FullDisk(Disk):
    full = False

    def allocate(self, fd: int, length: int) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "full")
        super().allocate(fd, length)


def test_a_full_disk_can_still_be_recorded(tmp_path: Path) -> None:
    """The segment in use and one spare are reserved; only then does the log refuse, and what it holds stays whole."""
    disk = FullDisk()
    log = open_log(tmp_path / "audit", disk)
    disk.full = True
    written = 0
    with pytest.raises(errors.NoSpace):
        for number in range(1000):
            log.record(Event.GENERATION, "u1", number=number)
            written += 1
    assert written > SEGMENT // 200
    log.close()
    assert open_log(tmp_path / "audit").size == written


class BrokenSync(Disk):
    broken = False

    def fsync(self, fd: int) -> None:
        if self.broken:
            raise OSError(errno.EIO, "input/output error")
        super().fsync(fd)


def test_after_a_failed_fsync_nothing_more_is_claimed(tmp_path: Path) -> None:
    disk = BrokenSync()
    log = open_log(tmp_path / "audit", disk)
    log.record(Event.BOX_CREATED, "box")
    disk.broken = True
    with pytest.raises(OSError, match="input/output"):
        log.record(Event.GENERATION, "u1")
    disk.broken = False
    with pytest.raises(errors.Damaged, match="could not be written before"):
        log.record(Event.GENERATION, "u1")
    log.close()
    assert open_log(tmp_path / "audit").size >= 1


def test_the_tree_is_that_of_rfc_6962() -> None:
    """The roots that Certificate Transparency's own test vectors give for their first leaves."""
    leaves = [b"", b"\x00", b"\x10", b"\x20\x21", b"\x30\x31", b"\x40\x41\x42\x43", b"PQRSTUVW"]
    roots = {
        0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        4: "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    }
    for size, root in roots.items():
        assert tree_hash([leaf_hash(leaf) for leaf in leaves[:size]]).hex() == root


def test_a_line_reads_back_as_it_was_written(tmp_path: Path) -> None:
    log = open_log(tmp_path / "audit")
    log.record(Event.TOKEN_REVOKED, "local:0", "refused", name="naïve \N{SNOWMAN}", n=-3, b=True)
    (entry,) = log.entries()
    assert parse(entry.line()) == entry
    assert entry.line().isascii()


def test_the_vectors() -> None:
    """Lines, leaves and roots that another implementation of docs/format.md wrote."""
    from tests.support.vectors import load

    vectors = load("audit")
    lines = [line.encode() for line in vectors["lines"]]
    assert [parse(line).line() for line in lines] == lines
    assert [leaf_hash(line).hex() for line in lines] == vectors["leaves"]
    leaves = [leaf_hash(line) for line in lines]
    assert [tree_hash(leaves[:size]).hex() for size in range(len(lines) + 1)] == vectors["roots"]


@pytest.mark.parametrize("size", range(70))
def test_the_tree_of_any_size(size: int) -> None:
    from tests.vectors.make_audit import root

    lines = [str(number).encode() for number in range(size)]
    assert tree_hash([leaf_hash(line) for line in lines]) == root(lines)
