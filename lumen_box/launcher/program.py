"""What is to be started, what it may use up, and what holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Limits:
    """Resource limits of a program; the kernel enforces them (setrlimit(2)).

    Attributes:
        memory_bytes: address space, or None: a limit of addresses does not suit weights mapped in many ways.
        cpu_seconds: processor time after which the kernel kills it, or None.
        open_files: open descriptors.
        processes: threads, since a program may never fork. Not enforced by the kernel where the starter is the real
            root, and not set before Linux 5.14, where the count is the user's and not the sandbox's.
        file_bytes: the largest file it may write; 0 means that even a writable file stays empty.
        scratch_bytes: size of a private tmpfs on /tmp; 0 means that there is none. Needs namespaces.
    """

    memory_bytes: int | None = None
    cpu_seconds: int | None = None
    open_files: int = 256
    processes: int = 256
    file_bytes: int = 0
    scratch_bytes: int = 0


@dataclass(frozen=True)
class Program:
    """A Python module to run as ``python -m module args… --control FD`` with nothing else in reach.

    Attributes:
        module: its dotted name, run by the interpreter of the caller.
        args: its arguments.
        packages: folders of import packages that the module needs beside ``lumen_box``, its own top-level package
            and the site-packages of the caller; of a package's surroundings nothing is shown.
        readable: files and folders shown to it read-only, at their real paths (symbolic links resolved).
        devices: device files it may read, write and ioctl, such as those of a GPU.
        limits: what it may use up.
        environment: variables added to the few it always gets.
    """

    module: str
    args: tuple[str, ...] = ()
    packages: tuple[Path, ...] = ()
    readable: tuple[Path, ...] = ()
    devices: tuple[Path, ...] = ()
    limits: Limits = field(default_factory=Limits)
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Confinement:
    """What holds a program, or what is required to.

    Attributes:
        namespaces: user, mount, network, pid, ipc, uts and cgroup namespaces of its own.
        landlock: the Landlock ABI in force, 0 for none.
        seccomp: a system call filter.
        reason: why something is missing, as a sentence; empty when all are in force.
    """

    namespaces: bool = False
    landlock: int = 0
    seccomp: bool = False
    reason: str = ""

    def __str__(self) -> str:
        """For a person: ``namespaces, Landlock 7, seccomp``, and why something is missing."""
        parts = [
            ("namespaces", self.namespaces),
            (f"Landlock {self.landlock}", self.landlock > 0),
            ("seccomp", self.seccomp),
        ]
        names = ", ".join(name for name, there in parts if there) or "nothing"
        return f"{names} ({self.reason.rstrip('.')})" if self.reason else names
