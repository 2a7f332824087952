"""`stop`, `start`, `restart`, `pause` and `resume` of a service while `run` is running.

The harness must stay the parent of every service: it waits for the exits, and the services die with it.
So these commands ask it, through a Unix socket in its folder.
"""

import asyncio
import json
import os
import socket
from pathlib import Path

from processes import Failure
from service import VARIABLES

FOLDER_VARIABLE = "REDLINE_TEST_SERVICES"
SOCKET = "control"
ANSWER_LIMIT = 180  # seconds; longer than the harness waits for a stop and a start


class Control:
    """The harness's end."""

    def __init__(self, services):
        self.services = services
        self.server = None
        self.tasks = set()

    async def listen(self, folder):
        self.server = await asyncio.start_unix_server(self._answer, folder / SOCKET)

    async def close(self):
        """Ends a restart under way too: everything is about to be stopped."""
        if self.server is not None:
            self.server.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _answer(self, reader, writer):
        self.tasks.add(asyncio.current_task())
        try:
            request = json.loads(await reader.readline())
            try:
                await self._obey(**request)
                answer = {}
            except Failure as failure:
                answer = {"failure": str(failure)}
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        except (OSError, ValueError, TypeError):
            pass  # the asking process went away, or it was none of ours
        except asyncio.CancelledError:
            pass  # close() wants this end; raised again, asyncio would print it as a mistake
        finally:
            writer.close()
            self.tasks.discard(asyncio.current_task())

    async def _obey(self, action, service, immediate):
        if service not in self.services:
            if service not in VARIABLES:
                raise Failure(f"there is no {service}: `run --brokers 3` starts it")
            raise Failure(f"{service} is the one that {VARIABLES[service]} named, not the harness's")
        chosen = self.services[service]
        if action in ("stop", "restart"):
            await getattr(chosen, action)(immediate)
        elif action in ("start", "pause", "resume"):
            await getattr(chosen, action)()


def ask(action, service, immediate):
    """The test's end: returns when it is done, raises Failure when it could not be."""
    folder = os.environ.get(FOLDER_VARIABLE)
    if not folder:
        raise Failure(f"{FOLDER_VARIABLE} is not set: {action} works inside of `run` only")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(ANSWER_LIMIT)
        try:
            connection.connect(str(Path(folder) / SOCKET))
            request = {"action": action, "service": service, "immediate": immediate}
            connection.sendall(json.dumps(request).encode() + b"\n")
            answer = connection.makefile().readline()
        except OSError as error:
            raise Failure(f"the harness of {folder} does not answer: {error}") from error
    if not answer:
        raise Failure(f"the harness of {folder} ended before {service} was done")
    failure = json.loads(answer).get("failure")
    if failure:
        raise Failure(failure)
