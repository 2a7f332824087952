"""Cleans up after a harness that was killed with -9.

The kernel ends the harness's own children then (see processes.spawn), but not the processes that those
had started, and not the temporary folders. So the harness starts this file as a process of its own,
which reads its standard input until the harness closes it or dies.
"""

import os
import shutil
import signal
import subprocess
import sys
import time

PATIENCE = 10  # seconds between a process group's signal and SIGKILL

PROCESS = None


# The harness's end of the pipe.


def begin():
    global PROCESS
    PROCESS = subprocess.Popen(
        [sys.executable, "-I", "-S", __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
        bufsize=0,
    )


def end():
    PROCESS.stdin.close()
    PROCESS.wait()


def watch(group, death_signal):
    tell("watch", group, int(death_signal))


def forget(group):
    # An ended process's id can belong to a stranger soon.
    tell("forget", group)


def remove(folder):
    tell("remove", folder)


def tell(*words):
    try:
        PROCESS.stdin.write((" ".join(map(str, words)) + "\n").encode())
    except OSError:
        pass  # someone killed the guard; all works without it, only less tidily


# What both ends use.


def send(group, number):
    """Signals a process group, which may have ended already."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        pass


def is_alive(group):
    """Whether the process group has a member that is more than a zombie."""
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat") as file:
                # The name before the last bracket may hold anything, spaces too.
                state, _, its_group = file.read().rpartition(")")[2].split()[:3]
        except OSError:
            continue  # it ended meanwhile
        if int(its_group) == group and state != "Z":
            return True
    return False


# The guard's own end.


def main():
    groups, folders = {}, []
    for line in sys.stdin:
        what, _, rest = line.rstrip("\n").partition(" ")
        if what == "watch":
            group, number = map(int, rest.split())
            groups[group] = number
        elif what == "forget":
            groups.pop(int(rest), None)
        elif what == "remove":
            folders.append(rest)
    for group, number in groups.items():
        send(group, number)
    deadline = time.monotonic() + PATIENCE
    while any(is_alive(group) for group in groups) and time.monotonic() < deadline:
        time.sleep(0.05)
    for group in groups:
        send(group, signal.SIGKILL)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
