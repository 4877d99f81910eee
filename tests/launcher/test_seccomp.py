"""The filters, evaluated here as the kernel would: both processors, since only one is under the tests."""

from __future__ import annotations

import errno
import struct

import pytest

from lumen_box.launcher import seccomp

ALLOW, KILL, EPERM, ENOSYS = 0x7FFF0000, 0x80000000, 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS
X86, ARM = ("x86_64", 0xC000003E), ("aarch64", 0xC00000B7)
PID = 41


def evaluate(program: bytes, architecture: int, number: int, argument: int = 0) -> int:
    """Runs classic BPF (the few instructions in use) on one ``struct seccomp_data``."""
    data = struct.pack("=iIQ6Q", number, architecture, 0, argument, 0, 0, 0, 0, 0)
    instructions = list(struct.iter_unpack("=HBBI", program))
    at, accumulator = 0, 0
    while True:
        code, yes, no, operand = instructions[at]
        at += 1
        match code:
            case 0x20:
                accumulator = struct.unpack_from("=I", data, operand)[0]
            case 0x15:
                at += yes if accumulator == operand else no
            case 0x35:
                at += yes if accumulator >= operand else no
            case 0x45:
                at += yes if accumulator & operand else no
            case 0x06:
                return int(operand)
            case _:
                raise AssertionError(f"instruction {code:#x}")


# name, number on x86-64 and aarch64 as in the kernel's tables, first argument, what the first filter says
CALLS = [
    ("read", (0, 63), 0, ALLOW),
    ("write", (1, 64), 1, ALLOW),
    ("futex", (202, 98), 0, ALLOW),
    ("mmap", (9, 222), 0, ALLOW),
    ("openat", (257, 56), 0, ALLOW),
    ("recvmsg", (47, 212), 3, ALLOW),
    ("sched_setaffinity", (203, 122), 0, ALLOW),
    ("execve", (59, 221), 0, ALLOW),
    ("socket", (41, 198), 1, EPERM),
    ("socket", (41, 198), 2, EPERM),
    ("socketpair", (53, 199), 1, ALLOW),
    ("socketpair", (53, 199), 2, EPERM),
    ("ptrace", (101, 117), 0, EPERM),
    ("mount", (165, 40), 0, EPERM),
    ("unshare", (272, 97), 0, EPERM),
    ("memfd_create", (319, 279), 0, EPERM),
    ("io_uring_setup", (425, 425), 0, EPERM),
    ("clone of a thread", (56, 220), 0x003D0F00, ALLOW),
    ("clone of a process", (56, 220), 17, EPERM),
    ("clone like vfork", (56, 220), 0x4100 | 17, EPERM),
    ("clone with a user namespace", (56, 220), 0x10000000 | 17, EPERM),
    ("clone3", (435, 435), 0, ENOSYS),
    ("kill of itself", (62, 129), PID, ALLOW),
    ("kill of another", (62, 129), 1, EPERM),
    ("kill of all", (62, 129), 0xFFFFFFFFFFFFFFFF, EPERM),
    ("kill of its group", (62, 129), 0, EPERM),
    ("tgkill of itself", (234, 131), PID, ALLOW),
    ("tgkill of another", (234, 131), PID + 1, EPERM),
    ("prlimit of itself", (302, 261), 0, ALLOW),
    ("prlimit of another", (302, 261), 1, EPERM),
    ("fchmodat", (268, 53), 0, EPERM),
]


@pytest.mark.parametrize(("machine", "architecture"), [X86, ARM], ids=["x86-64", "aarch64"])
@pytest.mark.parametrize(("name", "numbers", "argument", "outcome"), CALLS, ids=[call[0] for call in CALLS])
def test_the_first_filter(
    machine: str, architecture: int, name: str, numbers: tuple[int, int], argument: int, outcome: int
) -> None:
    program = seccomp.first_filter(PID, machine, scratch=False)
    assert evaluate(program, architecture, numbers[machine == "aarch64"], argument) == outcome


@pytest.mark.parametrize(("machine", "architecture"), [X86, ARM], ids=["x86-64", "aarch64"])
def test_a_program_with_scratch_may_change_modes_there(machine: str, architecture: int) -> None:
    program = seccomp.first_filter(PID, machine, scratch=True)
    assert evaluate(program, architecture, 268 if machine == "x86_64" else 53) == ALLOW


@pytest.mark.parametrize(
    "filter_", [seccomp.first_filter(PID, "x86_64", scratch=False), seccomp.second_filter("x86_64")]
)
def test_calls_under_another_architecture_do_not_slip_through(filter_: bytes) -> None:
    i386 = 0x40000003
    assert evaluate(filter_, i386, 102) == KILL  # socketcall
    assert evaluate(filter_, X86[1], 0x40000000 | 41) == EPERM  # socket of the x32 ABI
    assert evaluate(filter_, X86[1], -1 & 0x7FFFFFFF) == EPERM


@pytest.mark.parametrize(("machine", "architecture"), [X86, ARM], ids=["x86-64", "aarch64"])
def test_the_second_filter(machine: str, architecture: int) -> None:
    program = seccomp.second_filter(machine)
    on_arm = machine == "aarch64"
    for execve in ((59, 221), (322, 281)):
        assert evaluate(program, architecture, execve[on_arm]) == EPERM
    prctl = (157, 167)[on_arm]
    options = {1: EPERM, 3: ALLOW, 4: EPERM, 15: ALLOW, 38: ALLOW}
    assert {option: evaluate(program, architecture, prctl, option) for option in options} == options


def test_a_filter_fits_the_kernel() -> None:
    for machine in ("x86_64", "aarch64"):
        assert len(seccomp.first_filter(PID, machine, scratch=False)) // 8 < 4096
