"""Redis without persistence: a restart empties it, which is a fault that the tests want."""

from service import Service


class Redis(Service):
    name = "redis"
    greeting = b"PING\r\n"
    welcome = b"+PONG"

    def __init__(self, folder, server):
        super().__init__(folder)
        self.server = server

    def version(self):
        return self.server.version

    def address(self):
        return f"redis://127.0.0.1:{self.port}/"

    async def prepare(self):
        self.data.mkdir()

    def command(self):
        return [
            self.server.executable,
            "--bind",
            "127.0.0.1",
            "--port",
            self.port,
            "--dir",
            self.data,
            "--save",
            "",
            "--appendonly",
            "no",
        ]
