"""What the machine has to bring, and which Debian package brings what is missing."""

import importlib.util
import os
import pwd
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from service import VARIABLES, names_to_start

OLDEST_PYTHON = (3, 11)  # the pinned packages of the foreign client want it
OLDEST_JAVA = 17
OLDEST_POSTGRES = 15

# What compiling takes, by the Debian package that brings it: a command, or a file where there is none.
TO_BUILD = {
    "build-essential": "cc",
    "make": "make",
    "pkg-config": "pkg-config",
    "libssl-dev": Path("/usr/include/openssl/ssl.h"),
    "zlib1g-dev": Path("/usr/include/zlib.h"),
}


@dataclass
class Java:
    executable: str
    major: int


@dataclass
class PostgresServer:
    folder: Path
    version: str


@dataclass
class RedisServer:
    executable: str
    version: str


@dataclass
class Nginx:
    executable: str
    version: str


@dataclass
class Prerequisites:
    """None where it is missing, or where the environment names the service; `compiler` is a JAVA_HOME."""

    java: Optional[Java] = None
    compiler: Optional[Path] = None
    postgres: Optional[PostgresServer] = None
    redis: Optional[RedisServer] = None
    nginx: Optional[Nginx] = None


@dataclass
class Missing:
    what: str
    package: str


def look(wanted=None):
    """What was found, and everything that is missing; of the services that are wanted, else of those that `run` starts."""
    wanted = names_to_start() if wanted is None else wanted
    found = Prerequisites()
    missing = missing_to_build() + missing_for_python()
    # The example of a producer in Java is compiled whatever is started.
    found.java, found.compiler = find_java(), find_compiler()
    if found.java is None or found.compiler is None:
        missing.append(Missing(f"Java {OLDEST_JAVA} or newer, with its compiler", "openjdk-17-jdk-headless"))
    if shutil.which("mvn") is None:
        missing.append(Missing("Maven (mvn)", "maven"))
    # Dashboards and rules are tried on it; each such test starts one of its own.
    if shutil.which("prometheus") is None or shutil.which("promtool") is None:
        missing.append(Missing("Prometheus (prometheus and promtool)", "prometheus"))
    if "postgres" in wanted:
        found.postgres = find_postgres()
        if found.postgres is None:
            what = f"a Postgres server {OLDEST_POSTGRES} or newer (initdb and postgres)"
            missing.append(Missing(what, "postgresql"))
        elif os.geteuid() == 0 and not has_user("postgres"):
            what = "the user postgres of the operating system (Postgres refuses to run as root)"
            missing.append(Missing(what, "postgresql"))
    if "redis" in wanted:
        found.redis = find_redis()
        if found.redis is None:
            missing.append(Missing("the Redis server (redis-server)", "redis-server"))
    # Only root can rehearse the compose file, in a network of its own.
    if os.geteuid() == 0 and shutil.which("ip") is None:
        missing.append(Missing("the command ip", "iproute2"))
    # Encrypted services are started beside the plain ones, by the tests of connections.
    if set(VARIABLES) <= set(wanted):
        found.nginx = find_nginx()
        if found.nginx is None:
            missing.append(Missing("the web server nginx", "nginx-light"))
        if not shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"):
            missing.append(Missing("the pooler pgbouncer", "pgbouncer"))
    return found, missing


def missing_to_build():
    missing = []
    for package, sign in TO_BUILD.items():
        is_there = sign.exists() if isinstance(sign, Path) else shutil.which(sign)
        if not is_there:
            missing.append(Missing(f"{sign}, to build", package))
    return missing


def missing_for_python():
    missing = []
    if sys.version_info < OLDEST_PYTHON:
        what = "Python {}.{} or newer".format(*OLDEST_PYTHON)
        missing.append(Missing(what, "python3"))
    # Debian leaves ensurepip out of its plain Python; without it no environment can be made.
    if not all(importlib.util.find_spec(module) for module in ("venv", "ensurepip")):
        missing.append(Missing("Python's venv", "python3-venv"))
    return missing


def packages_of(missing):
    return sorted({one.package for one in missing})


def explain(missing):
    lines = ["missing on this machine:"]
    lines += [f"  {one.what}: Debian package {one.package}" for one in missing]
    lines.append(f"install with: apt-get install -y --no-install-recommends {' '.join(packages_of(missing))}")
    lines.append("or all that development takes: make dev-bootstrap")
    variables = ", ".join(VARIABLES[name] for name in names_to_start())
    if variables:
        lines.append(f"or name a running service in {variables}")
    return "\n".join(lines)


def find_java():
    """The newest Java of the machine: the newer registry needs more than Debian's default."""
    return max(find_runtimes(), key=lambda java: (java.major, java.executable), default=None)


def find_compiler():
    """The folder of the oldest Java that has a compiler beside it: what it compiles runs on all of them."""
    with_compiler = [java for java in find_runtimes() if Path(java.executable).with_name("javac").exists()]
    oldest = min(with_compiler, key=lambda java: (java.major, java.executable), default=None)
    return Path(oldest.executable).parents[1] if oldest else None


def find_runtimes():
    candidates = [shutil.which("java")]
    if os.environ.get("JAVA_HOME"):
        candidates.append(Path(os.environ["JAVA_HOME"]) / "bin/java")
    candidates += sorted(Path("/usr/lib/jvm").glob("*/bin/java"))
    runtimes = []
    for executable in {os.path.realpath(one) for one in candidates if one}:
        number = first_match(r'version "(\d+)', output_of(executable, "-version"))
        if number and int(number) >= OLDEST_JAVA:
            runtimes.append(Java(executable, int(number)))
    return runtimes


def find_postgres():
    """The one that pg_config names, else the newest that Debian installed."""
    named = output_of("pg_config", "--bindir").strip()
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=version_in_path, reverse=True)
    for folder in [Path(named)] * bool(named) + installed:
        # pg_config alone can come with the client library.
        version = first_match(r"\(PostgreSQL\) (\S+)", output_of(folder / "postgres", "--version"))
        major = first_match(r"^(\d+)", version or "")
        if major and int(major) >= OLDEST_POSTGRES and os.access(folder / "initdb", os.X_OK):
            return PostgresServer(folder, version)
    return None


def version_in_path(folder):
    return int(first_match(r"^(\d+)", folder.parent.name) or 0)


def find_redis():
    executable = shutil.which("redis-server")
    version = first_match(r"v=(\S+)", output_of(executable, "--version")) if executable else None
    return RedisServer(executable, version) if version else None


def find_nginx():
    # Debian puts it where only root looks.
    executable = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    version = first_match(r"nginx/(\S+)", output_of(executable, "-v")) if executable else None
    return Nginx(executable, version) if version else None


def has_user(name):
    try:
        pwd.getpwnam(name)
        return True
    except KeyError:
        return False


def output_of(*command):
    """What it prints, or nothing when it cannot be run: then it counts as missing."""
    try:
        result = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=30,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return result.stdout.decode(errors="replace")


def first_match(pattern, text):
    match = re.search(pattern, text)
    return match[1] if match else None
