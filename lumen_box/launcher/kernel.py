"""The system calls that Python 3.11 does not offer, one function each; every one raises OSError with its own name.

Numbers and structures are those of the Linux user-space interface (little-endian, 64 bit).
"""

from __future__ import annotations

import ctypes
import os
import struct

_LIBC = ctypes.CDLL(None, use_errno=True)
_AT_FDCWD = -100

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 32, 4096, 16384, 1 << 18
MNT_DETACH = 2
SIGKILL = 9  # as in the module signal, which would load enum

_SYS_OPEN_TREE, _SYS_MOVE_MOUNT, _SYS_MOUNT_SETATTR = 428, 429, 442  # the same number everywhere

_PR_SET_PDEATHSIG, _PR_GET_DUMPABLE, _PR_SET_DUMPABLE, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 3, 4, 24, 38
_LAST_CAPABILITY = 63


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def machine() -> str:
    return os.uname().machine


def syscall(what: str, number: int, *args: int | bytes | None) -> int:
    """Calls ``syscall(2)``; integers go as 64-bit words, bytes as pointers to them."""
    words = [ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args]
    return _check(_LIBC.syscall(ctypes.c_long(number), *words), what)


def unshare(flags: int) -> None:
    _check(_LIBC.unshare(ctypes.c_int(flags)), "unshare")


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    result = _LIBC.mount(
        os.fsencode(source), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags), options.encode() or None
    )
    _check(result, f"mount {target}")


def umount(target: str) -> None:
    _check(_LIBC.umount2(os.fsencode(target), MNT_DETACH), f"umount {target}")


def pivot_root(new: str, old: str) -> None:
    _check(_LIBC.pivot_root(os.fsencode(new), os.fsencode(old)), "pivot_root")


def bind(source: str, target: str, attributes: int) -> None:
    """Shows the whole tree ``source`` at ``target``, with mount attributes on every mount below it.

    ``mount_setattr(2)`` (Linux 5.12) is used since it only ever adds attributes: a classic remount has to repeat those
    that a user namespace may not take away, mount by mount.
    """
    clone, recursive, empty_path, move_empty_path = 1, 0x8000, 0x1000, 4
    tree = syscall(
        f"open_tree {source}",
        _SYS_OPEN_TREE,
        _AT_FDCWD,
        os.fsencode(source),
        clone | recursive | os.O_CLOEXEC,
    )
    try:
        packed = struct.pack("=QQQQ", attributes, 0, 0, 0)
        syscall("mount_setattr", _SYS_MOUNT_SETATTR, tree, b"", empty_path | recursive, packed, len(packed))
        syscall(f"move_mount {target}", _SYS_MOVE_MOUNT, tree, b"", _AT_FDCWD, os.fsencode(target), move_empty_path)
    finally:
        os.close(tree)


def set_host_name(name: bytes) -> None:
    _check(_LIBC.sethostname(name, ctypes.c_size_t(len(name))), "sethostname")


def prctl(what: str, option: int, argument: int = 0, second: int = 0) -> int:
    words = [ctypes.c_ulong(word) for word in (argument, second, 0, 0)]
    return _check(_LIBC.prctl(ctypes.c_int(option), *words), what)


def die_with_parent(signal_number: int) -> None:
    prctl("prctl PDEATHSIG", _PR_SET_PDEATHSIG, signal_number)


def default_signal(number: int) -> None:
    """Lets the signal do what it does by default; Python ignores some."""
    _LIBC.signal(ctypes.c_int(number), None)


def set_undumpable() -> None:
    """No core dump, no ptrace by peers, and /proc/<pid> belongs to root."""
    if prctl("prctl DUMPABLE", _PR_GET_DUMPABLE):  # the second filter allows no setting, not even to the same
        prctl("prctl DUMPABLE", _PR_SET_DUMPABLE, 0)


def set_no_new_privileges() -> None:
    prctl("prctl NO_NEW_PRIVS", _PR_SET_NO_NEW_PRIVS, 1)


def drop_capabilities() -> None:
    """Empties the bounding set as far as allowed, then every capability set of this process."""
    for capability in range(_LAST_CAPABILITY + 1):
        try:
            prctl("prctl CAPBSET_DROP", _PR_CAPBSET_DROP, capability)
        except OSError:  # past the last one this kernel knows, or not allowed: then there is nothing to bound
            break
    version_3 = 0x20080522
    _check(_LIBC.capset(struct.pack("=Ii", version_3, 0), bytes(24)), "capset")
