"""Services that are encrypted and let nobody in without a login, for the tests of connections.

Each server that has a certificate is there three times: with a good one, with one that has expired, and with one for
another host. The registry is the plain one that `run` started, behind nginx. Users, passwords and addresses are in the
one line of JSON that `python3 tests/services secure` writes when everything is ready.
"""

import asyncio
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import foreign
import guard
import kafka
import ports
from fetch import fetch
from kafka import CLUSTER, Kafka
from postgres import Postgres
from processes import Failure, run_to_end, together
from redis import Redis
from service import Service

HERE = Path(__file__).parent
PREFIX = "connections-"
USER, PASSWORD = "redline", "a-good-password"
CLIENT, SECRET = "redline-oauth", "a-good-secret"
TOKEN = "a-good-token"
CERTIFICATES = ("good", "expired", "elsewhere")


async def serve(found):
    """Starts everything, says where it is, and stops it when the standard input ends."""
    registry = os.environ.get("SCHEMA_REGISTRY_URL")
    if not registry:
        raise Failure("SCHEMA_REGISTRY_URL is not set: secure works inside of `run` only")
    libraries, environment = await fetch([kafka.package(), foreign.package()])
    python = foreign.python(environment)
    folder = Path(tempfile.mkdtemp(prefix="redline-secure-", dir="/tmp"))
    guard.remove(folder)
    folder.chmod(0o711)
    services = []
    try:
        keys = await make_certificates(folder, python)
        issuer = Issuer(folder, python, keys)
        # The broker reads the issuer's keys when it starts.
        services.append(issuer)
        await issuer.bring_up()
        broker = SecureKafka(folder, found.java, libraries, keys)
        databases = {name: SecurePostgres(folder, found.postgres, keys, name) for name in CERTIFICATES}
        redis = {name: SecureRedis(folder, found.redis, keys, name) for name in CERTIFICATES}
        gateway = Gateway(folder, found.nginx, keys, registry)
        rest = [broker, gateway, *databases.values(), *redis.values()]
        services += rest
        await together(service.bring_up() for service in rest)
        await together(database.let_in() for database in databases.values())
        await give_rights(folder, python, broker)
        described = {
            "authority": str(keys / "ca.pem"),
            "other_authority": str(keys / "other-ca.pem"),
            "client_certificate": str(keys / "client.pem"),
            "client_key": str(keys / "client.key"),
            "user": USER,
            "password": PASSWORD,
            "client_id": CLIENT,
            "client_secret": SECRET,
            "token": TOKEN,
            "token_url": f"https://localhost:{issuer.port}/token",
            "issuer_log": str(issuer.log),
            "kafka_plain": broker.address(),
            "kafka": {name: f"localhost:{port}" for name, port in broker.listeners.items()},
            "registry": gateway.addresses(),
            "postgres": {name: f"localhost:{one.port}" for name, one in databases.items()},
            "redis": {name: f"localhost:{one.tls_port}" for name, one in redis.items()},
            "redis_plain": f"redis://127.0.0.1:{redis['good'].port}/",
        }
        print(json.dumps(described), flush=True)
        await end_of_input()
        return 0
    finally:
        await together(service.stop(immediate=True) for service in services)
        shutil.rmtree(folder, ignore_errors=True)


async def end_of_input():
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()


async def make_certificates(folder, python):
    keys = folder / "keys"
    keys.mkdir()
    await run_to_end("making certificates", [python, "-I", HERE / "certificates.py", keys], log=folder / "log")
    return keys


async def give_rights(folder, python, broker):
    command = [python, "-I", HERE / "rights.py", broker.address(), PREFIX]
    command += [f"{USER}=roles", "migrate=migrate", f"{CLIENT}=roles,migrate"]
    await run_to_end("giving rights in Kafka", command, log=folder / "log")


class Issuer(Service):
    name = "issuer"

    def __init__(self, folder, python, keys):
        super().__init__(folder)
        self.python = python
        self.keys = keys

    def version(self):
        return "of tokens"

    def address(self):
        return f"https://localhost:{self.port}/token"

    def command(self):
        return [self.python, "-I", HERE / "issuer.py", self.keys, self.port, CLIENT, SECRET]


class SecureKafka(Kafka):
    def __init__(self, folder, java, libraries, keys):
        super().__init__(folder, java, libraries, durable=False, node=1, nodes=[self])
        self.keys = keys
        # Each has a certificate and a way to log in.
        self.ways = {
            "scram": ("good", "SASL_SSL"),
            "oauth": ("good", "SASL_SSL"),
            "certificates": ("good", "SSL"),
            "expired": ("expired", "SASL_SSL"),
            "elsewhere": ("elsewhere", "SASL_SSL"),
        }
        self.listeners = {name: ports.claim() for name in self.ways}

    async def prepare(self):
        (self.folder / "tmp").mkdir()
        self.settings.write_text(self._settings())
        users = []
        for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512"):
            for user in (USER, "migrate"):
                users += ["--add-scram", f"{mechanism}=[name={user},password={PASSWORD}]"]
        await run_to_end(
            "formatting Kafka's storage",
            self._java("kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", self.settings, *users),
            log=self.log,
            cwd=self.folder,
            env=self.environment(),
        )

    def _java(self, *arguments):
        java, *rest = super()._java(*arguments)
        allowed = f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={self._jwks()}"
        return [java, allowed, *rest]

    def _jwks(self):
        return f"file://{self.keys / 'jwks.json'}"

    def _settings(self):
        listeners = "".join(f",{name.upper()}://127.0.0.1:{port}" for name, port in self.listeners.items())
        advertised = "".join(f",{name.upper()}://localhost:{port}" for name, port in self.listeners.items())
        protocols = "".join(f",{name.upper()}:{protocol}" for name, (_, protocol) in self.ways.items())
        lines = []
        for line in super()._settings().splitlines():
            if line.startswith("listeners="):
                line += listeners
            elif line.startswith("advertised.listeners="):
                line += advertised
            elif line.startswith("listener.security.protocol.map="):
                line += protocols
            lines.append(line)
        lines += [
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            # Whoever comes in plain text is the test itself.
            "super.users=User:ANONYMOUS",
            "connections.max.reauth.ms=15000",
        ]
        for name, (certificate, protocol) in self.ways.items():
            prefix = f"listener.name.{name}"
            lines += [
                f"{prefix}.ssl.keystore.type=PEM",
                f"{prefix}.ssl.keystore.location={self.keys / certificate}-both.pem",
                f"{prefix}.ssl.truststore.type=PEM",
                f"{prefix}.ssl.truststore.location={self.keys / 'ca.pem'}",
            ]
            if name == "certificates":
                lines += [
                    f"{prefix}.ssl.client.auth=required",
                    f"{prefix}.ssl.principal.mapping.rules=RULE:^CN=([^,]+).*$/$1/,DEFAULT",
                ]
            elif name == "oauth":
                module = "org.apache.kafka.common.security.oauthbearer.OAuthBearer"
                oauth = f"{prefix}.oauthbearer"
                lines += [
                    f"{prefix}.sasl.enabled.mechanisms=OAUTHBEARER",
                    f"{oauth}.sasl.jaas.config={module}LoginModule required ;",
                    f"{oauth}.sasl.server.callback.handler.class={module}ValidatorCallbackHandler",
                    f"{oauth}.sasl.oauthbearer.jwks.endpoint.url={self._jwks()}",
                    f"{oauth}.sasl.oauthbearer.expected.audience=kafka",
                    f"{oauth}.sasl.oauthbearer.expected.issuer=redline-tests",
                ]
            else:
                lines.append(f"{prefix}.sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512")
                for mechanism in ("scram-sha-256", "scram-sha-512"):
                    module = "org.apache.kafka.common.security.scram.ScramLoginModule required ;"
                    lines.append(f"{prefix}.{mechanism}.sasl.jaas.config={module}")
        return "\n".join(lines) + "\n"


class SecurePostgres(Postgres):
    def __init__(self, folder, server, keys, certificate):
        self.name = f"postgres-{certificate}"
        super().__init__(folder, server, durable=False)
        self.keys = keys
        self.certificate = certificate

    async def prepare(self):
        await super().prepare()
        for source, name in [(f"{self.certificate}.pem", "server.crt"), (f"{self.certificate}.key", "server.key")]:
            self._bring(self.keys / source, name)
        self._bring(self.keys / "ca.pem", "root.crt")
        # The test itself comes in plain text; the user `redline` only over TLS, with a password or with a certificate.
        rules = self.data / "pg_hba.conf"
        rules.write_text(
            "host all postgres 127.0.0.1/32 trust\n"
            "hostssl all redline_by_certificate 127.0.0.1/32 cert map=by_name\n"
            "hostssl all all 127.0.0.1/32 scram-sha-256\n"
        )
        (self.data / "pg_ident.conf").write_text("by_name redline redline_by_certificate\n")

    def _bring(self, source, name):
        copy = self.data / name
        copy.write_bytes(source.read_bytes())
        copy.chmod(0o600)
        if "user" in self.user_options:
            os.chown(copy, self.user_options["user"], self.user_options["group"])

    def command(self):
        more = ["ssl=on", "ssl_cert_file=server.crt", "ssl_key_file=server.key", "ssl_ca_file=root.crt"]
        small = ["shared_buffers=16MB", "max_connections=50"]
        return [*super().command(), *(f"--{setting}" for setting in more + small)]

    async def let_in(self):
        statement = f"create role redline login password '{PASSWORD}'; create role redline_by_certificate login"
        psql = self.server.folder / "psql"
        address = f"postgres://postgres@127.0.0.1:{self.port}/postgres"
        await run_to_end("making users in Postgres", [psql, "-qX", "-c", statement, address], log=self.log)


class SecureRedis(Redis):
    def __init__(self, folder, server, keys, certificate):
        self.name = f"redis-{certificate}"
        super().__init__(folder, server)
        self.keys = keys
        self.certificate = certificate
        self.tls_port = ports.claim()
        self.users = self.folder / "users.acl"

    async def prepare(self):
        await super().prepare()
        # The rights that docs/guides/connections.md names, and no others.
        self.users.write_text(
            f"user default on nopass ~* &* +@all\nuser {USER} on >{PASSWORD} ~{PREFIX}* resetchannels -@all +mget +set\n"
            f"user reader on >{PASSWORD} ~{PREFIX}* resetchannels -@all +mget\n"
        )

    def command(self):
        tls = [
            "--tls-port",
            self.tls_port,
            "--tls-cert-file",
            self.keys / f"{self.certificate}.pem",
            "--tls-key-file",
            self.keys / f"{self.certificate}.key",
            "--tls-ca-cert-file",
            self.keys / "ca.pem",
            "--tls-auth-clients",
            "no",
            "--aclfile",
            self.users,
        ]
        return [*super().command(), *tls]


class Gateway(Service):
    """nginx before the registry: who may ask, over TLS."""

    name = "gateway"

    def __init__(self, folder, nginx, keys, registry):
        super().__init__(folder)
        self.nginx = nginx
        self.keys = keys
        self.registry = urlsplit(registry)
        ways = ("basic", "bearer", "expired", "elsewhere")
        self.ports = dict(zip(ways, [self.port, *(ports.claim() for _ in ways[1:])], strict=True))
        self.settings = self.folder / "nginx.conf"

    def version(self):
        return self.nginx.version

    def address(self):
        return self.addresses()["basic"]

    def addresses(self):
        return {way: f"https://localhost:{port}{self.registry.path}" for way, port in self.ports.items()}

    async def prepare(self):
        users = self.folder / "users"
        users.write_text(f"{USER}:{{PLAIN}}{PASSWORD}\n")
        guards = {
            "basic": f'auth_basic "registry"; auth_basic_user_file {users};',
            "bearer": f'if ($http_authorization != "Bearer {TOKEN}") {{ return 401; }}',
        }
        servers = "".join(self._server(way, guards.get(way, "")) for way in self.ports)
        temporary = "".join(
            f"{kind}_temp_path {self.folder / kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        self.settings.write_text(
            f"daemon off; master_process off; pid {self.folder / 'pid'}; error_log stderr;\n"
            f"events {{}}\nhttp {{\naccess_log off;\n{temporary}{servers}}}\n"
        )

    def _server(self, way, guard_text):
        certificate = way if way in CERTIFICATES else "good"
        return (
            f"server {{ listen 127.0.0.1:{self.ports[way]} ssl;\n"
            f"ssl_certificate {self.keys / certificate}.pem; ssl_certificate_key {self.keys / certificate}.key;\n"
            f"location / {{ {guard_text} proxy_pass http://{self.registry.netloc}; }} }}\n"
        )

    def command(self):
        return [self.nginx.executable, "-p", self.folder, "-e", "stderr", "-c", self.settings]
