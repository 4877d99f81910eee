"""What an operator should know about this machine and this box, each finding with what to do about it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from .. import launcher
from ..catalogue import Active
from ..engine import library
from ..engine.launch import REQUIRED
from ..errors import LumenError
from ..sizes import size
from ..vault.slots import KeyFile, Recovery
from . import keyslots
from .appliance import Appliance
from .slots import on_the_same_disk
from .staging import unfinished

Level = Literal["good", "warning", "bad"]
LOW_SPACE = 5 * 1024**3  # bytes


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    level: Level
    subject: str
    what: str
    then: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def examine(appliance: Appliance, *, serving: bool = True) -> list[Finding]:
    """Looks at everything; a look that fails is a finding itself. ``serving`` is whether a gateway runs."""
    looks: list[Callable[[Appliance], list[Finding]]] = [
        _sandbox, _engine, _space, _unfinished, _unnamed, _swap, _key_file, _slots, _keys, _models, _clock,
    ]  # fmt: skip
    findings: list[Finding] = []
    if not serving:
        looks.remove(_keys)
        then = "Run `lumen-box serve --detach`."
        findings.append(Finding("warning", "gateway", "No gateway runs: the box answers nobody.", then))
    for look in looks:
        try:
            findings += look(appliance)
        except (LumenError, OSError) as error:
            findings.append(Finding("bad", look.__name__.strip("_"), str(error)))
    return findings


def _sandbox(appliance: Appliance) -> list[Finding]:
    """What this kernel gives, and whether the settings ask for more."""
    there, needed = launcher.confinement_available(), appliance.settings.engine.sandbox == "required"
    enough = there.namespaces and there.seccomp
    what = f"Engines are confined by {there}. " + (
        f"The settings require {REQUIRED}." if needed else "The settings take the best there is."
    )
    then = "" if enough else "Allow user namespaces on this kernel for the stronger sandbox."
    if needed and not enough:
        return [Finding("bad", "sandbox", f"{what} No engine starts.", then)]
    return [Finding("good" if enough else "warning", "sandbox", what, then)]


def _engine(appliance: Appliance) -> list[Finding]:
    return [Finding("good", "engine", f"The engine library is in {library.find(os.environ)}.")]


def _space(appliance: Appliance) -> list[Finding]:
    free = shutil.disk_usage(appliance.box.home.root).free
    if free < LOW_SPACE:
        return [Finding("warning", "space", f"{size(free)} are free.", "Remove versions that are not needed.")]
    return [Finding("good", "space", f"{size(free)} are free.")]


def _unfinished(appliance: Appliance) -> list[Finding]:
    return [
        Finding(
            "warning",
            "staging",
            f"An install of {begun.claim.name}@{begun.claim.version} is not finished; it takes {size(begun.size)}.",
            f"Finish it with its medium, or run `lumen-box model remove {begun.claim.name}@{begun.claim.version}`.",
        )
        for begun in unfinished(appliance.box.home)
    ]


def _unnamed(appliance: Appliance) -> list[Finding]:
    """No crash leaves an object that nothing names; a manifest that was lost or spoilt does."""
    staged = {begun.object for begun in unfinished(appliance.box.home)}
    found = appliance.store.unnamed(staged)
    if not found:
        return []
    taken, names = sum(path.stat().st_size for path in found), ", ".join(path.name for path in found)
    return [
        Finding(
            "warning",
            "objects",
            f"{size(taken)} in objects/ belong to no model whose manifest can be read: {names}.",
            "Install the models again from their media, or remove these files.",
        )
    ]


def _swap(appliance: Appliance) -> list[Finding]:
    devices = Path("/proc/swaps").read_text().splitlines()[1:]
    if not devices:
        return [Finding("good", "swap", "There is no swap: weights and prompts stay in memory.")]
    return [
        Finding(
            "warning",
            "swap",
            "Swap is on: what is in memory may be written to disk.",
            "Turn it off, or encrypt it with a key that is made anew at every boot.",
        )
    ]


def _key_file(appliance: Appliance) -> list[Finding]:
    key_file, found = Path(appliance.settings.vault.key_file), []
    if appliance.settings.vault.key_file and key_file.exists():
        if on_the_same_disk(key_file, appliance.box.home):
            what = "The key file lies on the disk that it protects: who steals one steals both."
            then = "Keep it on another device, or use a systemd credential bound to the TPM."
            found.append(Finding("warning", "keys", what, then))
        if key_file.stat().st_mode & 0o077:
            found.append(Finding("bad", "keys", "Others can read the key file.", f"Run `chmod 600 {key_file}`."))
    return found


def _slots(appliance: Appliance) -> list[Finding]:
    kinds, found = {slot.kind for slot in keyslots.listing(appliance.box)}, []
    if Recovery.kind not in kinds:
        what = "No recovery key opens this box: with its passphrase lost, everything in it is lost."
        found.append(Finding("warning", "keys", what, "Make one with: lumen-box key slot add recovery"))
    if appliance.settings.vault.key_file and KeyFile.kind not in kinds:
        what = "The settings name a key file, and no slot is for one: the box does not open by itself."
        then = "Add it with: lumen-box key slot add key-file --key-file FILE"
        found.append(Finding("warning", "keys", what, then))
    return found


def _keys(appliance: Appliance) -> list[Finding]:
    if appliance.sealed:
        return [Finding("warning", "keys", "The box is sealed: it answers nobody.", "Run `lumen-box unlock`.")]
    return [Finding("good", "keys", "The box is open.")]


def _models(appliance: Appliance) -> list[Finding]:
    active = appliance.box.catalogue.active()
    if not active:
        then = "`lumen-box model list` shows what is installed; `lumen-box model activate NAME` has it answer."
        return [Finding("warning", "models", "No model is active.", then)]
    if appliance.sealed:
        then = "Name the passphrase with --passphrase-file, or unlock the box, to see whether each may run."
        return [Finding("good", "models", f"{len(active)} active, as far as a sealed box can tell.", then)]
    failed = _failures(appliance, active)
    return failed or [Finding("good", "models", f"{len(active)} active.")]


def _failures(appliance: Appliance, active: Sequence[Active]) -> list[Finding]:
    """What keeps an active model from answering: it could not be loaded, or where nobody tried, it could not be."""
    failures = dict(appliance.models.failures)
    for entry in active:
        if appliance.models.running(entry.publisher, entry.name) is None:
            try:
                appliance.models.check_allowed(entry)
            except LumenError as error:
                failures.setdefault((entry.publisher, entry.name), error)
    return [
        Finding("bad", "models", f"{name} is active and cannot answer: {error.what}", error.then)
        for (_, name), error in failures.items()
    ]


def _clock(appliance: Appliance) -> list[Finding]:
    if appliance.sealed:
        return []
    behind = appliance.publishers.now() - appliance.clock.now()
    if behind.total_seconds() > 3600:
        return [
            Finding(
                "warning",
                "clock",
                f"The clock is {behind.days} days and {behind.seconds // 3600} hours behind what was signed already.",
                "Set the clock: the times in the audit log are wrong until then.",
            )
        ]
    return [Finding("good", "clock", "The clock is not behind anything that was signed.")]
