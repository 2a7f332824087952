"""What all services have in common: start, wait until ready, stop, state file."""

import asyncio
import json
import os
import signal
import time

import ports
from processes import Failure, describe, last_lines, report, spawn, wait

# A service whose variable the caller has set is taken as it is and not started.
VARIABLES = {
    "kafka": "KAFKA_BOOTSTRAP_SERVERS",
    "registry": "SCHEMA_REGISTRY_URL",
    "postgres": "DATABASE_URL",
    "redis": "REDIS_URL",
}

START_LIMIT = 120  # seconds; a busy machine with two cores needs up to 20
STOP_LIMIT = 30


def names_to_start():
    return [name for name, variable in VARIABLES.items() if not os.environ.get(variable)]


class Service:
    name = None
    stop_signal = signal.SIGTERM
    crash_signal = signal.SIGKILL
    # The service is ready when it accepts and answers greeting with welcome.
    greeting = b""
    welcome = b""
    # The user of the operating system to run as, where it is not the caller.
    user_options = {}

    def __init__(self, folder):
        self.folder = folder / self.name
        self.data = self.folder / "data"
        self.log = self.folder / "log"
        self.state = folder / f"{self.name}.json"
        self.port = ports.claim()
        self.process = None
        self.exit_watch = None
        self.one_at_a_time = asyncio.Lock()
        self.folder.mkdir()

    # What each service says of itself.

    def version(self):
        raise NotImplementedError

    def address(self):
        raise NotImplementedError

    def command(self):
        raise NotImplementedError

    async def prepare(self):
        """What is done once, before the first start."""

    def variables(self):
        """What COMMAND is told of it."""
        return {VARIABLES[self.name]: self.address()}

    # What all do alike.

    def environment(self):
        """Nothing of the caller's: JAVA_TOOL_OPTIONS, PG* or QUARKUS_* would change the service."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "TZ": "UTC",
        }

    async def bring_up(self):
        began = time.monotonic()
        await self.prepare()
        await self.start()
        seconds = time.monotonic() - began
        report(f"{self.name:<9} {self.version():<30} {self.address():<45} {seconds:.1f} s")

    async def start(self):
        async with self.one_at_a_time:
            await self._start()

    async def stop(self, immediate=False):
        async with self.one_at_a_time:
            await self._stop(immediate)

    async def restart(self, immediate=False):
        async with self.one_at_a_time:
            await self._stop(immediate)
            await self._start()

    async def pause(self):
        """It stands still, and its connections stay open."""
        self._signal_running(signal.SIGSTOP)

    async def resume(self):
        self._signal_running(signal.SIGCONT)

    def _signal_running(self, number):
        if not self.is_running():
            raise Failure(f"{self.name} is not running")
        self.process.send_signal(number)

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    async def _start(self):
        if self.is_running():
            return
        await self._settle()
        with open(self.log, "ab") as output:
            self.process = spawn(
                self.command(),
                death_signal=self.crash_signal,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                env=self.environment(),
                **self.user_options,
            )
        self._write_state()
        await self._until_ready()
        self.exit_watch = asyncio.create_task(self._watch_exit(self.process))

    async def _until_ready(self):
        deadline = time.monotonic() + START_LIMIT
        while not await ports.answers(self.port, self.greeting, self.welcome):
            if not self.is_running():
                status = describe(self.process.returncode)
                raise Failure(f"{self.name} ended while starting ({status}):\n{last_lines(self.log)}")
            if time.monotonic() > deadline:
                await self._stop(immediate=True)
                raise Failure(
                    f"{self.name} was not ready after {START_LIMIT} s:\n{last_lines(self.log)}"
                )
            await asyncio.sleep(0.03)

    async def _stop(self, immediate):
        self._stop_watching()  # this end is wanted
        if self.is_running():
            self.process.send_signal(self.crash_signal if immediate else self.stop_signal)
            self.process.send_signal(signal.SIGCONT)  # one that stands still would not hear it
            # Its port and its data are free again only when the process is gone.
            if await wait(self.process, STOP_LIMIT) is None:
                report(f"{self.name} did not stop within {STOP_LIMIT} s and is killed")
                self.process.kill()
        await self._settle()

    async def _settle(self):
        """Writes down that the last process has ended."""
        self._stop_watching()
        if self.process is not None:
            await wait(self.process)
            self.process = None
            self._write_state()

    def _stop_watching(self):
        if self.exit_watch is not None:
            self.exit_watch.cancel()
            self.exit_watch = None

    async def _watch_exit(self, process):
        status = await wait(process)
        self._write_state()
        report(f"{self.name} ended without being asked ({describe(status)}):\n{last_lines(self.log)}")

    def _write_state(self):
        """Written beside and renamed, so that a reader never sees half a file."""
        state = {
            "service": self.name,
            "pid": self.process.pid if self.is_running() else None,
            "port": self.port,
            "address": self.address(),
            "command": [str(part) for part in self.command()],
            "log": str(self.log),
            "data": str(self.data),
        }
        unfinished = self.state.with_suffix(".part")
        unfinished.write_text(json.dumps(state, indent=2) + "\n")
        unfinished.rename(self.state)
