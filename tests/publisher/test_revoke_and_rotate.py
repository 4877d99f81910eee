"""Taking back and replacing keys, as a box sees it that pinned the first root and knows earlier media."""

from __future__ import annotations

from pathlib import Path

import pytest

from lumen_box.errors import Damaged, LumenError, NotFound, Stale, Untrusted, UsageError
from lumen_box.progress import silent
from lumen_box.publisher.export import export
from lumen_box.publisher.model import NewModel, add_model, describe_again
from lumen_box.publisher.revoke import revoke
from lumen_box.publisher.rotate import rotate
from lumen_box.publisher.workspace import Workspace
from lumen_box.trust.floors import Floors, raised
from lumen_box.trust.layout import ROTATION_GROUPS

from .people import PASSPHRASE, Box, content, read

PATH = "models/clinical/1.0.0.json"


def exported(workspace: Workspace, where: Path) -> Path:
    export(workspace, where, silent)
    return where


def test_a_revoked_version_is_on_the_list_and_its_weights_are_not_carried(workspace: Workspace, tmp_path: Path) -> None:
    identity = workspace.manifests()[PATH].model.id
    revoke(workspace, model="clinical@1.0.0", stop=True, reason="Gives wrong doses.")
    accepted = read(exported(workspace, tmp_path / "usb"), workspace.repository().root)
    assert accepted.revocations.bundles[PATH].stop
    with pytest.raises(Untrusted, match="wrong doses"):
        accepted.revocations.refuse(path=PATH)
    assert PATH in accepted.targets  # so that a box can say what was revoked
    assert not [name for name in content(tmp_path / "usb") if identity in name]


def test_a_version_over_the_same_weights_goes_on(workspace: Workspace, box: Box, gguf: Path, tmp_path: Path) -> None:
    describe_again(workspace, "clinical@1.0.0", NewModel("clinical", "1.0.1", template="{{ x }}"))
    revoke(workspace, model="clinical@1.0.0")
    where = exported(workspace, tmp_path / "usb")
    assert box.model(where, workspace.repository().root, version="1.0.1") == gguf.read_bytes()


def test_a_revoked_object_takes_all_its_versions_with_it(workspace: Workspace, tmp_path: Path) -> None:
    describe_again(workspace, "clinical@1.0.0", NewModel("clinical", "1.0.1"))
    identity = workspace.manifests()[PATH].model.id
    revoke(workspace, object_id=identity)
    accepted = read(exported(workspace, tmp_path / "usb"), workspace.repository().root)
    assert list(accepted.revocations.objects) == [identity]
    assert not [name for name in content(tmp_path / "usb") if identity in name]


def test_a_revoked_box_gets_no_key_any_more(workspace: Workspace, box: Box, tmp_path: Path) -> None:
    revoke(workspace, box="Ward 7", reason="Stolen.")
    where = exported(workspace, tmp_path / "usb")
    assert list(read(where, workspace.repository().root).revocations.boxes) == [box.fingerprint.hex]
    assert not [name for name in content(where) if "/recipients/" in name]
    assert revoke(workspace, box=box.fingerprint.hex, stop=True)  # once more, by its id


def test_a_revoked_version_is_never_used_again(workspace: Workspace, gguf: Path) -> None:
    revoke(workspace, model="clinical@1.0.0")
    with pytest.raises(UsageError, match="already"):
        add_model(workspace, gguf, NewModel("clinical", "1.0.0"), silent)


def test_revoking_again_never_takes_stop_back(workspace: Workspace) -> None:
    revoke(workspace, model="clinical@1.0.0", stop=True)
    revoke(workspace, model="clinical@1.0.0", reason="Again.")
    assert workspace.repository().revocations.bundles[PATH].stop


@pytest.mark.parametrize(
    ("what", "error"),
    [
        ({"model": "clinical@9"}, NotFound),
        ({"model": "clinical"}, UsageError),
        ({"model": "../x@1"}, UsageError),
        ({"object_id": "0" * 32}, NotFound),
        ({"object_id": "x"}, Damaged),
        ({"box": "Ward 9"}, NotFound),
        ({"model": "clinical@1.0.0", "reason": "a\nb"}, LumenError),
        ({"model": "clinical@1.0.0", "reason": "x" * 201}, LumenError),
    ],
)
def test_what_cannot_be_revoked(
    workspace: Workspace, folder: Path, what: dict[str, str], error: type[LumenError]
) -> None:
    before = content(folder)
    with pytest.raises(error):
        revoke(workspace, **what)  # type: ignore[arg-type]
    assert content(folder) == before


@pytest.mark.parametrize("group", [*ROTATION_GROUPS, "all of them"])
def test_a_box_follows_new_keys_by_itself(
    workspace: Workspace, box: Box, gguf: Path, tmp_path: Path, group: str
) -> None:
    """It knows the medium before, with its floors; the new one is accepted, and the old one is stale from then on."""
    pinned = workspace.repository().root
    old = exported(workspace, tmp_path / "old")
    floors = raised(Floors(), read(old, pinned).observed)
    for one in ROTATION_GROUPS if group == "all of them" else [group]:
        rotate(workspace, one)
    new = exported(workspace, tmp_path / "new")
    accepted = read(new, pinned, floors=floors)
    assert box.model(new, pinned) == gguf.read_bytes()
    with pytest.raises(Stale):
        read(old, pinned, floors=raised(floors, accepted.observed))


@pytest.mark.parametrize("group", ROTATION_GROUPS)
def test_the_old_key_is_gone_and_the_others_stay(folder: Path, group: str) -> None:
    with Workspace.open(folder, PASSPHRASE) as opened:
        before = dict(opened.state.keys)
        assert rotate(opened, group) == ROTATION_GROUPS[group]
    with Workspace.open(folder, PASSPHRASE) as opened:
        changed = {role for role, seeds in opened.state.keys.items() if seeds != before[role]}
        assert changed == set(ROTATION_GROUPS[group])
        opened.publish(opened.repository())  # the new ones do sign


def test_what_a_replaced_key_signs_is_refused(folder: Path, workspace: Workspace, tmp_path: Path) -> None:
    """A thief with last month's key and last month's folder cannot go on from there."""
    pinned = workspace.repository().root
    thief = workspace.repository()
    rotate(workspace, "models")
    new = exported(workspace, tmp_path / "new")
    floors = raised(Floors(), read(new, pinned).observed)
    thief.put("models/clinical/6.6.6.json", b"{}")
    metadata = thief.publish(workspace.now()).metadata
    for name, data in metadata.items():
        (new / "lumen-medium" / "v1" / workspace.id / "metadata" / name).write_bytes(data)
    with pytest.raises((Untrusted, Stale)):
        read(new, pinned, floors=floors)


def test_there_are_only_these_keys(workspace: Workspace) -> None:
    with pytest.raises(UsageError, match="root, targets, models"):
        rotate(workspace, "snapshot")


def test_the_newest_root_can_be_pinned_as_well(workspace: Workspace, box: Box, gguf: Path, tmp_path: Path) -> None:
    rotate(workspace, "root")
    newest = workspace.repository().root
    rotate(workspace, "root")
    assert box.model(exported(workspace, tmp_path / "usb"), newest) == gguf.read_bytes()
