"""The peer is the same llama.cpp: its flags are the box's own but for what a server needs, and it is built once."""

from __future__ import annotations

from pathlib import Path

from benchmarks import peer
from lumen_installer import recipe
from lumen_installer.place import Cache


def by_name(flags: tuple[str, ...]) -> dict[str, str]:
    return dict(flag.removeprefix("-D").split("=", 1) for flag in flags)


def test_the_flags_are_those_of_the_library_but_for_what_a_server_needs() -> None:
    ours, theirs = by_name(recipe.for_this_machine().flags), by_name(peer.how().flags)
    assert {name for name in ours | theirs if ours.get(name) != theirs.get(name)} == set(peer.SWITCHED)
    assert theirs["GGML_NATIVE"] == ours["GGML_NATIVE"] and theirs["LLAMA_OPENSSL"] == "OFF"


def test_what_was_built_is_used_without_building(tmp_path: Path) -> None:
    kept = tmp_path / "peer" / peer.how().key
    kept.mkdir(parents=True)
    assert peer.executable(Cache(tmp_path)) == kept / "llama-server"
    assert [path.name for path in tmp_path.iterdir()] == ["peer"], "nothing was begun"
