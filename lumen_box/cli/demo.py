"""The whole way in one command: a publisher, a box, a medium, a model, an answer.

Every step is a command that a person could type; it is shown and then run. What needs no engine comes first, so that
a library still being built in the background is waited for as late as possible.
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import LumenError, NotFound, UsageError
from ..paths import Home
from .common import BOX_PASSPHRASE, HOME_VARIABLE, say

MARK = ".lumen-demo"  # a folder without it is never cleared
PUBLISHER_PASSPHRASE = "LUMEN_PUBLISHER_PASSPHRASE_FILE"  # noqa: S105 - the name of a variable that names a file
QUESTION = "Hello"  # where no card says what to ask
TO_BEGIN_WITH = "## Questions to begin with"  # the section of a card whose list `suggested` reads
SUGGESTED = 4
DAMAGED = 22


def demo(
    gguf: Annotated[Path, typer.Argument(metavar="MODEL.gguf", help="The model to carry through.")],
    folder: Annotated[Path, typer.Option(metavar="DIR", help="Where to make publisher, medium and box.")] = Path(
        "demo"
    ),
) -> None:
    """Make a publisher and a box, carry a model over, and chat."""
    if not gguf.is_file():
        raise NotFound(f"There is no file {gguf}.", kept="Nothing was changed.", then="Name a model in GGUF form.")
    stage = Stage(folder.absolute(), _fresh(folder))
    build = _engine_build()
    card = gguf.absolute().with_name("card.md")
    questions = suggested(card.read_text()) if card.is_file() else []
    try:
        _publish(stage, gguf.absolute(), ["--card", str(card)] if card.is_file() else [])
        _refuse_a_flipped_byte(stage)
        if build is not None:
            _wait_for_engine(build)
        _take_into_service(stage)
        _talk(stage, questions)
    finally:
        if stage.serving():
            stage.run("stop")
    say("\nThe box stays where it is. To go on with it:")
    if sys.prefix != sys.base_prefix:  # an environment of its own, which the person's shell does not know
        say(f"  export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH")
    for name, value in stage.variables().items():
        say(f"  export {name}={shlex.quote(value)}")
    say("  lumen-box serve --detach && lumen-box chat")
    if questions:
        say("\nAsk it, for example:")
    for question in questions:
        say(f'  lumen-box ask "{question}"')


def suggested(card: str) -> list[str]:
    """The first questions that a model's card suggests: the list under its heading, one line each."""
    _, _, section = card.partition(f"{TO_BEGIN_WITH}\n")
    lines = section.partition("\n## ")[0].splitlines()
    return [line.removeprefix("- ").strip() for line in lines if line.startswith("- ")][:SUGGESTED]


@dataclass(frozen=True)
class Stage:
    """The folder of the demo. ``publisher``, ``box`` and ``usb`` are below it."""

    folder: Path
    began: float

    def variables(self) -> dict[str, str]:
        return {
            HOME_VARIABLE: str(self.folder / "box"),
            BOX_PASSPHRASE: str(self.folder / "box-passphrase"),
            PUBLISHER_PASSPHRASE: str(self.folder / "publisher-passphrase"),
        }

    def serving(self) -> bool:
        """Whether a gateway of this demo's box runs, or has left its socket behind."""
        return Home(self.folder / "box").socket.exists()

    def title(self, text: str) -> None:
        say(f"\n{time.monotonic() - self.began:4.0f} s  {text}")

    def run(self, *words: str, fails_with: int = 0, shown: bool = True) -> str:
        """Shows and runs one command in the demo's folder; returns what it printed."""
        if shown:
            say(f"  $ lumen-box {' '.join(_quoted(word) for word in words)}")
        done = subprocess.run(
            [sys.executable, "-m", "lumen_box.cli.main", *words],
            cwd=self.folder,
            env=os.environ | self.variables(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode != fails_with:
            raise LumenError(
                f"The demo stopped: `lumen-box {words[0]}` ended with {done.returncode} instead of {fails_with}.",
                kept=done.stderr.strip()[-2000:],
                then=f"Everything it made is in {self.folder}.",
            )
        if fails_with:
            say(_indented(f"{done.stderr.rstrip()}\n(exit code {done.returncode})"))
        return done.stdout

    def record(self, *words: str) -> dict[str, Any]:
        """The same with ``--json``."""
        found: dict[str, Any] = json.loads(self.run(*words, "--json"))
        return found


def _fresh(folder: Path) -> float:
    """An empty, private folder; an earlier demo in it goes, anything else is left alone."""
    began = time.monotonic()
    if folder.exists():
        if any(folder.iterdir()) and not (folder / MARK).exists():
            raise UsageError(
                f"{folder} holds something else.", kept="It was not touched.", then="Give another --folder."
            )
        _stop_earlier(folder)
        shutil.rmtree(folder)
    folder.mkdir(mode=0o700, parents=True)
    (folder / MARK).touch(mode=0o600)
    for name in ("box-passphrase", "publisher-passphrase"):
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(secrets.token_urlsafe(24) + "\n")
    return began


def _stop_earlier(folder: Path) -> None:
    """Ends the gateway of an earlier demo, which would go on serving a box that is no longer there."""
    earlier = Stage(folder.absolute(), 0)
    if earlier.serving():
        command = [sys.executable, "-m", "lumen_box.cli.main", "stop"]
        subprocess.run(command, env=os.environ | earlier.variables(), stdin=subprocess.DEVNULL, capture_output=True)


def _publish(stage: Stage, gguf: Path, described: list[str]) -> None:
    stage.title("A publisher: it signs and encrypts, on a machine of its own")
    stage.run("publisher", "init", "publisher", "--name", "Demo publisher")
    root = stage.record("publisher", "root", "publisher", "--output", "root.json")
    say(_aloud(root["words"]))

    stage.title("A box: the server without a way out")
    box = stage.record("init", "--name", "Demo box")
    say(_aloud(box["words"]))

    stage.title("Each pins the other, by the fingerprint that was read aloud")
    stage.run("trust", "pin", "root.json", "--fingerprint", root["words"])
    stage.run("enrolment", "export", "--output", "box.json")
    stage.run("publisher", "enrol", "publisher", "box.json", "--fingerprint", box["words"])

    stage.title("The model is encrypted for this box, and signed by both halves of a hybrid key")
    stage.run("publisher", "add-model", "publisher", str(gguf), "--name", "demo", "--version", "1.0.0", *described)
    stage.run("publisher", "export", "publisher", "usb")
    say(_indented("\n".join(_tree(stage.folder / "usb"))))


def _refuse_a_flipped_byte(stage: Stage) -> None:
    stage.title("The medium is verified; a copy with one flipped byte is refused")
    say(_indented(stage.run("model", "install", "usb", "demo@1.0.0", "--check")))
    shutil.copytree(stage.folder / "usb", stage.folder / "usb-damaged")
    part = next((stage.folder / "usb-damaged").rglob("part-0001"))
    part.chmod(0o600)
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    stage.run("model", "install", "usb-damaged", "demo@1.0.0", "--check", fails_with=DAMAGED)
    shutil.rmtree(stage.folder / "usb-damaged")


def _engine_build() -> Any:
    """The build of the engine library, where this is a checkout that builds its own; else None."""
    try:
        from lumen_installer.engine import start_background_build
    except ImportError:
        return None
    return start_background_build()


def _wait_for_engine(build: Any) -> None:
    from lumen_installer.prepare import in_words
    from lumen_installer.screen import Screen

    if build.finished:
        build.wait()
        return
    screen = Screen()
    screen.step("Waiting for llama.cpp, which was being built meanwhile; Ctrl-C keeps what is built")
    with build:
        build.wait(lambda progress: screen.lasting(f"llama.cpp: {in_words(build.stage, progress)}"))


def _take_into_service(stage: Stage) -> None:
    stage.title("The box installs the model, tries it, and serves it")
    stage.run("model", "install", "usb", "demo@1.0.0")
    stage.run("model", "activate", "demo@1.0.0")
    url = stage.run("serve", "--port", "0", "--detach").strip()
    say(f"  {url}")


def _talk(stage: Stage, questions: list[str]) -> None:
    if sys.stdin.isatty() and sys.stdout.isatty():
        stage.title("Yours")
        before = signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is for the chat: there it stops an answer
        subprocess.run(
            [sys.executable, "-m", "lumen_box.cli.main", "chat"], cwd=stage.folder, env=os.environ | stage.variables()
        )
        signal.signal(signal.SIGINT, before)
        return
    stage.title("One question")
    answer = stage.run("ask", "--temperature", "0", questions[0] if questions else QUESTION)
    stage.title("Its answer")
    typer.echo(answer.strip())


def _aloud(words: str) -> str:
    from .common import wrapped

    return f"    read aloud:\n{_indented(wrapped(words))}"


def _indented(text: str) -> str:
    return "\n".join(f"    {line.rstrip()}" for line in text.strip("\n").splitlines())


def _quoted(word: str) -> str:
    """As a shell would want it; a fingerprint's 32 words are shown by their first and last."""
    if word.count(" ") > 8:
        first, *_, last = word.split()
        return f'"{first} … {last}"'
    return f'"{word}"' if " " in word else word


def _tree(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield f"{path.stat().st_size:>9,}  {_shortened(path.relative_to(folder))}"


def _shortened(path: Path) -> str:
    """Long hexadecimal names by their first digits."""
    return "/".join(f"{part[:8]}…" if len(part) > 40 else part for part in path.parts)
