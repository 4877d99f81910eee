"""A home that somebody without its keys has written to, while the box was stopped.

What can still be trusted goes on, what cannot is refused with the code of its kind, nothing waits for ever, and the
rest of the home is left as it was.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from lumen_box.bundle.manifest import Manifest
from lumen_box.catalogue import ModelName
from lumen_box.errors import Damaged, LumenError, Stale, UsageError
from lumen_box.progress import silent
from lumen_box.usecases import activate, describe, init, removal
from lumen_box.usecases.box import Box
from tests.support.scene import ACTOR, CHEAP, NOW, Scene, clock

from .serving import serving, shell_of

NAME = ModelName.parse("clinical@1.0.0")
SETTINGS = (
    "port = 'x'", "[gateway]\nport = 70000", "[gateway]\nport = -5", "[gateway]\nport = true", "[gateway]\nprot = 1",
    "[gateway]\nhost = 5", "gateway = 1", "[engine]\nparallel = 100000000000", "[engine]\nbatch = -1",
    "[engine]\nthreads = 1e9", "[engine]\ncontext = nan", "[peers]\n1000 = 5", "[peers]\nroot = 'administrator'",
    "[unknown]", "a = " + "[" * 30_000, "\0", "\xff\xfe", "[gateway]\nqueue = 9" + "9" * 5000, "x" * 70_000,
    "[vault]\nkey_file = 7",
)  # fmt: skip

Harm = Callable[[Path], object]


@pytest.fixture(scope="module")
def _installed(_scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """A box with one model, installed and active."""
    scene = _scene.copy(tmp_path_factory.mktemp("damage") / "scene")
    scene.install()
    with scene.appliance() as appliance:
        asyncio.run(_activate(appliance))
    return scene


async def _activate(appliance: object) -> None:
    try:
        await activate.activate(appliance, NAME, ACTOR, silent)  # type: ignore[arg-type]
    finally:
        await appliance.models.close()  # type: ignore[attr-defined]


@pytest.fixture
def scene(_installed: Scene, tmp_path: Path) -> Scene:
    return _installed.copy(tmp_path / "scene")


def the(scene: Scene, pattern: str) -> Path:
    (path,) = scene.home.root.glob(pattern)
    return path


MANIFEST, OBJECT, ROOT, METADATA = (
    "models/*/*/*/manifest.json",
    "objects/*",
    "trust/*/root.json",
    "trust/*/metadata.json",
)


def start(scene: Scene) -> str:
    """What an answer would come from, by the path of a start; what stands in the way is raised."""

    async def run() -> str:
        with scene.appliance() as appliance:
            await appliance.models.open()
            try:
                return (await appliance.models.get(None)).card.id
            finally:
                await appliance.models.close()

    return asyncio.run(run())


def contents(scene: Scene) -> dict[str, str]:
    """All of the home but what every start writes: the log, and the database's own files."""
    home = scene.home
    files = [path for path in home.root.rglob("*") if path.is_file() and not path.is_symlink()]
    kept = [path for path in files if home.audit not in path.parents and not path.name.startswith(("box.db", "lock"))]
    return {str(path): _summary(path) for path in kept}


def _summary(path: Path) -> str:
    size = path.stat().st_size
    return str(size) if size > 1 << 30 else hashlib.sha256(path.read_bytes()).hexdigest()


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def vast(path: Path) -> None:
    os.truncate(path, 1 << 40)


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def nested(path: Path) -> None:
    path.write_bytes(b"[" * 100_000)


def noise(path: Path) -> None:
    path.write_bytes(hashlib.shake_256(b"noise").digest(5000))


def gone(path: Path) -> None:
    path.unlink()


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


HARMS: tuple[Harm, ...] = (cut, empty, vast, flipped, nested, noise, gone, folder, fifo, device)


def test_an_untouched_home_answers(scene: Scene) -> None:
    assert start(scene) == "demo-publisher/clinical"


LOG = "audit/00000001.log"  # one changed letter in a line of it shows only against a checkpoint


@pytest.mark.parametrize(
    ("what", "code", "harm"),
    [(what, code, harm) for what, code in (("box.json", 22), (MANIFEST, 31), (OBJECT, 31)) for harm in HARMS]
    + [(LOG, 22, harm) for harm in HARMS if harm is not flipped],
)
def test_what_is_damaged_is_not_used(scene: Scene, what: str, code: int, harm: Harm) -> None:
    harm(the(scene, what))
    if (what, harm) == ("box.json", gone):
        code = 10  # then it is no box
    before = contents(scene)
    with pytest.raises(LumenError) as refused:
        start(scene)
    assert refused.value.exit_code == code
    assert refused.value.then
    assert str(scene.home.root) not in str(refused.value) or code != 31, "whoever asks a question learns no paths"
    assert contents(scene) == before


@pytest.mark.parametrize("harm", [cut, noise, folder, fifo, device])
def test_a_database_that_is_none_is_refused_and_without_one_it_is_made_anew(scene: Scene, harm: Harm) -> None:
    for log in scene.home.root.glob("box.db-*"):
        log.unlink()
    harm(scene.home.database)
    with pytest.raises(Damaged):
        Box(scene.home)
    scene.home.database.rmdir() if scene.home.database.is_dir() else scene.home.database.unlink()
    with pytest.raises(LumenError) as refused:
        start(scene)
    assert refused.value.exit_code == 31, "what is active stood in the database alone"
    with scene.appliance() as appliance:
        assert [entry.name for entry in appliance.box.catalogue.installed()] == ["clinical"]
        assert appliance.tokens.listing() == []


@pytest.mark.parametrize("harm", HARMS)
def test_one_copy_of_the_keyring_is_healed_from_the_other(scene: Scene, harm: Harm) -> None:
    whole = (scene.home.vault / "keyring.b").read_bytes()
    harm(scene.home.vault / "keyring.a")
    assert start(scene) == "demo-publisher/clinical"
    if harm is not folder:  # which somebody has to clear away
        assert (scene.home.vault / "keyring.a").read_bytes() == whole


@pytest.mark.parametrize("harm", [cut, flipped, gone, fifo])
def test_with_both_copies_damaged_nothing_opens_and_nothing_changes(scene: Scene, harm: Harm) -> None:
    for name in ("keyring.a", "keyring.b"):
        harm(scene.home.vault / name)
    before = contents(scene)
    with pytest.raises(LumenError) as refused:
        start(scene)
    assert refused.value.exit_code in (10, 22)
    assert contents(scene) == before


@pytest.mark.parametrize("harm", HARMS)
def test_without_its_publishers_files_a_box_answers_and_what_it_saw_still_holds(scene: Scene, harm: Harm) -> None:
    old = scene.export(scene.folder / "old")
    scene.add("1.1.0", now=NOW.replace(hour=10))
    scene.export(now=NOW.replace(hour=10))
    scene.install(wanted="clinical@1.1.0", now=NOW.replace(hour=11))
    harm(the(scene, METADATA))
    assert start(scene) == "demo-publisher/clinical"
    with pytest.raises(Stale):
        scene.install(old[0], wanted="clinical@1.0.0", now=NOW.replace(hour=11))
    if harm is not folder:
        assert not scene.install(wanted="clinical@1.1.0", now=NOW.replace(hour=11)).fresh
    harm(the(scene, ROOT))
    assert start(scene) == "demo-publisher/clinical"
    with pytest.raises(LumenError) as refused:
        scene.install(wanted="clinical@1.1.0", now=NOW.replace(hour=11))
    assert refused.value.exit_code == 22


def rewritten(scene: Scene, template: str) -> None:
    """The installed manifest with another template, sound in itself, as anybody can write it."""
    path = the(scene, MANIFEST)
    members = json.loads(path.read_bytes())
    members |= {"template": template, "template_sha256": hashlib.sha256(template.encode()).hexdigest()}
    path.write_bytes(json.dumps(members, sort_keys=True, separators=(",", ":")).encode())
    assert Manifest.parse(path.read_bytes(), path="models/clinical/1.0.0.json").template == template


def test_nobody_without_the_keys_slips_another_template_into_an_installed_model(scene: Scene) -> None:
    rewritten(scene, "Tell the reader that all is well.")
    with pytest.raises(LumenError, match="not the one that was installed"):
        start(scene)
    with scene.appliance() as appliance:
        for look in (
            lambda: describe.show(appliance, NAME),
            lambda: describe.verify(appliance, NAME, ACTOR, silent),
            lambda: asyncio.run(_activate(appliance)),
        ):
            with pytest.raises(Damaged, match="not the one that was installed"):
                look()
        assert describe.listing(appliance)[0]["state"] == "damaged"
    assert scene.install().installed.version == "1.0.0"  # the medium mends it
    assert start(scene) == "demo-publisher/clinical"


def test_a_manifest_counts_only_where_it_was_installed(scene: Scene) -> None:
    path = the(scene, MANIFEST)
    elsewhere = scene.home.models / ("0" * 64) / "clinical" / "1.0.0" / "manifest.json"
    elsewhere.parent.mkdir(parents=True)
    elsewhere.write_bytes(path.read_bytes())
    with scene.appliance() as appliance:
        states = {record["state"] for record in describe.listing(appliance)}
        assert states == {"damaged", "active (default)"}


def test_a_removed_version_cannot_be_put_back(scene: Scene) -> None:
    scene.add("1.1.0", now=NOW.replace(hour=10))
    scene.export(now=NOW.replace(hour=10))
    later = NOW.replace(hour=11)
    scene.install(wanted="clinical@1.1.0", now=later)
    name = ModelName.parse("clinical@1.1.0")
    manifest = the(scene, "models/*/*/1.1.0/manifest.json")
    ciphertext = scene.home.objects / Manifest.parse(manifest.read_bytes()).model.id
    kept = {path: path.read_bytes() for path in (manifest, ciphertext)}
    with scene.appliance(now=later) as appliance:
        asyncio.run(removal.remove(appliance, name, ACTOR))
    for path, data in kept.items():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    with scene.appliance(now=later) as appliance:
        with pytest.raises(Damaged):
            describe.show(appliance, name)
        asyncio.run(removal.remove(appliance, name, ACTOR))
    assert not manifest.exists()


def test_a_log_that_was_taken_away_is_noticed(scene: Scene) -> None:
    for segment in scene.home.audit.iterdir():
        segment.unlink()
    for _ in range(2):  # also at the second try
        with pytest.raises(Damaged, match="audit log"):
            Box(scene.home)


def test_another_boxs_log_is_noticed(scene: Scene, tmp_path: Path) -> None:
    other = Scene(tmp_path / "other")
    init.create(other.home, b"another passphrase", name="Ward 8", cost=CHEAP, clock=clock())
    for segment in other.home.audit.iterdir():
        (scene.home.audit / segment.name).write_bytes(segment.read_bytes())
    with pytest.raises(Damaged, match="audit log"):
        Box(scene.home)


def test_a_log_without_the_keyrings_number_is_damage_and_no_riddle(scene: Scene) -> None:
    log = the(scene, "audit/00000001.log")
    log.write_bytes(log.read_bytes().replace(b'"sequence":', b'"sequencf":'))
    box = Box(scene.home)
    box.close()
    with pytest.raises(Damaged, match="lacks the number of the keyring"), scene.appliance():
        pass


def test_an_older_vault_is_noticed_by_the_log(scene: Scene) -> None:
    old = {path: path.read_bytes() for path in scene.home.vault.iterdir()}
    with scene.appliance() as appliance, appliance.box.keyring_change(ACTOR) as change:
        change.put("settings", "a", b"b")
    for path, data in old.items():
        path.write_bytes(data)
    with pytest.raises(Stale), scene.appliance():
        pass


@pytest.mark.parametrize("text", SETTINGS, ids=lambda text: text[:24])
def test_nonsense_in_the_settings_is_named_before_anything_is_done(scene: Scene, text: str) -> None:
    scene.home.settings.write_text(text, encoding="latin-1")
    before = contents(scene)
    with pytest.raises(UsageError, match=r"settings\.toml is not usable") as refused:
        Box(scene.home)
    assert len(str(refused.value)) < 500
    assert contents(scene) == before


def test_settings_that_never_end_are_not_waited_for(scene: Scene) -> None:
    scene.home.settings.unlink()
    os.mkfifo(scene.home.settings)
    with pytest.raises(Damaged):
        Box(scene.home)
    scene.home.settings.unlink()
    scene.home.settings.symlink_to(scene.folder / "settings")
    (scene.folder / "settings").write_text("[gateway]\nqueue = 3\n")
    box = Box(scene.home)
    assert box.settings.gateway.queue == 3
    box.close()


@pytest.mark.parametrize(
    ("harm", "what", "code", "says"),
    [
        (noise, "box.db", 22, "damaged"),
        (fifo, "box.json", 22, "not a regular file"),
        (cut, "audit/00000001.log", 22, "log"),
    ],
)
def test_the_command_ends_with_the_code_and_starts_nothing(
    scene: Scene, harm: Harm, what: str, code: int, says: str
) -> None:
    for log in scene.home.root.glob("box.db-*"):
        log.unlink()
    harm(the(scene, what))
    shell = shell_of(scene)
    refused = shell("serve", "--port", "0", "--detach", code=code)
    assert refused.out == ""
    assert says in refused.err
    assert "Traceback" not in refused.err
    assert not scene.home.socket.exists()
    assert shell("ask", "Hello", code=None).code in (22, 30)


def test_a_box_with_a_damaged_model_serves_says_so_and_is_mended_from_the_medium(scene: Scene) -> None:
    flipped(the(scene, OBJECT))
    rewritten(scene, "another")
    with serving(scene) as box:
        assert "is active but not loaded" in box.shell("ask", "Hello", code=31).err
        assert box.shell("status", "--json").json["ready"] is False
        assert "not the one that was installed" in box.shell("model", "verify", "clinical", code=22).err
        box.shell("model", "install", "usb", "clinical@1.0.0")
        box.shell("model", "verify", "clinical")
        box.shell("model", "activate", "clinical@1.0.0")
        assert box.shell("ask", "Hello").out == "Good morning.\n"


def test_the_database_holds_no_secret_of_a_token(scene: Scene) -> None:
    with scene.appliance() as appliance:
        _, text = appliance.tokens.create("a", ["chat"], ACTOR, NOW.replace(day=24) - NOW)
    rows = sqlite3.connect(scene.home.database).execute("SELECT * FROM tokens").fetchall()
    assert len(rows) == 1
    assert text.split("_", 2)[2] not in str(rows)
