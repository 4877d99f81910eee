"""Published prompts are kept in the vault, by name, and the log knows them by their hash alone."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from lumen_box import strictjson
from lumen_box.audit import Event
from lumen_box.errors import Damaged, LumenError, NotFound, Sealed, TooNew, UsageError
from lumen_box.usecases import prompts
from lumen_box.usecases.box import Box
from lumen_box.usecases.prompts import MAX_ALL, MAX_NAME, MAX_PROMPTS, MAX_TEXT
from lumen_box.usecases.purposes import PROMPT
from lumen_box.vault.slots import Passphrase
from tests.support.scene import ACTOR, BOX_SECRET, Scene, clock

TEXT = "Du hilfst auf Station 7. Zähle zuerst die Medikamente auf."


def opened(scene: Scene) -> Box:
    box = Box(scene.home, clock=clock())
    box.unlock(Passphrase(BOX_SECRET), ACTOR)
    return box


@pytest.fixture
def box(scene: Scene) -> Box:
    return opened(scene)


def test_what_was_published_is_there_until_it_is_withdrawn(scene: Scene, box: Box) -> None:
    ward = prompts.publish(box, "ward-7", "system", TEXT, ACTOR)
    prompts.publish(box, "leaflet", "document", "Wirkstoff: …\n", ACTOR)
    box.close()
    box = opened(scene)
    assert [prompt.name for prompt in prompts.listing(box)] == ["leaflet", "ward-7"]
    assert prompts.get(box, "ward-7") == ward and ward.text == TEXT
    assert prompts.withdraw(box, "ward-7", ACTOR) == ward
    with pytest.raises(NotFound, match="'ward-7'"):
        prompts.get(box, "ward-7")
    with pytest.raises(NotFound):
        prompts.withdraw(box, "ward-7", ACTOR)
    assert [prompt.name for prompt in prompts.listing(box)] == ["leaflet"]
    box.close()


def test_a_name_stands_for_the_newest_text(box: Box) -> None:
    prompts.publish(box, "ward", "system", "Old.", ACTOR)
    newest = prompts.publish(box, "ward", "document", "New.", ACTOR)
    assert prompts.listing(box) == [newest]
    box.close()


def test_the_disk_and_the_log_never_hold_the_text(scene: Scene, box: Box, tmp_path: Path) -> None:
    prompts.publish(box, "ward", "system", TEXT, ACTOR)
    prompts.withdraw(box, "ward", ACTOR)
    prompts.publish(box, "ward", "system", TEXT, ACTOR)
    forms = [TEXT.encode(), TEXT[:20].encode(), strictjson.dumps(TEXT)[1:-1]]
    planted = scene.home.root / "planted"
    planted.write_bytes(b"..." + strictjson.dumps({"text": TEXT}))
    files = [path for path in scene.home.root.rglob("*") if path.is_file()]
    assert [path for path in files if any(form in path.read_bytes() for form in forms)] == [planted]
    said = [entry for entry in box.audit.entries() if entry.event in (Event.PROMPT_PUBLISHED, Event.PROMPT_WITHDRAWN)]
    digest = hashlib.sha256(TEXT.encode()).hexdigest()
    assert [(entry.event, entry.detail.get("sha256")) for entry in said if entry.phase == "intent"] == [
        ("prompt.published", digest),
        ("prompt.withdrawn", digest),
        ("prompt.published", digest),
    ]
    assert [entry.outcome for entry in said if entry.phase == "outcome"] == ["done"] * 3
    box.close()


@pytest.mark.parametrize(
    ("name", "kind", "text", "says"),
    [
        ("", "system", "x", "a letter or digit first"),
        ("../etc", "system", "x", "a letter or digit first"),
        ("Ward", "system", "x", "a letter or digit first"),
        ("a" * (MAX_NAME + 1), "system", "x", f"1 to {MAX_NAME}"),
        ("ward", "user", "x", "system or a document"),
        ("ward", "system", " \n", "empty"),
        ("ward", "system", "\ud800", "half a character"),
        ("ward", "system", "é" * (MAX_TEXT // 2 + 1), f"at most {MAX_TEXT}"),
    ],
    ids=str,
)
def test_what_cannot_be_published_is_refused(box: Box, name: str, kind: str, text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        prompts.publish(box, name, kind, text, ACTOR)  # type: ignore[arg-type]
    assert prompts.listing(box) == []
    box.close()


def test_the_largest_text_that_is_taken_can_be_read_again(box: Box) -> None:
    text = "\x01" * MAX_TEXT  # six bytes each in JSON
    prompts.publish(box, "a" * MAX_NAME, "system", text, ACTOR)
    assert prompts.get(box, "a" * MAX_NAME).text == text
    box.close()


def test_neither_their_number_nor_their_size_is_without_end(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompts, "MAX_PROMPTS", 2)
    prompts.publish(box, "one", "system", "x", ACTOR)
    prompts.publish(box, "two", "system", "x", ACTOR)
    prompts.publish(box, "two", "system", "y", ACTOR)  # takes no further place
    with pytest.raises(UsageError, match="3 prompts"):
        prompts.publish(box, "three", "system", "x", ACTOR)
    monkeypatch.setattr(prompts, "MAX_PROMPTS", MAX_PROMPTS)
    monkeypatch.setattr(prompts, "MAX_ALL", 100)
    with pytest.raises(UsageError, match="with 102 bytes; a box has at most"):
        prompts.publish(box, "three", "system", "x" * 100, ACTOR)
    assert {prompt.name: prompt.text for prompt in prompts.listing(box)} == {"one": "x", "two": "y"}
    assert MAX_ALL < 4 * 1024 * 1024
    box.close()


def test_a_sealed_box_publishes_and_shows_nothing(scene: Scene) -> None:
    box = Box(scene.home, clock=clock())
    for work in (
        lambda: prompts.publish(box, "ward", "system", TEXT, ACTOR),
        lambda: prompts.listing(box),
        lambda: prompts.get(box, "ward"),
        lambda: prompts.withdraw(box, "ward", ACTOR),
    ):
        with pytest.raises(Sealed):
            work()
    box.close()


@pytest.mark.parametrize(
    ("change", "raised"),
    [
        ({"format": "lumen-box/prompt/v2"}, TooNew),
        ({"kind": "tool"}, TooNew),
        ({"text": 1}, Damaged),
        ({"x": 1}, TooNew),
    ],
    ids=str,
)
def test_an_entry_of_another_form_is_named(box: Box, change: dict[str, object], raised: type[LumenError]) -> None:
    prompts.publish(box, "ward", "system", TEXT, ACTOR)
    entry = strictjson.loads(box.vault.get(PROMPT, "ward"), what="x", max_bytes=10_000)
    with box.keyring_change(ACTOR) as keyring:
        keyring.put(PROMPT, "ward", strictjson.dumps(entry | change))
    with pytest.raises(raised, match="prompt ward"):
        prompts.listing(box)
    box.close()


def test_the_keys_can_be_changed_under_them(box: Box) -> None:
    ward = prompts.publish(box, "ward", "system", TEXT, ACTOR)
    box.vault.rotate_kek()
    assert prompts.listing(box) == [replace(ward)]
    box.close()
