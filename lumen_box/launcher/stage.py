"""Between the starter and the program: takes everything away, then becomes the program.

Two processes come out of it. The *monitor* is the starter's child and stays outside: it does nothing but wait, kills
the program when the starter closes the lifeline (or dies, which closes it too), and ends with the program's status.
The program is process 1 of its pid namespace and dies with the monitor.

The program runs in the interpreter of this stage, which was executed outside of all namespaces, and not in one that is
executed inside. For memory belongs to the user namespace that it was executed in, and the user who makes a namespace
may look into whatever belongs to it, dumpable or not: so every process of the box's user could read the weights.

What it tells the starter goes over the status pipe, a line each, and the pipe closes when the program begins:

    pid N              the program, as the starter sees it
    refused WHY        namespaces cannot be had; nothing was begun
    failed WHY         something else went wrong; nothing was begun
    weak A S           Landlock ABI A and seccomp filter S (0 or 1) are less than asked for; nothing was begun
    held A S           confined by Landlock ABI A and seccomp filter S

This module is imported at every start: nothing heavier than ctypes.
"""

from __future__ import annotations

import errno
import fcntl
import marshal
import os
import resource
import select

from lumen_box.launcher import kernel, landlock, namespaces, seccomp

TYPE_CHECKING = False  # importing it from typing would cost a third of a start
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

CONTROL = 3  # the descriptor of the control socket in the program
_DESCRIPTORS = 1 << 16  # more than the starter has passed on

# How kernels say that namespaces cannot be had: forbidden, none left, or not built in. Anything else is a failure.
_REFUSALS = (errno.EPERM, errno.EACCES, errno.ENOSPC, errno.EUSERS, errno.EINVAL, errno.ENOSYS)


def main(status: int, lifeline: int, control: int) -> dict[str, Any]:
    """Follows the plan on standard input (marshal, from our own starter); the descriptors are those inherited.

    Returns the plan in the process that is now confined and is to run its program; the monitor does not return.
    """
    plan: dict[str, Any] = marshal.load(os.fdopen(0, "rb", closefd=False))  # noqa: S302 - our own starter wrote it
    status, lifeline, control = (_out_of_the_way(number) for number in (status, lifeline, control))
    if plan["namespaces"]:
        _or_say_refused(status, namespaces.enter_user_and_pid)
    pid = os.fork()
    if pid == 0:
        _become(plan, status, control)
        return plan
    os.close(control)
    _say(status, f"pid {pid}")
    os.close(status)
    _monitor(pid, lifeline)


def _out_of_the_way(number: int) -> int:
    """The same open file above the numbers that the program gets."""
    moved = fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, CONTROL + 1)
    os.close(number)
    return moved


def _or_say_refused(status: int, enter: Callable[..., None], *args: object) -> None:
    try:
        enter(*args)
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        _say(status, f"refused {error.strerror}")
        os._exit(1)


def _say(status: int, line: str) -> None:
    os.write(status, line.replace("\n", " ").encode() + b"\n")


def _monitor(pid: int, lifeline: int) -> NoReturn:
    poll = select.poll()
    poll.register(os.pidfd_open(pid), select.POLLIN)
    poll.register(lifeline, select.POLLIN | select.POLLHUP)
    ready = {descriptor for descriptor, _ in poll.poll()}
    if lifeline in ready:
        os.kill(pid, kernel.SIGKILL)
    _, how = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(how)
    if code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if -code != kernel.SIGKILL:
            kernel.default_signal(-code)
        os.kill(os.getpid(), -code)
    os._exit(code if code >= 0 else 128 - code)


def _become(plan: dict[str, Any], status: int, control: int) -> None:
    """Confines this process. Returns with nothing open but a null input, the outputs and the control socket."""
    try:
        kernel.die_with_parent(kernel.SIGKILL)
        _volunteer_for_out_of_memory()
        _null_input()
        if plan["namespaces"]:
            what = (plan["binds"], plan["links"], plan["devices"], plan["scratch"])
            _or_say_refused(status, namespaces.enter_the_rest, *what)
        os.chdir("/")
        os.umask(0o077)
        _limit(plan["limits"])
        kernel.drop_capabilities()
        held = _hold(plan)
        enough = all(have >= least for have, least in zip(held, plan["least"], strict=True))
        _say(status, f"{'held' if enough else 'weak'} {held[0]} {held[1]}")
        if not enough:
            os._exit(1)
        os.dup2(control, CONTROL, inheritable=False)
        os.closerange(CONTROL + 1, _DESCRIPTORS)
    except BaseException as error:
        _say(status, f"failed {error}")
        os._exit(1)


def _volunteer_for_out_of_memory() -> None:
    """When memory runs out the program goes before its starter; a kernel that will not hear of it changes nothing."""
    try:
        descriptor = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
        os.write(descriptor, b"500")
        os.close(descriptor)
    except OSError:
        return


def _null_input() -> None:
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)


def _limit(limits: dict[int, int]) -> None:
    for which, value in {resource.RLIMIT_CORE: 0, **limits}.items():
        hard = resource.getrlimit(which)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (value, value))


def _hold(plan: dict[str, Any]) -> tuple[int, int]:
    kernel.set_no_new_privileges()
    proc = ["/proc"] if plan["namespaces"] else []
    scratch = ["/tmp"] if plan["scratch"] and plan["namespaces"] else []  # noqa: S108 - the private one
    devices = [*namespaces.HARMLESS_DEVICES, *plan["devices"]]
    version = landlock.restrict([*plan["binds"], *proc], plan["roots"], devices, scratch)
    filtered = seccomp.supported()
    if filtered:
        seccomp.install(seccomp.first_filter(os.getpid(), kernel.machine(), scratch=bool(scratch)))
    return version, int(filtered)
