"""What the reader lets through, llama.cpp can read without dying; and what it must not see does kill it."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

from lumen_box.errors import LumenError
from lumen_box.gguf.reader import read_header
from tests.support import bad_gguf, good_gguf

ENGINE = Path(sys.prefix, "lib", "lumen-box", "engine")
ROOT = Path(__file__).parents[2]
KILLERS = (
    "same token twice",
    "same token up to NUL",
    "no tokens",
    "byte token in WordPiece",
    "no <0x0A>",
    "adds no bos",
    "gemma4 without bos",
    "charsmap string does not end",
)


def outcomes(folder: Path, files: list[bytes]) -> list[str]:
    """What llama.cpp made of each file, in order."""
    paths = [folder / f"{number}.gguf" for number in range(len(files))]
    for path, data in zip(paths, files, strict=True):
        path.write_bytes(data)
    environment = os.environ | {"GGML_NO_BACKTRACE": "1"}
    environment.setdefault("LLAMA_CPP_LIB_PATH", str(ENGINE))
    command = [sys.executable, "-m", "tests.support.llama_probe", *map(str, paths)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout.splitlines()


def accepted(data: bytes) -> bool:
    try:
        read_header(lambda offset, count: data[offset : offset + count], len(data))
    except LumenError:
        return False
    return True


def test_every_kind_of_tokenizer_that_is_accepted_works_in_llama_cpp(tmp_path: Path) -> None:
    files = [good_gguf.file(good_gguf.header(kind)) for kind in good_gguf.KINDS]
    assert all(map(accepted, files))
    assert outcomes(tmp_path, files) == ["loaded"] * len(files)


def test_the_refused_files_would_kill_the_engine(tmp_path: Path) -> None:
    table = {bad.name: bad.data for bad in bad_gguf.files()}
    found = outcomes(tmp_path, [table[name] for name in KILLERS])
    assert dict(zip(KILLERS, found, strict=True)) == dict.fromkeys(KILLERS, "died 6")


def test_damaged_headers_that_are_still_accepted_do_not_kill_the_engine(tmp_path: Path) -> None:
    rng = random.Random(7)
    sound = [good_gguf.file(good_gguf.header(kind)) for kind in good_gguf.KINDS]
    files: list[bytes] = []
    while len(files) < 40:
        data = bytearray(rng.choice(sound))
        for _ in range(rng.randint(1, 3)):
            data[rng.randrange(24, len(data))] = rng.choice([0, 1, 2, 6, 0x7F, 0xFF, rng.randrange(256)])
        if accepted(bytes(data)) and bytes(data) not in sound:
            files.append(bytes(data))
    assert {outcome.split()[0] for outcome in outcomes(tmp_path, files)} <= {"loaded", "refused"}
