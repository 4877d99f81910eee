"""A mount point without its medium is told from one with it, and from the folders of the local disk."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from lumen_box.publisher import mounts
from lumen_box.publisher.mounts import missing_medium, unmounted
from tests.support.cli import Shell, passphrase_file

MEDIA = [Path("/mnt"), Path("/media"), Path("/srv/stick")]


@pytest.mark.parametrize(
    ("where", "mounted", "missing"),
    [
        ("/mnt/usb", ["/"], True),
        ("/mnt/usb", ["/", "/mnt/usb"], False),
        ("/mnt/usb/out", ["/", "/mnt/usb"], False),
        ("/mnt/usb", ["/", "/mnt/other"], True),
        ("/mnt", ["/", "/mnt"], False),
        ("/mnt/usb", ["/", "/mnt"], False),
        ("/mntx/usb", ["/"], False),
        ("/media/anna/STICK", ["/", "/media/anna/STICK"], False),
        ("/media/anna/STICK", ["/", "/media"], False),
        ("/srv/stick", ["/", "/srv"], True),
        ("/srv/stick/medium-1", ["/", "/srv/stick"], False),
        ("/srv/other", ["/"], False),
        ("/home/anna/usb", ["/", "/home"], False),
    ],
)
def test_where_a_medium_belongs_and_is_not(where: str, mounted: list[str], missing: bool) -> None:
    assert unmounted(Path(where), MEDIA, [Path(point) for point in mounted]) is missing


def test_the_tables_of_the_system_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stick = tmp_path / "the stick"
    named = str(stick).replace(" ", "\\040")
    fstab, mounted = tmp_path / "fstab", tmp_path / "mountinfo"
    monkeypatch.setattr(mounts, "FSTAB", fstab)
    monkeypatch.setattr(mounts, "MOUNTED", mounted)
    fstab.write_text(f"# of the system\nUUID=1 / ext4 defaults 0 1\n\nUUID=2 none swap sw 0 0\nLABEL=x {named} vfat\n")
    root = "22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n"
    mounted.write_text(root)
    assert missing_medium(stick / "out") and not missing_medium(tmp_path / "elsewhere")
    mounted.write_text(f"{root}31 22 8:17 / {named} rw - vfat /dev/sdb1 rw\n")
    assert not missing_medium(stick / "out")
    mounted.unlink()
    assert not missing_medium(stick), "a system that does not tell is not in the way"


def test_export_fills_no_local_disk_by_mistake(tmp_path: Path) -> None:
    shell = Shell(tmp_path, {"LUMEN_PUBLISHER_PASSPHRASE_FILE": passphrase_file(tmp_path / "p", b"the publisher's")})
    shell("publisher", "init", "pub", "--name", "P")
    nowhere = Path("/run/media") / f"lumen-box-test-{uuid4().hex}"
    refused = shell("publisher", "export", "pub", str(nowhere), code=14)
    assert refused.out == "" and "No medium is mounted" in refused.err and "--force" in refused.err
    assert not nowhere.exists()
    (tmp_path / "link").symlink_to(nowhere)
    assert "No medium is mounted" in shell("publisher", "export", "pub", "link", code=14).err
    shell("publisher", "export", "pub", "usb")
    assert (tmp_path / "usb" / "lumen-medium").is_dir()
