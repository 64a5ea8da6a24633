"""Becomes a server: a script that gives up root, ties itself to its parent and executes the server's binary.

Arguments: the parent's process id, the user id, the group id, then the server's command line. It runs on the
standard library alone (`python -I -S`), because the user it changes to may not be able to read anything else.

A parent that is killed cannot stop its servers, so the kernel is asked to (`PR_SET_PDEATHSIG`, prctl(2)). This stands
after the change of user, which clears the request, and holds over the exec, which does not. An exec keeps ignored and
blocked signals too: in a shell's background job that is SIGINT, and the kernel's word would be lost.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def become_server(parent_pid: int, uid: int, gid: int, command: list[str]) -> None:
    """Replace this process by the server; return only when the parent has already gone.

    Raises:
        OSError: The user cannot be changed, or the binary cannot be executed.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() != uid:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent_pid:
        return
    os.umask(0o077)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.execv(command[0], command)  # noqa: S606 - an exec without a shell is the purpose


if __name__ == "__main__":
    become_server(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
