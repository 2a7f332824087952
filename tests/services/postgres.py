"""Postgres, of whichever version the machine has."""

import os
import pwd
import shutil
import signal
import struct

from processes import LET_IT_FINISH, run_to_end
from service import Service

USER = "postgres"


def startup_message():
    """Asks for a session. While the server still recovers it accepts and answers with an error."""
    body = struct.pack("!i", 196608) + b"user\0postgres\0database\0postgres\0\0"
    return struct.pack("!i", len(body) + 4) + body


class Postgres(Service):
    name = "postgres"
    stop_signal = signal.SIGINT  # "fast": ends the sessions, then a clean shutdown
    crash_signal = signal.SIGQUIT  # "immediate": the next start recovers as after a crash
    greeting = startup_message()
    welcome = b"R"

    def __init__(self, folder, server, durable):
        super().__init__(folder)
        self.server = server
        self.durable = durable
        if os.geteuid() == 0:
            # Postgres refuses to run as root. It is started directly, not through runuser or pg_ctl:
            # a change of user after prctl would undo the tie to the harness.
            account = pwd.getpwnam(USER)
            self.user_options = {
                "user": account.pw_uid,
                "group": account.pw_gid,
                "extra_groups": [],
            }
            shutil.chown(self.folder, account.pw_uid, account.pw_gid)
        self.folder.chmod(0o711)

    def version(self):
        return self.server.version + (" with fsync" if self.durable else " without fsync")

    def address(self):
        return f"postgres://postgres@127.0.0.1:{self.port}/postgres"

    async def prepare(self):
        await run_to_end(
            "initdb",
            [
                self.server.folder / "initdb",
                f"--pgdata={self.data}",
                f"--username={USER}",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
            ],
            log=self.log,
            # Ended by any signal, initdb leaves shared memory behind, and it takes a second only.
            death_signal=LET_IT_FINISH,
            cwd=self.folder,
            env=self.environment(),
            **self.user_options,
        )

    def command(self):
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self.folder,
            "fsync": "on" if self.durable else "off",
            "max_connections": 200,
            "wal_level": "logical",
            "shared_buffers": "256MB",
            "max_wal_size": "4GB",
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        return [self.server.folder / "postgres", "-D", self.data, *options]
