"""The publisher's folder: opened by its passphrase alone, private, and whole or refused."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lumen_box.errors import Damaged, Locked, LumenError, NoBox, TooNew, UsageError, WrongKey
from lumen_box.publisher.workspace import Workspace
from lumen_box.trust.layout import ROLES
from lumen_box.trust.publisher_id import read_root

from .people import CHEAP, PASSPHRASE, clock_at, content


def test_a_new_publisher_has_a_root_and_all_keys(tmp_path: Path) -> None:
    with Workspace.create(tmp_path / "new" / "pub", "Demo publisher", PASSPHRASE, cost=CHEAP) as made:
        root = read_root(made.repository().root)
    assert (root.name, root.version, root.publisher_id) == ("Demo publisher", 1, made.id)
    with Workspace.open(tmp_path / "new" / "pub", PASSPHRASE) as again:
        assert again.id == made.id
        assert set(again.state.keys) == set(ROLES)
        assert len({seed for seeds in again.state.keys.values() for seed in seeds}) == len(ROLES)


def test_two_publishers_share_nothing(tmp_path: Path) -> None:
    states = []
    for name in ("a", "b"):
        with Workspace.create(tmp_path / name, "Demo publisher", PASSPHRASE, cost=CHEAP) as made:
            states.append((made.id, *made.state.keys.values()))
    assert not set(states[0]) & set(states[1])


def test_nothing_in_it_is_for_anybody_else(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_an_empty_folder_that_others_could_enter_is_closed(tmp_path: Path) -> None:
    (tmp_path / "pub").mkdir(mode=0o755)
    Workspace.create(tmp_path / "pub", "Demo publisher", PASSPHRASE, cost=CHEAP).close()
    assert stat.S_IMODE((tmp_path / "pub").stat().st_mode) == 0o700


def test_no_secret_lies_in_the_clear(folder: Path, gguf: Path) -> None:
    """The search would find one: it finds the public id, and a content key that was planted."""
    with Workspace.open(folder, PASSPHRASE) as opened:
        state, public = opened.state, opened.id
    secrets = [seed for seeds in state.keys.values() for seed in seeds] + list(state.objects.values())
    assert len(secrets) == len(ROLES) + 1

    def found(secret: bytes) -> list[str]:
        forms = (secret, secret.hex().encode(), secret.hex().upper().encode())
        return [name for name, data in content(folder).items() if any(form in data for form in forms)]

    assert found(bytes.fromhex(public))
    for secret in [*secrets, PASSPHRASE, gguf.read_bytes()[:200]]:
        assert found(secret) == []
    (folder / "planted").write_bytes(b"..." + secrets[-1].hex().encode())
    assert found(secrets[-1]) == ["planted"]


@pytest.mark.parametrize("wrong", [b"", b"Correct horse battery staple", PASSPHRASE + b" ", b"x" * 1024])
def test_another_passphrase_opens_nothing(folder: Path, wrong: bytes) -> None:
    before = content(folder)
    with pytest.raises(WrongKey, match="passphrase"):
        Workspace.open(folder, wrong)
    assert content(folder) == before


def test_one_process_at_a_time(folder: Path, workspace: Workspace) -> None:
    with pytest.raises(Locked):
        Workspace.open(folder, PASSPHRASE)
    workspace.close()
    Workspace.open(folder, PASSPHRASE).close()
    workspace._lock = os.open(os.devnull, os.O_RDONLY)  # the fixture closes it once more


@pytest.mark.parametrize("make", [lambda path: None, Path.mkdir, Path.touch], ids=["nothing", "empty", "a file"])
def test_where_there_is_no_publisher(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "pub")
    with pytest.raises(NoBox, match="publisher init"):
        Workspace.open(tmp_path / "pub", PASSPHRASE)


def test_a_publisher_is_not_made_twice(folder: Path) -> None:
    before = content(folder)
    with pytest.raises(UsageError, match="already"):
        Workspace.create(folder, "Other", PASSPHRASE, cost=CHEAP)
    assert content(folder) == before


@pytest.mark.parametrize("name", ["thesis.txt", ".git", "objects2"])
def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / "pub").mkdir()
    (tmp_path / "pub" / name).write_text("mine")
    with pytest.raises(UsageError, match="not an empty folder"):
        Workspace.create(tmp_path / "pub", "Demo", PASSPHRASE, cost=CHEAP)
    assert content(tmp_path) == {f"pub/{name}": b"mine"}


@pytest.mark.parametrize("name", ["", " ", "a\nb", "a\0b", "x" * 129, "a\u202eb"])
def test_a_name_that_is_no_line_of_text_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="name"):
        Workspace.create(tmp_path / "pub", name, PASSPHRASE, cost=CHEAP)
    assert not (tmp_path / "pub").exists()


def put(name: str, value: object) -> Callable[[dict[str, Any]], object]:
    return lambda outer: outer.__setitem__(name, value)


def cost(name: str, value: object) -> Callable[[dict[str, Any]], object]:
    return lambda outer: outer["kdf"].__setitem__(name, value)


CHANGED: list[tuple[str, Callable[[dict[str, Any]], object], type[LumenError]]] = [
    ("an older generation", lambda outer: outer.__setitem__("generation", outer["generation"] - 1), WrongKey),
    ("another publisher", put("id", "ab" * 32), WrongKey),
    ("one digit", lambda outer: outer.__setitem__("sealed", outer["sealed"][:-1] + "x"), Damaged),
    ("one bit", lambda outer: outer.__setitem__("sealed", f"{int('1' + outer['sealed'], 16) ^ 1:x}"[1:]), WrongKey),
    ("empty", put("sealed", ""), Damaged),
    ("unknown format", put("format", 2), TooNew),
    ("unknown member", put("more", 1), TooNew),
    ("unknown way from passphrase to key", cost("kind", "scrypt"), TooNew),
    ("another salt", cost("salt", "00" * 16), WrongKey),
    ("no salt", cost("salt", ""), Damaged),
    ("terabytes of memory", cost("memory_kib", 2**40), Damaged),
    ("endless passes", cost("iterations", 2**31), Damaged),
    ("no passes", cost("iterations", 0), Damaged),
]


@pytest.mark.parametrize(("change", "error"), [row[1:] for row in CHANGED], ids=[row[0] for row in CHANGED])
def test_a_changed_state_is_refused(
    folder: Path, change: Callable[[dict[str, Any]], object], error: type[LumenError]
) -> None:
    value = json.loads((folder / "publisher.json").read_bytes())
    change(value)
    (folder / "publisher.json").write_bytes(json.dumps(value).encode())
    before = content(folder)
    with pytest.raises(error) as caught:
        Workspace.open(folder, PASSPHRASE)
    assert type(caught.value) is error
    assert content(folder) == before


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"")], ids=["missing", "emptied"])
def test_a_spoilt_file_is_noticed_where_it_is_used(folder: Path, spoil: Callable[[Path], object]) -> None:
    with Workspace.open(folder, PASSPHRASE) as opened:
        names = {"metadata": opened.state.metadata["timestamp.json"], "box": next(iter(opened.state.boxes.values()))}
        spoil(folder / "files" / names["metadata"])
        with pytest.raises(Damaged, match="backup"):
            opened.repository()
        spoil(folder / "files" / names["box"])
        with pytest.raises(Damaged, match="backup"):
            opened.enrolments()


def test_leftovers_are_cleared_away_and_nothing_else(folder: Path) -> None:
    before = content(folder)
    (folder / "files" / ("0" * 64)).write_text("of a state that never came")
    shutil.copytree(next((folder / "objects").iterdir()), folder / "objects" / ("0" * 32))
    (folder / "staging" / ("1" * 32)).mkdir()
    (folder / "staging" / ("1" * 32) / "part-0001").write_text("half a part")
    (folder / ".publisher.json.12345678.tmp").write_text("half a state")
    (folder / "README").write_text("mine")
    Workspace.open(folder, PASSPHRASE).close()
    assert content(folder) == before | {"README": b"mine"}


def test_time_never_goes_back(folder: Path) -> None:
    with Workspace.open(folder, PASSPHRASE, clock=clock_at("2040-01-01T00:00:00Z")) as opened:
        opened.publish(opened.repository())
    with Workspace.open(folder, PASSPHRASE, clock=clock_at("2026-01-01T00:00:00Z")) as opened:
        assert opened.now().year == 2040
