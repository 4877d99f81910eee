"""A system call filter (seccomp(2), classic BPF) for x86-64 and aarch64.

It refuses, with EPERM, what no confined program has business with: new sockets of any family, new processes, looking
into or signalling other processes, mounts and namespaces, kernel modules, keys, BPF, memory files. Calls that reach
sockets by a detour (io_uring) or hide their arguments from a filter (clone3) are refused too; clone3 with ENOSYS, for
which the C library falls back on clone. Anything else is left to namespaces, Landlock and the missing capabilities.

The decision hangs on number and architecture alone for all but five calls, so that the kernel can remember it.
"""

from __future__ import annotations

import ctypes
import errno
import struct

from lumen_box.launcher import kernel

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32_BIT = 0x40000000  # the x86-64 filter also sees calls of the x32 ABI, under other numbers

# name: number on x86-64, number on aarch64; 0 where it does not exist.
_REFUSED = {
    # other processes
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "kcmp": (312, 272),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "move_pages": (279, 239),
    "migrate_pages": (256, 238),
    "fork": (57, 0),
    "vfork": (58, 0),
    # sockets; a pair of Unix sockets is allowed below
    "socket": (41, 198),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    # memory that outlives a look at the file system
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
    "userfaultfd": (323, 282),
    # the view of the file system
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_tree_attr": (467, 467),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "unshare": (272, 97),
    "setns": (308, 268),
    # the kernel
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "reboot": (169, 142),
    "acct": (163, 89),
    "syslog": (103, 116),
    "lookup_dcookie": (212, 18),
    "nfsservctl": (180, 42),
    "vhangup": (153, 58),
    "personality": (135, 92),
    "iopl": (172, 0),
    "ioperm": (173, 0),
    "modify_ldt": (154, 0),
    "uselib": (134, 0),
    "ustat": (136, 0),
    "sysfs": (139, 0),
    "_sysctl": (156, 0),
    "create_module": (174, 0),
    "get_kernel_syms": (177, 0),
    "query_module": (178, 0),
    # time and names of the machine
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
}
# Owners, modes, times and attributes of files: Landlock does not guard them, so a program without a folder to write in
# may not change them anywhere.
_REFUSED_WITHOUT_SCRATCH = {
    "chmod": (90, 0),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, 0),
    "fchown": (93, 55),
    "lchown": (94, 0),
    "fchownat": (260, 54),
    "utime": (132, 0),
    "utimes": (235, 0),
    "futimesat": (261, 0),
    "utimensat": (280, 88),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "setxattrat": (463, 463),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "removexattrat": (466, 466),
    "file_setattr": (469, 469),
}
_CLONE, _SOCKETPAIR, _KILL, _TGKILL, _PRLIMIT = (56, 220), (53, 199), (62, 129), (234, 131), (302, 261)
_EXECVE, _EXECVEAT, _PRCTL = (59, 221), (322, 281), (157, 167)
_CLONE3 = 435

_CLONE_THREAD = 0x00010000
_AF_UNIX = 1
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4

_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data; the low word of the argument
_ALLOW, _ERRNO, _KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
_REFUSE = _ERRNO | errno.EPERM

_Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, operand


def supported() -> bool:
    return kernel.machine() in _AUDIT_ARCH


def first_filter(own_pid: int, machine: str, *, scratch: bool) -> bytes:
    """The filter that the stage installs before it becomes the program, for a processor of ``supported`` kind."""
    program = _start(machine)
    for numbers in (*_REFUSED.values(), *(() if scratch else _REFUSED_WITHOUT_SCRATCH.values())):
        program += _refuse(_of(numbers, machine))
    program += _refuse(_CLONE3, errno.ENOSYS)
    # Threads only. A thread cannot get a new user namespace, and without one there is no right to the other kinds.
    program += _first_argument(_of(_CLONE, machine), (_JUMP_BITS, _CLONE_THREAD))
    program += _first_argument(_of(_SOCKETPAIR, machine), (_JUMP_EQUAL, _AF_UNIX))
    for numbers in (_KILL, _TGKILL):
        program += _first_argument(_of(numbers, machine), (_JUMP_EQUAL, own_pid))
    program += _first_argument(_of(_PRLIMIT, machine), (_JUMP_EQUAL, 0), (_JUMP_EQUAL, own_pid))
    return _packed([*program, _return(_ALLOW)])


def second_filter(machine: str) -> bytes:
    """The filter that the program adds once it runs: no other program, and no way back to dumpable."""
    program = _start(machine) + _refuse(_of(_EXECVE, machine)) + _refuse(_of(_EXECVEAT, machine))
    options = (_JUMP_EQUAL, _PR_SET_PDEATHSIG), (_JUMP_EQUAL, _PR_SET_DUMPABLE)
    program += _first_argument(_of(_PRCTL, machine), *options, met=_REFUSE)
    return _packed([*program, _return(_ALLOW)])


def _of(numbers: tuple[int, int], machine: str) -> int:
    return numbers[0] if machine == "x86_64" else numbers[1]


def _return(value: int) -> _Instruction:
    return (_RETURN, 0, 0, value)


def _start(machine: str) -> list[_Instruction]:
    program = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_JUMP_EQUAL, 1, 0, _AUDIT_ARCH[machine]),
        _return(_KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER),
    ]
    if machine == "x86_64":
        program += [(_JUMP_AT_LEAST, 0, 1, _X32_BIT), _return(_REFUSE)]
    return program


def _refuse(number: int, error: int = errno.EPERM) -> list[_Instruction]:
    return [(_JUMP_EQUAL, 0, 1, number), _return(_ERRNO | error)] if number else []


def _first_argument(number: int, *tests: tuple[int, int], met: int = _ALLOW) -> list[_Instruction]:
    """If the call is ``number``: ``met`` when its first argument passes one of the tests, otherwise the opposite."""
    missed = _REFUSE if met == _ALLOW else _ALLOW
    body: list[_Instruction] = [(_LOAD, 0, 0, _FIRST_ARGUMENT)]
    for code, operand in tests:
        body += [(code, 0, 1, operand), _return(met)]
    body.append(_return(missed))
    return [(_JUMP_EQUAL, 0, len(body), number), *body]


def _packed(program: list[_Instruction]) -> bytes:
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def install(program: bytes) -> None:
    """Puts the filter on this process for ever; no_new_privs must be set."""
    set_seccomp, mode_filter = 22, 2
    buffer = ctypes.create_string_buffer(program, len(program))
    header = ctypes.create_string_buffer(struct.pack("=H6xQ", len(program) // 8, ctypes.addressof(buffer)))
    kernel.prctl("prctl SECCOMP", set_seccomp, mode_filter, ctypes.addressof(header))
