"""Which version answers: installed, active, default; and an index that can be rebuilt."""

from __future__ import annotations

from pathlib import Path

import pytest

from lumen_box.catalogue import Catalogue, Installed, ModelName
from lumen_box.clock import Clock
from lumen_box.database import open_database
from lumen_box.errors import Damaged, NoModel, NotFound, UsageError

P, Q = "a" * 64, "b" * 64


def entry(name: str, version: str, release: int = 1, publisher: str = P, role: str = "chat") -> Installed:
    return Installed(publisher, name, version, "00" * 16, release, role, "2026-11-23T09:00:00Z")


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    return Catalogue(open_database(tmp_path / "box.db"), Clock())


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("clinical", (None, "clinical", None)),
        ("clinical@1.0.0", (None, "clinical", "1.0.0")),
        (f"{P}/clinical@1.0.0", (P, "clinical", "1.0.0")),
    ],
)
def test_names(text: str, parts: tuple[str | None, str, str | None]) -> None:
    name = ModelName.parse(text)
    assert (name.publisher, name.name, name.version) == parts
    assert str(name) == text


@pytest.mark.parametrize(
    "text", ["", "..", "a/../b", "A", "a b", "a@", "@1", "/a", "a/b/c", "a\x00", "a\n", ".a", "x" * 65, "a@1..2"]
)
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(UsageError):
        ModelName.parse(text)


def test_activation_remembers_the_version_before(catalogue: Catalogue) -> None:
    old, new = entry("clinical", "1.0.0", 1), entry("clinical", "1.1.0", 2)
    for version in (old, new):
        catalogue.add(version)
    with pytest.raises(NoModel, match="No model is active"):
        catalogue.require_active(None, "chat", {})
    catalogue.activate(old, make_default=False)
    assert catalogue.require_active(None, "chat", {}) == old
    catalogue.activate(new, make_default=False)
    catalogue.activate(new, make_default=False)  # again: the version before must not become itself
    active = catalogue.active_version(P, "clinical")
    assert active and (active.version, active.previous) == ("1.1.0", "1.0.0")


def test_every_role_has_a_default_of_its_own(catalogue: Catalogue) -> None:
    chat, search = entry("clinical", "1"), entry("search", "1", role="embedding")
    for model in (chat, search):
        catalogue.add(model)
    catalogue.activate(chat, make_default=False)
    with pytest.raises(NoModel, match="No embedding model is active"):
        catalogue.require_active(None, "embedding", {})
    catalogue.activate(search, make_default=False)
    assert [catalogue.require_active(None, role, {}) for role in ("chat", "embedding")] == [chat, search]


def test_a_version_with_another_role_is_no_default_of_the_old_one(catalogue: Catalogue) -> None:
    old, new = entry("clinical", "1"), entry("clinical", "2", release=2, role="embedding")
    for model in (old, new):
        catalogue.add(model)
        catalogue.activate(model, make_default=False)
    assert (catalogue.default("chat"), catalogue.default("embedding")) == (None, (P, "clinical"))


def test_a_short_name_must_be_unique(catalogue: Catalogue) -> None:
    catalogue.add(entry("clinical", "1.0.0"))
    catalogue.add(entry("clinical", "2.0.0", publisher=Q))
    with pytest.raises(UsageError, match="Several publishers"):
        catalogue.one(ModelName.parse("clinical"), {})
    assert catalogue.one(ModelName.parse("north/clinical"), {"north": Q}).version == "2.0.0"
    with pytest.raises(NotFound):
        catalogue.one(ModelName.parse("other"), {})


def test_several_versions_need_a_version_unless_one_is_active(catalogue: Catalogue) -> None:
    for version in ("1.0.0", "1.1.0"):
        catalogue.add(entry("clinical", version))
    with pytest.raises(UsageError, match=r"1\.0\.0, 1\.1\.0"):
        catalogue.one(ModelName.parse("clinical"), {})
    catalogue.activate(entry("clinical", "1.1.0"), make_default=False)
    assert catalogue.one(ModelName.parse("clinical"), {}).version == "1.1.0"


def test_the_index_is_rebuilt_from_what_is_really_there(catalogue: Catalogue) -> None:
    gone, there, unknown = entry("gone", "1"), entry("there", "1"), entry("unknown", "1")
    for known in (gone, there):
        catalogue.add(known)
        catalogue.activate(known, make_default=False)
    catalogue.rebuild([there, unknown])
    assert catalogue.installed() == [there, unknown]
    assert [active.name for active in catalogue.active()] == ["there"]
    assert catalogue.default("chat") is None, "the default was the model that is gone"


def test_a_damaged_database_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "box.db").write_bytes(b"not a database at all" * 1000)
    with pytest.raises(Damaged, match=r"box\.db"):
        open_database(tmp_path / "box.db")
