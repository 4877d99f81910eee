"""Every bad medium gets its exit code, a clear sentence, and changes nothing on the box."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from lumen_box import errors
from lumen_box.bundle.medium import Medium
from lumen_box.catalogue import ModelName
from lumen_box.progress import silent
from lumen_box.publisher.enrol import enrol
from lumen_box.publisher.export import export
from lumen_box.publisher.model import add_model
from lumen_box.publisher.revoke import revoke
from lumen_box.publisher.rotate import rotate
from lumen_box.publisher.workspace import Workspace
from lumen_box.sealed.fingerprint import Fingerprint
from lumen_box.trust.publisher_id import read_root
from lumen_box.usecases import activate, describe, enrolment, init, media
from lumen_box.usecases.box import Box
from lumen_box.vault.slots import Passphrase
from lumen_box.vault.vault import Vault
from tests.support.scene import ACTOR, CHEAP, NOW, Scene, clock, new_model
from tests.support.tiny_model import write_tiny_model


def snapshot(scene: Scene) -> dict[str, str]:
    """Everything the box holds but the log, which must grow."""
    home = scene.home.root
    kept = ("vault", "trust", "models", "objects", "staging", "box.json")
    return {
        str(path.relative_to(home)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(home.rglob("*"))
        if path.is_file() and path.relative_to(home).parts[0] in kept
    }


def part(scene: Scene, number: int) -> Path:
    return next(scene.usb.rglob(f"part-{number:04}"))


def flip(path: Path, place: float = 0.5) -> None:
    data = bytearray(path.read_bytes())
    data[int(len(data) * place)] ^= 1
    path.write_bytes(data)


def truncated(scene: Scene) -> None:
    os.truncate(part(scene, 2), 1000)


def trailing(scene: Scene) -> None:
    with part(scene, 3).open("ab") as file:
        file.write(b"\0")


def emptied(scene: Scene) -> None:
    part(scene, 1).write_bytes(b"")


def reordered(scene: Scene) -> None:
    first, second = part(scene, 1).read_bytes(), part(scene, 2).read_bytes()
    part(scene, 1).write_bytes(second)
    part(scene, 2).write_bytes(first)


def duplicated(scene: Scene) -> None:
    shutil.copyfile(part(scene, 1), part(scene, 2))


def gone(scene: Scene) -> None:
    part(scene, 2).unlink()


def linked(scene: Scene) -> None:
    target = scene.folder / "elsewhere"
    shutil.move(part(scene, 2), target)
    next(scene.usb.rglob("part-0001")).with_name("part-0002").symlink_to(target)


def fifo(scene: Scene) -> None:
    path = part(scene, 2)
    path.unlink()
    os.mkfifo(path)


def manifest_changed(scene: Scene) -> None:
    path = next(path for path in scene.usb.rglob("*.json") if "/models/" in str(path) and "/targets/" in str(path))
    path.write_bytes(path.read_bytes().replace(b'"release":1', b'"release":2'))


def metadata_flipped(scene: Scene) -> None:
    path = next(scene.usb.rglob("timestamp.json"))
    record = json.loads(path.read_bytes())
    signature = record["signatures"][0]["sig"]
    record["signatures"][0]["sig"] = signature[:-2] + ("00" if signature[-2:] != "00" else "01")
    path.write_bytes(json.dumps(record).encode())


def key_for_nobody(scene: Scene) -> None:
    for path in scene.usb.rglob("recipients"):
        shutil.rmtree(path)


def key_flipped(scene: Scene) -> None:
    path = next(path for path in scene.usb.rglob("recipients/*") if path.is_file())
    record = json.loads(path.read_bytes())
    record["sealed"] = record["sealed"][:-2] + ("00" if record["sealed"][-2:] != "00" else "01")
    path.write_bytes(json.dumps(record).encode())


def key_of_new_suite(scene: Scene) -> None:
    path = next(path for path in scene.usb.rglob("recipients/*") if path.is_file())
    record = json.loads(path.read_bytes())
    path.write_bytes(json.dumps({**record, "suite": "mlkem2048"}).encode())


def unknown_publisher(scene: Scene) -> None:
    folder = next((scene.usb / "lumen-medium" / "v1").iterdir())
    folder.rename(folder.with_name("ab" * 32))


def newer_medium(scene: Scene) -> None:
    (scene.usb / "lumen-medium" / "v1").rename(scene.usb / "lumen-medium" / "v2")


def no_medium(scene: Scene) -> None:
    shutil.rmtree(scene.usb / "lumen-medium")


BAD_MEDIA = [
    (truncated, errors.Damaged, 22),
    (trailing, errors.Damaged, 22),
    (emptied, errors.Damaged, 22),
    (reordered, errors.Damaged, 22),
    (duplicated, errors.Damaged, 22),
    (lambda scene: flip(part(scene, 1), 0.0), errors.Damaged, 22),
    (lambda scene: flip(part(scene, 2)), errors.Damaged, 22),
    (lambda scene: flip(part(scene, 3), 0.999), errors.Damaged, 22),
    (gone, errors.PartMissing, 26),
    (linked, errors.Damaged, 22),
    (fifo, errors.Damaged, 22),
    (manifest_changed, errors.Damaged, 22),
    (metadata_flipped, errors.Untrusted, 20),
    (key_for_nobody, errors.NotForThisBox, 24),
    (key_flipped, errors.NotForThisBox, 24),
    (key_of_new_suite, errors.TooNew, 25),
    (unknown_publisher, errors.Untrusted, 20),
    (newer_medium, errors.TooNew, 25),
    (no_medium, errors.NotFound, 14),
]


@pytest.mark.parametrize(("spoil", "kind", "code"), BAD_MEDIA)
def test_a_bad_medium_changes_nothing(
    scene: Scene, spoil: Callable[[Scene], None], kind: type[errors.LumenError], code: int
) -> None:
    spoil(scene)
    before = snapshot(scene)
    with pytest.raises(kind) as refused:
        scene.install()
    assert refused.value.exit_code == code
    assert refused.value.what.endswith(".")
    after = snapshot(scene)
    staged = {name for name in after if name.startswith("staging/")}
    assert {name: digest for name, digest in after.items() if name not in staged} == before
    with scene.appliance() as appliance:
        assert describe.listing(appliance) == []
        entries = list(appliance.box.audit.entries())
        refusals = [entry for entry in entries if entry.event == "model.installed" and entry.phase == "outcome"]
        if (kind is not errors.NotFound and kind is not errors.TooNew) or spoil is key_of_new_suite:
            assert refusals[-1].outcome == "refused"


def test_after_a_refusal_the_good_medium_still_works(scene: Scene, tmp_path: Path) -> None:
    shutil.copytree(scene.usb, tmp_path / "good")
    flip(part(scene, 2))
    with pytest.raises(errors.Damaged):
        scene.install()
    assert scene.install(tmp_path / "good").fresh


def test_a_medium_for_another_box(scene: Scene, tmp_path: Path) -> None:
    from lumen_box.paths import Home

    other = Home(tmp_path / "other")
    init.create(other, b"other passphrase", name="Other", cost=CHEAP, clock=clock())
    box = Box(other, clock=clock())
    box.unlock(Passphrase(b"other passphrase"))
    exported = enrolment.export(box, ACTOR)
    box.close()
    with scene.publisher() as workspace:
        enrol(workspace, exported.data, exported.fingerprint)
        export(workspace, tmp_path / "for-other", silent, boxes=["Other"])
    with pytest.raises(errors.NotForThisBox, match="no key for this box"):
        scene.install(tmp_path / "for-other")


def test_old_media_after_newer(scene: Scene, tmp_path: Path) -> None:
    shutil.copytree(scene.usb, tmp_path / "old")
    scene.add("1.1.0", now=NOW + timedelta(days=1))
    scene.export(now=NOW + timedelta(days=1))
    scene.install(wanted="clinical@1.1.0")
    with pytest.raises(errors.Stale, match="older than what this box has seen") as refused:
        scene.install(tmp_path / "old")
    assert refused.value.exit_code == 21
    # Deleting what TUF remembers does not help: the floors are in the vault.
    for path in scene.home.trust.rglob("metadata.json"):
        path.unlink()
    with pytest.raises(errors.Stale):
        scene.install(tmp_path / "old")


def test_a_release_below_the_least_one(scene: Scene, tmp_path: Path) -> None:
    scene.add("2.0.0", now=NOW + timedelta(days=1), release=5, min_release=4)
    scene.export(now=NOW + timedelta(days=1))
    scene.install(wanted="clinical@2.0.0")
    with pytest.raises(errors.Stale, match="Release 1 of models/clinical"):
        scene.install(wanted="clinical@1.0.0")


def test_expired_metadata_needs_a_recorded_override(scene: Scene) -> None:
    late = NOW + timedelta(days=500)
    with pytest.raises(errors.Expired) as refused:
        scene.install(now=late)
    assert refused.value.exit_code == 21
    assert scene.install(now=late, allow_expired=True).fresh
    with scene.appliance(now=late) as appliance:
        overridden = [entry for entry in appliance.box.audit.entries() if entry.event == "trust.expiry_overridden"]
    assert [entry.actor for entry in overridden] == [ACTOR]


def test_a_clock_set_back_does_not_make_expired_metadata_fresh(scene: Scene, tmp_path: Path) -> None:
    shutil.copytree(scene.usb, tmp_path / "old")
    late = NOW + timedelta(days=500)
    scene.add("1.1.0", now=late)
    scene.export(now=late)
    scene.install(wanted="clinical@1.1.0", now=late)
    with scene.appliance(now=NOW) as appliance:
        assert appliance.publishers.now() == late


def test_a_clock_set_forward_does_no_lasting_harm(scene: Scene) -> None:
    with pytest.raises(errors.Expired):
        scene.install(now=NOW + timedelta(days=5000))
    assert scene.install(now=NOW).fresh


@pytest.mark.parametrize("what", ["bundle", "object", "box"])
def test_what_was_revoked_is_not_installed(scene: Scene, what: str) -> None:
    with scene.publisher() as workspace:
        manifest = next(iter(workspace.manifests().values()))
        if what == "bundle":
            revoke(workspace, model="clinical@1.0.0")
        elif what == "object":
            revoke(workspace, object_id=manifest.model.id)
        else:
            revoke(workspace, box="Ward 7")
    scene.export()
    with pytest.raises(errors.Untrusted, match="revoked") as refused:
        scene.install()
    assert refused.value.exit_code == 20


def test_a_refused_install_still_hears_what_was_revoked(scene: Scene) -> None:
    scene.install()
    with scene.publisher() as workspace:
        revoke(workspace, model="clinical@1.0.0")
    scene.export()
    with pytest.raises(errors.Untrusted):
        scene.install()
    with scene.appliance() as appliance:
        assert describe.listing(appliance)[0]["state"] == "revoked"


def test_what_was_revoked_after_installing_is_not_activated(scene: Scene) -> None:
    import asyncio

    scene.install()
    with scene.publisher() as workspace:
        revoke(workspace, model="clinical@1.0.0")
    scene.export()
    with scene.appliance() as appliance:
        with Medium.open(scene.usb) as medium:
            media.take_over(appliance, medium, ACTOR)
        assert describe.listing(appliance)[0]["state"] == "revoked"
        with pytest.raises(errors.Untrusted, match="revoked"):
            asyncio.run(activate.activate(appliance, ModelName("clinical"), ACTOR, silent))
        assert appliance.box.catalogue.active() == []


@pytest.mark.parametrize("group", ["root", "targets", "models"])
def test_new_keys_of_the_publisher_are_taken_over_with_the_next_medium(scene: Scene, group: str) -> None:
    scene.install()
    with scene.publisher() as workspace:
        rotate(workspace, group)
    scene.add("1.1.0", now=NOW + timedelta(days=1))
    scene.export(now=NOW + timedelta(days=1))
    assert scene.install(wanted="clinical@1.1.0").installed.version == "1.1.0"


def test_another_publisher_cannot_take_the_place_of_installed_weights(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An object's id is only a random number: whoever has seen it can write it into a manifest of their own."""
    taken = scene.install().installed.object

    def fixed(size: int) -> bytes:
        return bytes.fromhex(taken) if size == 16 else os.urandom(size)

    before = (scene.home.objects / taken).read_bytes()
    with Workspace.create(tmp_path / "evil", "Evil publisher", b"evil", cost=CHEAP, clock=clock()) as workspace:
        with scene.appliance() as appliance:
            root = workspace.repository().root
            appliance.publishers.pin(root, read_root(root).fingerprint, ACTOR)
            exported = enrolment.export(appliance.box, ACTOR)
        enrol(workspace, exported.data, exported.fingerprint)
        gguf = write_tiny_model(tmp_path / "evil.gguf", seed=666)
        monkeypatch.setattr("lumen_box.publisher.model.secrets.token_bytes", fixed)
        add_model(workspace, gguf, new_model("letters", "1.0.0"), silent)
        export(workspace, tmp_path / "usb", silent)
    with pytest.raises(errors.Untrusted, match="the id of those of clinical@1"):
        scene.install(tmp_path / "usb", "letters@1.0.0")
    assert (scene.home.objects / taken).read_bytes() == before
    with scene.appliance() as appliance:
        assert describe.verify(appliance, ModelName("clinical"), ACTOR, silent).version == "1.0.0"


def test_a_root_with_another_fingerprint_is_not_pinned(scene: Scene) -> None:
    with scene.publisher() as workspace:
        root = workspace.repository().root
    before = snapshot(scene)
    with scene.appliance() as appliance, pytest.raises(errors.Untrusted, match="fingerprint"):
        appliance.publishers.pin(root, Fingerprint.of("another"), ACTOR)
    assert snapshot(scene) == before


def test_a_pinned_root_changed_on_disk_is_noticed(scene: Scene) -> None:
    path = next(scene.home.trust.rglob("root.json"))
    path.write_bytes(path.read_bytes().replace(b"Demo publisher", b"Evil publisher"))
    with pytest.raises((errors.Untrusted, errors.Damaged)):
        scene.install()


def test_a_home_restored_from_last_month(scene: Scene, tmp_path: Path) -> None:
    """Restored as a whole it is last month's box, with last month's floors; a keyring alone is noticed."""
    shutil.copytree(scene.home.root, tmp_path / "backup")
    scene.install()
    shutil.rmtree(scene.home.vault)
    shutil.copytree(tmp_path / "backup" / "vault", scene.home.vault)
    with pytest.raises(errors.Stale, match="moved back"), scene.appliance():
        pass
    shutil.rmtree(scene.home.root)
    shutil.copytree(tmp_path / "backup", scene.home.root)
    assert scene.install().fresh


def test_a_wrong_passphrase_leaves_the_box_sealed(scene: Scene) -> None:
    box = Box(scene.home, clock=clock())
    try:
        with pytest.raises(errors.WrongKey) as refused:
            box.unlock(Passphrase(b"wrong"))
        assert refused.value.exit_code == 12
        assert box.sealed
        with pytest.raises(errors.Sealed):
            _ = box.vault
    finally:
        box.close()


def test_the_recovery_code_opens_the_box(scene: Scene) -> None:
    from lumen_box.vault.slots import Recovery

    vault = Vault.open(scene.home.vault, Recovery(scene.recovery))
    assert vault.ids("identity") == ["box"]
    vault.close()


def test_refusals_are_logged_but_a_stranger_cannot_fill_the_log(scene: Scene) -> None:
    with scene.appliance() as appliance:
        before = appliance.box.audit.size
        for _ in range(50):
            appliance.refused(errors.Unauthenticated("no"), "tcp")
        lines = [entry for entry in appliance.box.audit.entries() if entry.event == "access.refused"]
        assert appliance.box.audit.size - before == len(lines) == 10
        assert {(entry.actor, entry.outcome, entry.detail["code"]) for entry in lines} == {
            ("tcp", "refused", "unauthenticated")
        }
