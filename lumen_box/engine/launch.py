"""How the gateway starts an engine worker: which program, with what in reach.

The engine library's folder is all that it may read beside Python itself; GPU devices only where there are any.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ..launcher import Child, Confinement, Limits, Program, start
from . import library
from .process import Launch

MODULE: Final = "lumen_box.engine.worker"
OPEN_FILES: Final = 256
THREADS: Final = 1024
# NumPy is there for its views. The threads of its linear algebra would spin for a tenth of a second at every start.
QUIET: Final = {"OPENBLAS_NUM_THREADS": "1"}
# What `engine.sandbox = "required"` means. Landlock is no part of it: inside namespaces it only repeats what they show.
REQUIRED: Final = Confinement(namespaces=True, seccomp=True)
GPU_DEVICES: Final = ("nvidia*", "dri/renderD*", "kfd")


def required(setting: str) -> Confinement | None:
    """The least confinement that ``engine.sandbox`` stands for."""
    return REQUIRED if setting == "required" else None


def worker(folder: Path, *, require: Confinement | None = None, devices: Path = Path("/dev")) -> Launch:
    """Starts workers that use the engine library in ``folder`` (see ``library.find``).

    Args:
        require: the least confinement to accept; ``NotAllowed`` where the kernel gives less.
    """

    def launch() -> Child:
        present = [path for pattern in GPU_DEVICES for path in sorted(devices.glob(pattern)) if path.is_char_device()]
        program = Program(
            MODULE,
            readable=(folder,),
            devices=tuple(present),
            limits=Limits(open_files=OPEN_FILES, processes=THREADS),
            environment={library.VARIABLE: str(folder), "LD_LIBRARY_PATH": str(folder), **QUIET},
        )
        return start(program, require=require)

    return launch
