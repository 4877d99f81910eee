"""A network namespace with no way out, made without any tool but the kernel.

Inside there is one interface, the loopback. Whatever asks for another address is refused by the kernel, which also
counts it, for every process and in any language: :func:`attempts` reads those counters. Name servers and the sockets
of resolver services are replaced, so that a name cannot be looked up through somebody who has stayed outside.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET = 0x00020000, 0x10000000, 0x40000000
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
SIOCSIFFLAGS, IFF_UP, IFF_RUNNING = 0x8914, 0x1, 0x40
NOWHERE = "192.0.2.1"  # TEST-NET-1 of RFC 5737: belongs to nobody
RESOLV_CONF = Path(__file__).with_name("resolv.conf")
RESOLVERS = ("/run/systemd/resolve", "/run/nscd", "/var/run/nscd")
UNREACHABLE = (errno.ENETUNREACH, errno.EHOSTUNREACH)


class CannotIsolate(Exception):
    """The kernel refuses namespaces; the words say which step."""


def enter() -> None:
    """Moves this process, which must have one thread only, and its children to come into a namespace of their own.

    Raises:
        CannotIsolate: the kernel refuses it, or there is still a way out afterwards.
    """
    _unshare()
    _step("making mounts private", lambda: _mount("none", "/", MS_REC | MS_PRIVATE))
    _step("raising the loopback", _raise_loopback)
    _step("replacing the name servers", _replace_resolvers)
    if not is_isolated() or _reaches(NOWHERE):
        raise CannotIsolate("there is still a way out of the namespace")


def is_isolated() -> bool:
    """Whether the loopback is the only interface here."""
    lines = Path("/proc/self/net/dev").read_text().splitlines()[2:]
    return {line.split(":")[0].strip() for line in lines} == {"lo"}


def attempts() -> int:
    """How often anything in this namespace has asked for an address that it has no route to, since it was made."""
    return _counter("/proc/self/net/snmp", "Ip:", "OutNoRoutes") + _counter6("/proc/self/net/snmp6", "Ip6OutNoRoutes")


def _counter(path: str, group: str, name: str) -> int:
    lines = [line.split() for line in Path(path).read_text().splitlines() if line.startswith(group)]
    return int(dict(zip(lines[0], lines[1], strict=True))[name])


def _counter6(path: str, name: str) -> int:
    if not Path(path).exists():  # a kernel without IPv6
        return 0
    return int(dict(line.split() for line in Path(path).read_text().splitlines())[name])


def _unshare() -> None:
    """Root needs no user namespace; anybody else gets one in which they are who they were."""
    uid, gid = os.getuid(), os.getgid()
    if uid == 0 and _libc("unshare", CLONE_NEWNET | CLONE_NEWNS) == 0:
        return
    if _libc("unshare", CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS) != 0:
        raise CannotIsolate("the kernel refuses user namespaces to this user")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP | IFF_RUNNING))


def _replace_resolvers() -> None:
    """A name server that is nowhere, so that asking it is counted; empty folders where resolver services listen."""
    if Path("/etc/resolv.conf").exists():
        _mount(str(RESOLV_CONF), "/etc/resolv.conf", MS_BIND)
    for folder in RESOLVERS:
        if Path(folder).is_dir():
            _mount("none", folder, 0, kind="tmpfs")


def _reaches(address: str) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, 53))
        except OSError as error:
            return error.errno not in UNREACHABLE
    return True


def _step(what: str, act: Callable[[], None]) -> None:
    try:
        act()
    except OSError as error:
        raise CannotIsolate(f"{what}: {error.strerror}") from error


def _mount(source: str, target: str, flags: int, *, kind: str = "none") -> None:
    if _libc("mount", source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), None) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _libc(function: str, *arguments: object) -> int:
    library = ctypes.CDLL(None, use_errno=True)
    return int(getattr(library, function)(*arguments))
