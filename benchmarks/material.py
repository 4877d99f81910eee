"""What the benchmarks work on: a model of about 280 million parameters, and a publisher, a box and a medium with it.

Made once, with the real commands, in ``build/benchmarks``, and kept there. The weights are random, which costs an
engine exactly as much as sense would.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lumen_box.engine import library
from lumen_box.sealed.stream import Encryptor, object_context
from tests.support.tiny_model import write_tiny_model

from .harness import ROOT

FOLDER: Final = ROOT / "build" / "benchmarks"
NAME: Final = "bench"
KEY, OBJECT_ID = bytes(range(32)), bytes(range(16))  # of the object that ``encrypted`` makes
_PIECE: Final = 1 << 16
PASSPHRASE: Final = b"a passphrase that guards nothing"


def folder() -> Path:
    """Where everything lies."""
    FOLDER.mkdir(parents=True, exist_ok=True, mode=0o700)
    return FOLDER


def model() -> Path:
    """The model in the clear: llama architecture, Q8_0, 363 MB."""
    path = folder() / "model.gguf"
    if not path.exists():
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        write_tiny_model(
            fresh,
            layers=18,
            width=1024,
            heads=16,
            kv_heads=4,
            hidden=3072,
            vocabulary_size=32000,
            context=4096,
            name="Benchmark",
        )
        fresh.rename(path)
    return path


def encrypted() -> Path:
    """The same bytes as the encrypted object that a box would keep."""
    path = model().with_suffix(".object")
    if not path.exists():
        encryptor = Encryptor(KEY, object_context(OBJECT_ID))
        fresh = path.with_suffix(".new")
        with model().open("rb") as source, fresh.open("wb") as target:
            while piece := source.read(_PIECE):
                target.write(encryptor.update(piece))
            target.write(encryptor.finish())
        fresh.rename(path)
    return path


def lumen_box(*words: str) -> tuple[str, ...]:
    """A command line of ``lumen-box``."""
    return str(Path(sys.executable).with_name("lumen-box")), *words


def environment() -> None:
    """Sets, for this process and those that it starts, where the box, its passphrases and the engine are."""
    secret = folder() / "passphrase"
    if not secret.exists():
        secret.touch(mode=0o600)
        secret.write_bytes(PASSPHRASE)
    os.environ |= {
        "LUMEN_BOX_PASSPHRASE_FILE": str(secret),
        "LUMEN_PUBLISHER_PASSPHRASE_FILE": str(secret),
        library.VARIABLE: str(library.find(os.environ)),
    }


def say(*words: str) -> str:
    """Runs one ``lumen-box`` command and returns its standard output."""
    return subprocess.run(lumen_box(*words), check=True, capture_output=True, text=True).stdout


@dataclass(frozen=True)
class Stock:
    """A publisher, a box that trusts it, and a medium with one model on it, in a folder of their own."""

    folder: Path
    model: Path

    def medium(self) -> Path:
        """The medium, made if need be, for the box of :meth:`fresh_box`."""
        environment()
        usb = self.folder / "usb"
        if not usb.exists():
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._make(self.folder / "publisher", self.folder / "box", self.folder / "usb.new")
            (self.folder / "usb.new").rename(usb)
        return usb

    def _make(self, publisher: Path, box: Path, usb: Path) -> None:
        for leftover in (publisher, box, usb):
            shutil.rmtree(leftover, ignore_errors=True)
        root, enrolled = self.folder / "root.json", self.folder / "box.json"
        say("publisher", "init", str(publisher), "--name", "Benchmark")
        said = json.loads(say("publisher", "root", str(publisher), "--output", str(root), "--json"))
        say("--home", str(box), "init")
        exported = json.loads(say("--home", str(box), "enrolment", "export", "--output", str(enrolled), "--json"))
        say("--home", str(box), "trust", "pin", str(root), "--fingerprint", said["fingerprint"])
        say("publisher", "enrol", str(publisher), str(enrolled), "--fingerprint", exported["fingerprint"])
        say("publisher", "add-model", str(publisher), str(self.model), "--name", NAME, "--version", "1")
        say("publisher", "export", str(publisher), str(usb))

    def fresh_box(self, name: str = "used-box") -> Path:
        """A box that trusts the publisher and has nothing installed, where the last run left one that has."""
        used = self.folder / name
        shutil.rmtree(used, ignore_errors=True)
        shutil.copytree(self.folder / "box", used)
        os.sync()  # what earlier runs left unwritten is not to be written in the next one's time
        return used


def medium() -> Path:
    """A medium with the model of :func:`model` on it, for the box of :func:`fresh_box`."""
    return Stock(FOLDER, model()).medium()


def fresh_box() -> Path:
    """See :meth:`Stock.fresh_box`."""
    return Stock(FOLDER, model()).fresh_box()
