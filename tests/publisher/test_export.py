"""Media as boxes read them: for whom they are, what enrolling later adds, and when anything is signed again."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest

from lumen_box.bundle.medium import Medium
from lumen_box.errors import Expired, NotForThisBox, NotFound, PartMissing, UsageError
from lumen_box.progress import Event, Note, silent
from lumen_box.publisher.enrol import enrol
from lumen_box.publisher.export import export
from lumen_box.publisher.revoke import revoke
from lumen_box.publisher.workspace import Workspace

from .people import PASSPHRASE, Box, clock_at, content, read


@pytest.fixture
def second(workspace: Workspace) -> Box:
    other = Box.new("Ward 8")
    enrol(workspace, other.enrolment(), other.fingerprint)
    return other


def without_recipients(where: Path) -> dict[str, bytes]:
    return {name: data for name, data in content(where).items() if "/recipients/" not in name}


def test_every_enrolled_box_can_open_it(
    workspace: Workspace, box: Box, second: Box, gguf: Path, tmp_path: Path
) -> None:
    (written,) = export(workspace, tmp_path / "usb", silent)
    assert (written.path, written.number, written.total) == (tmp_path / "usb", 1, 1)
    for reader in (box, second):
        assert reader.model(tmp_path / "usb", workspace.repository().root) == gguf.read_bytes()


def test_nobody_else_can(workspace: Workspace, tmp_path: Path) -> None:
    export(workspace, tmp_path / "usb", silent)
    with pytest.raises(NotForThisBox):
        Box.new("Ward 9").model(tmp_path / "usb", workspace.repository().root)


@pytest.mark.parametrize("by", ["name", "id"])
def test_a_medium_can_be_for_named_boxes_alone(
    workspace: Workspace, box: Box, second: Box, gguf: Path, tmp_path: Path, by: str
) -> None:
    export(workspace, tmp_path / "usb", silent)  # all of them, first
    export(workspace, tmp_path / "usb", silent, boxes=["Ward 8" if by == "name" else second.fingerprint.hex])
    root = workspace.repository().root
    assert second.model(tmp_path / "usb", root) == gguf.read_bytes()
    with pytest.raises(NotForThisBox):
        box.model(tmp_path / "usb", root)


def test_an_unknown_box_is_named_and_nothing_is_written(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="Ward 9"):
        export(workspace, tmp_path / "usb", silent, boxes=["Ward 9"])
    assert not (tmp_path / "usb").exists()


def test_a_box_enrolled_later_adds_a_file_and_signs_nothing(workspace: Workspace, gguf: Path, tmp_path: Path) -> None:
    export(workspace, tmp_path / "usb", silent)
    before = content(tmp_path / "usb")
    late = Box.new("Ward 10")
    enrol(workspace, late.enrolment(), late.fingerprint)
    export(workspace, tmp_path / "usb", silent)
    added = set(content(tmp_path / "usb")) - set(before)
    assert [name.rsplit("/", 1)[1] for name in added] == [late.recipient.public.key_id]
    assert without_recipients(tmp_path / "usb") == {n: d for n, d in before.items() if "/recipients/" not in n}
    assert late.model(tmp_path / "usb", workspace.repository().root) == gguf.read_bytes()


def test_a_box_that_enrolled_again_gets_its_new_key_only(workspace: Workspace, box: Box, tmp_path: Path) -> None:
    export(workspace, tmp_path / "usb", silent)
    fresh = Box(box.name, box.identity, box.audit, Box.new("").recipient)
    enrol(workspace, fresh.enrolment(2), None)
    export(workspace, tmp_path / "usb", silent)
    names = [Path(name).name for name in content(tmp_path / "usb") if "/recipients/" in name]
    assert names == [fresh.recipient.public.key_id]


def test_without_a_box_it_says_that_nobody_can_open_it(workspace: Workspace, tmp_path: Path) -> None:
    revoke(workspace, box="Ward 7")
    events: list[Event] = []
    export(workspace, tmp_path / "usb", events.append)
    assert any(isinstance(event, Note) and "No box" in event.text for event in events)


def test_nothing_secret_is_on_the_medium(workspace: Workspace, gguf: Path, tmp_path: Path) -> None:
    """The search would find it: it finds what the manifest says, and a token that was planted."""
    export(workspace, tmp_path / "usb", silent)
    files = content(tmp_path / "usb")

    def found(needle: bytes) -> bool:
        return any(needle in data for data in files.values())

    assert found(b"clinical") and b"xylophonbirdseye" in gguf.read_bytes()
    seeds = [seed for seeds in workspace.state.keys.values() for seed in seeds]
    for secret in [*seeds, *workspace.state.objects.values()]:
        assert not found(secret) and not found(secret.hex().encode())
    for telltale in (b"xylophonbirdseye", b"blk.0.ffn_gate.weight", PASSPHRASE):
        assert not found(telltale)
    files["planted"] = b"..blk.0.ffn_gate.weight.."
    assert found(b"blk.0.ffn_gate.weight")


def metadata(where: Path) -> dict[str, bytes]:
    return {Path(name).name: data for name, data in content(where).items() if "/metadata/" in name}


@pytest.mark.parametrize(("after", "again"), [("2027-01-30", False), ("2027-02-02", True)])
def test_an_old_signature_is_renewed(folder: Path, tmp_path: Path, after: str, again: bool) -> None:
    with Workspace.open(folder, PASSPHRASE, clock=clock_at("2027-01-01T00:00:00Z")) as opened:
        opened.publish(opened.repository())
        export(opened, tmp_path / "usb", silent)
    before = metadata(tmp_path / "usb")["timestamp.json"]
    with Workspace.open(folder, PASSPHRASE, clock=clock_at(f"{after}T00:00:00Z")) as opened:
        export(opened, tmp_path / "usb", silent)
    assert (metadata(tmp_path / "usb")["timestamp.json"] != before) is again


def test_an_export_years_later_is_not_expired(folder: Path, tmp_path: Path) -> None:
    with Workspace.open(folder, PASSPHRASE) as opened:
        root = opened.repository().root
        export(opened, tmp_path / "old", silent)
    with pytest.raises(Expired):
        read(tmp_path / "old", root, now="2031-06-01T00:00:00Z")
    with Workspace.open(folder, PASSPHRASE, clock=clock_at("2031-06-01T00:00:00Z")) as opened:
        export(opened, tmp_path / "new", silent)
    accepted = read(tmp_path / "new", root, now="2032-06-01T00:00:00Z")
    assert accepted.expired == ()


def share(where: Path) -> set[str]:
    return {Path(name).name for name in content(where) if "/part-" in name}


def test_over_several_media(workspace: Workspace, box: Box, gguf: Path, tmp_path: Path) -> None:
    """Each is verified alone; what the first does not have is named; together they hold the model."""
    room = 115_000  # some 90 kB of metadata, and one part or two
    written = export(workspace, tmp_path / "many", silent, capacity=room)
    assert len(written) >= 3
    assert [item.path for item in written] == [tmp_path / "many" / f"medium-{n + 1}" for n in range(len(written))]
    root = workspace.repository().root
    manifest = workspace.manifests()["models/clinical/1.0.0.json"]
    for item in written:
        assert read(item.path, root).targets
        assert sum(len(data) for data in content(item.path).values()) <= room
    with pytest.raises(PartMissing, match="part-0002"):
        box.model(written[0].path, root)
    got: list[bytes] = []
    for item in written:
        with Medium.open(item.path) as medium, contextlib.suppress(PartMissing):
            for _, data in medium.segments(workspace.id, manifest.model, start=len(got)):
                got.append(data)
    assert len(b"".join(got)) == manifest.model.stored_size


def test_one_medium_after_another_at_the_same_place(workspace: Workspace, tmp_path: Path) -> None:
    together = export(workspace, tmp_path / "many", silent, capacity=115_000)
    for item in together:
        (written,) = export(workspace, tmp_path / "usb", silent, capacity=115_000, medium=item.number)
        assert (written.path, written.number, written.total) == (tmp_path / "usb", item.number, len(together))
        assert without_recipients(tmp_path / "usb") == without_recipients(item.path)
        assert share(tmp_path / "usb") == share(item.path)


@pytest.mark.parametrize(("capacity", "medium"), [(None, 1), (115_000, 99), (1000, None)])
def test_media_that_cannot_be(workspace: Workspace, tmp_path: Path, capacity: int | None, medium: int | None) -> None:
    with pytest.raises(UsageError):
        export(workspace, tmp_path / "usb", silent, capacity=capacity, medium=medium)
    assert not (tmp_path / "usb").exists()


def test_the_metadata_names_the_model_and_its_hash(workspace: Workspace, tmp_path: Path) -> None:
    export(workspace, tmp_path / "usb", silent)
    models = json.loads(metadata(tmp_path / "usb")["2.models.json"])
    assert list(models["signed"]["targets"]) == ["models/clinical/1.0.0.json"]
