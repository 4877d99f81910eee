"""A world of its own: user, mount, network, pid, ipc, uts and cgroup namespaces around a read-only root.

The root is a small tmpfs in which only what the plan names exists: read-only binds, a few harmless devices, a fresh
``/proc`` of the new pid namespace. Everything else of the machine has no name in there.

Works for root, for an ordinary user, and inside another user namespace: all it needs is that the kernel grants
``CLONE_NEWUSER`` and, for the binds, ``mount_setattr(2)`` (Linux 5.12).
"""

# The stage starts without pathlib, whose import would cost more than all of this module.
# ruff: noqa: PTH102, PTH103, PTH106, PTH112, PTH120, PTH211

from __future__ import annotations

import os

from lumen_box.launcher import kernel

INNER_ID = 1000  # not 0: capabilities then do not come back on exec
HARMLESS_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_BASES = ("/tmp", "/run", "/var", "/mnt")  # noqa: S108 - any folder will do, as a place to hang the new root on
_OLD = "/.old"


def enter_user_and_pid() -> None:
    """Enters a new user namespace; the next child will be process 1 of a new pid namespace."""
    user, group = os.geteuid(), os.getegid()
    kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWPID)
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{INNER_ID} {user} 1")
    _write("/proc/self/gid_map", f"{INNER_ID} {group} 1")


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def enter_the_rest(binds: list[str], links: list[tuple[str, str]], devices: list[str], scratch_bytes: int) -> None:
    """Enters the other namespaces and changes the root; call it in process 1 of the new pid namespace.

    Args:
        binds: files and folders to show read-only; none lies below another.
        links: symbolic links of the root folder as (path, target).
        devices: device files to show beside the harmless ones.
        scratch_bytes: size of a writable ``/tmp``; 0 for none.
    """
    kernel.unshare(
        kernel.CLONE_NEWNS | kernel.CLONE_NEWNET | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS | kernel.CLONE_NEWCGROUP
    )
    kernel.set_host_name(b"sandbox")
    _new_root()
    if scratch_bytes:
        _mount_scratch(scratch_bytes)  # first, since something shown may lie in the caller's /tmp
    read_only = kernel.MS_RDONLY | kernel.MS_NOSUID | kernel.MS_NODEV
    for path in binds:
        _show(path, read_only)
    for device in [*HARMLESS_DEVICES, *devices]:
        _show(device, kernel.MS_NOSUID | kernel.MS_NOEXEC)
    for path, target in links:
        os.symlink(target, path)
    _mount_proc(everything=bool(devices))
    kernel.umount(_OLD)
    os.rmdir(_OLD)
    kernel.mount("", "/", "", kernel.MS_REMOUNT | kernel.MS_BIND | read_only | kernel.MS_NOEXEC)


def _new_root() -> None:
    base = next(folder for folder in _BASES if os.path.isdir(folder))
    kernel.mount("", "/", "", kernel.MS_REC | kernel.MS_PRIVATE)
    kernel.mount("tmpfs", base, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=0755,size=1m")
    os.mkdir(base + _OLD, 0o755)
    os.umask(0o022)
    os.chdir(base)
    kernel.pivot_root(".", "." + _OLD)
    os.chdir("/")


def _mount_scratch(size: int) -> None:
    os.mkdir("/tmp", 0o700)  # noqa: S108 - the private one
    flags = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
    kernel.mount("tmpfs", "/tmp", "tmpfs", flags, f"mode=0700,size={size}")  # noqa: S108


def _show(path: str, attributes: int) -> None:
    source = _OLD + path
    if os.path.isdir(source):
        os.makedirs(path, 0o755, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
    kernel.bind(source, path, attributes)


def _mount_proc(everything: bool) -> None:
    """The processes of this pid namespace; the machine's own files there only for a driver, which reads them."""
    os.mkdir("/proc", 0o555)
    flags = kernel.MS_RDONLY | kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
    try:
        kernel.mount("proc", "/proc", "proc", flags, "" if everything else "subset=pid")
    except OSError:  # before Linux 5.8 there are no subsets
        kernel.mount("proc", "/proc", "proc", flags)
