"""Starting processes so that none outlives the harness."""

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path

import guard

SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG in <sys/prctl.h>
C_LIBRARY = ctypes.CDLL(None)


# A process with this death signal is left alone for some seconds, to finish by itself.
LET_IT_FINISH = 0


class Failure(Exception):
    """Something the user has to read; it is printed without a traceback."""


def report(line):
    # Standard output belongs to COMMAND.
    print(line, file=sys.stderr, flush=True)


def spawn(command, death_signal=signal.SIGKILL, **options):
    """Starts a process that receives death_signal when the harness dies, however it dies.

    The kernel watches the thread that forked, so this is called from the main thread only;
    that is why the harness waits with asyncio and has no threads.
    Its own session keeps a Ctrl-C of the terminal away: the harness decides the order of stopping.
    """
    harness = os.getpid()

    def bind_to_harness():
        # After the change of user, which would clear the setting again.
        C_LIBRARY.prctl(SET_DEATH_SIGNAL, int(death_signal), 0, 0, 0)
        if os.getppid() != harness:
            os._exit(1)  # the harness died between fork and prctl

    try:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=bind_to_harness,
            **options,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise Failure(f"cannot start {command[0]}: {error}") from error
    guard.watch(process.pid, death_signal)
    return process


async def wait(process, limit=None):
    """The process's exit status, or None when it still runs after limit seconds."""
    if process.poll() is None:
        await until_ended(process, limit)
    if process.poll() is not None:
        guard.forget(process.pid)
    return process.returncode


async def until_ended(process, limit):
    # Woken by the kernel instead of asking again and again, which benchmarks would feel.
    ended = asyncio.Event()
    descriptor = os.pidfd_open(process.pid)
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, ended.set)
    try:
        await asyncio.wait_for(ended.wait(), limit)
    except asyncio.TimeoutError:
        pass
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


async def end_group(process, number, limit):
    """Signals the process with all that it started, and kills what is left after limit seconds."""
    guard.send(process.pid, number)
    deadline = asyncio.get_running_loop().time() + limit
    while guard.is_alive(process.pid) and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(0.02)
    guard.send(process.pid, signal.SIGKILL)
    await wait(process)


async def together(tasks):
    """Waits for all, and raises their failures as one: nobody wants to repair them one by one."""
    failures = []

    async def collect(task):
        try:
            await task
        except Failure as failure:
            failures.append(str(failure))

    async with asyncio.TaskGroup() as group:
        for task in tasks:
            group.create_task(collect(task))
    if failures:
        raise Failure("\n".join(failures))


async def run_to_end(what, command, log, death_signal=signal.SIGKILL, **options):
    """Runs a short-lived helper; its output is shown only when it fails."""
    with open(log, "ab") as output:
        process = spawn(command, death_signal, stdout=output, stderr=output, **options)
    try:
        status = await wait(process)
    except asyncio.CancelledError:
        await end_group(process, death_signal, limit=10)
        raise
    if status != 0:
        raise Failure(f"{what} failed ({describe(status)}):\n{last_lines(log)}")


def describe(status):
    return f"signal {-status}" if status < 0 else f"exit status {status}"


def last_lines(log, count=30):
    lines = Path(log).read_text(errors="replace").splitlines()
    return "\n".join(f"  | {line}" for line in lines[-count:]) or "  | (it wrote nothing)"
