"""Landlock: the process may read what it is shown, write to its devices, and nothing else (landlock(7)).

Works without namespaces as well, and there it is what keeps files out of reach. Handles every right that the running
kernel knows: files since ABI 1, TCP since 4, ioctl of devices since 5, abstract sockets and signals since 6.
"""

# The stage starts without pathlib, whose import would cost more than all of this module.
# ruff: noqa: PTH112

from __future__ import annotations

import os
import struct

from lumen_box.launcher import kernel

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_RULE_PATH_BENEATH = 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_TRUNCATE, _IOCTL_DEV = 1 << 14, 1 << 15
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_DEVICE = _READ_FILE | _WRITE_FILE | _IOCTL_DEV
_ALL_TCP = 0b11  # bind, connect
_ALL_SCOPES = 0b11  # abstract Unix sockets, signals


def abi() -> int:
    """The kernel's Landlock ABI, 0 where there is none or it is switched off."""
    try:
        return kernel.syscall("landlock", _CREATE_RULESET, None, 0, 1)
    except OSError:
        return 0


def _all_file_rights(version: int) -> int:
    bits = 13 + (version >= 2) + (version >= 3) + (version >= 5)  # refer, truncate, ioctl came later
    return (1 << bits) - 1


def restrict(readable: list[str], listable: list[str], devices: list[str], writable: list[str]) -> int:
    """Restricts this process for ever; no_new_privs must be set.

    Args:
        readable: files and folders to read.
        listable: folders in which names may be listed, as Python does to import a package that lies there.
        devices: device files to read, write and ioctl.
        writable: folders to do anything in.

    Returns:
        the ABI in force; 0 where the kernel has no Landlock, and then nothing has changed.
    """
    version = abi()
    if not version:
        return 0
    handled = _all_file_rights(version)
    words = [handled] + [_ALL_TCP] * (version >= 4) + [_ALL_SCOPES] * (version >= 6)
    attributes = struct.pack(f"={len(words)}Q", *words)
    rules = kernel.syscall("landlock_create_ruleset", _CREATE_RULESET, attributes, len(attributes), 0)
    granted = (readable, _READ), (listable, _READ_DIR), (devices, _DEVICE), (writable, handled & ~_EXECUTE)
    try:
        for paths, rights in granted:
            for path in paths:
                _allow(rules, path, rights & handled)
        kernel.syscall("landlock_restrict_self", _RESTRICT_SELF, rules, 0)
    finally:
        os.close(rules)
    return version


def _allow(rules: int, path: str, rights: int) -> None:
    beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = struct.pack("=Qi", rights if os.path.isdir(path) else rights & _OF_FILES, beneath)
        kernel.syscall(f"landlock_add_rule {path}", _ADD_RULE, rules, _RULE_PATH_BENEATH, rule, 0)
    finally:
        os.close(beneath)
