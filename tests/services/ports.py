"""Free ports of 127.0.0.1, and the question whether a server answers on one."""

import asyncio
import random
import socket

from processes import Failure

# Below the range from which Linux takes the ports of outgoing connections (32768 and up):
# otherwise a client could sit on a service's port while the service is stopped.
LOWEST, HIGHEST = 20000, 32000

CLAIMS = []


def claim():
    """A port that no server uses and that no other harness gets as long as this one lives."""
    for port in random.sample(range(LOWEST, HIGHEST), 200):
        # An abstract Unix socket is a lock that the kernel releases at the process's end.
        mark = socket.socket(socket.AF_UNIX)
        try:
            mark.bind(f"\0redline-test-port-{port}")
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
        except OSError:
            mark.close()
            continue
        CLAIMS.append(mark)
        return port
    raise Failure(f"no free port between {LOWEST} and {HIGHEST}")


async def answers(port, greeting, welcome):
    """Whether the server accepts, and answers the greeting with a text that begins with welcome."""
    try:
        return await asyncio.wait_for(_converse(port, greeting, welcome), timeout=2)
    except (OSError, EOFError, asyncio.TimeoutError):
        return False


async def _converse(port, greeting, welcome):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(greeting)
        return await reader.readexactly(len(welcome)) == welcome
    finally:
        writer.close()
