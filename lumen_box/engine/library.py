"""Where the engine library (libllama and its companions) lies.

The installer builds it once and links ``<prefix>/lib/lumen-box/engine`` to it; ``LLAMA_CPP_LIB_PATH`` overrides that.
llama-cpp-python reads the same variable when it is imported.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ..errors import NotFound

VARIABLE: Final = "LLAMA_CPP_LIB_PATH"
FILE: Final = "libllama.so"


def find(environment: Mapping[str, str], prefix: Path | None = None) -> Path:
    """The folder with the library, links resolved; ``NotFound`` says how to build it."""
    folder = environment.get(VARIABLE) or (prefix or Path(sys.prefix)) / "lib" / "lumen-box" / "engine"
    found = Path(folder).resolve()
    if not (found / FILE).is_file():
        raise NotFound("The engine library is not there.", then="Build it with `make engine`, then try again.")
    return found
