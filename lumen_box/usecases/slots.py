"""How a box opens by itself at boot: a key file named in the settings, or a systemd credential."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from ..audit.log import BOX
from ..config import Settings
from ..errors import Damaged, LumenError
from ..paths import Home
from ..vault.slots import MAX_KEY_FILE, MIN_KEY_FILE, KeyFile
from .appliance import Appliance

CREDENTIAL = "lumen-box-key"

log = logging.getLogger(__name__)


def opens_by_itself(appliance: Appliance) -> bool:
    """Tries the key that opens this box without a person. One that does not is logged, and the box stays sealed."""
    try:
        key = own_key(appliance.settings)
        if key is not None:
            appliance.unlock(key, BOX)
    except (LumenError, OSError) as error:
        log.warning("The box did not open by itself: %s", error)
    return not appliance.sealed


def own_key(settings: Settings) -> KeyFile | None:
    """The key that opens this box without a person, or None where there is none."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    candidates = [Path(folder) / CREDENTIAL] if folder else []
    if settings.vault.key_file:
        candidates.append(Path(settings.vault.key_file))
    for path in candidates:
        try:
            with path.open("rb") as file:
                secret = file.read(MAX_KEY_FILE + 1)
        except FileNotFoundError:
            continue
        if not MIN_KEY_FILE <= len(secret) <= MAX_KEY_FILE:
            raise Damaged(
                f"The key file {path} does not have between {MIN_KEY_FILE} and {MAX_KEY_FILE} bytes.",
                kept="The box stays sealed.",
                then="Bring the right file back, or open the box with `lumen-box unlock`.",
            )
        return KeyFile(secret)
    return None


def on_the_same_disk(key_file: Path, home: Home) -> bool:
    """Whether a key file lies on the file system that it protects."""
    return key_file.stat().st_dev == home.root.stat().st_dev
