"""The one place that starts what must not be trusted: engine, web, parsers, templates, grammars.

A program is started in two steps. A *stage* (``stage.py``) takes away, in this order: namespaces, limits, capabilities,
Landlock, seccomp; then it becomes the program, which first of all makes itself undumpable (``child.py``). Only when
the program has said over its control socket that it is ready may its starter send it a key.

The stage and the child import this package too, and every start pays for what it imports: so the names below load
the module behind them when they are first used.
"""

from __future__ import annotations

TYPE_CHECKING = False  # importing it from typing would cost a third of a start
if TYPE_CHECKING:
    from lumen_box.launcher.helper import (
        Helper,
        HelperCrashed,
        HelperOverflow,
        HelperRefused,
        HelperTimeout,
        run_helper,
    )
    from lumen_box.launcher.process import Child, Launcher, confinement_available, start
    from lumen_box.launcher.program import Confinement, Limits, Program

__all__ = [
    "Child",
    "Confinement",
    "Helper",
    "HelperCrashed",
    "HelperError",
    "HelperOverflow",
    "HelperRefused",
    "HelperTimeout",
    "Launcher",
    "Limits",
    "Program",
    "confinement_available",
    "run_helper",
    "start",
]

_ELSEWHERE = {"Confinement": "program", "Limits": "program", "Program": "program"} | dict.fromkeys(
    ("Child", "Launcher", "confinement_available", "start"), "process"
)


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_ELSEWHERE.get(name, 'helper')}"), name)
