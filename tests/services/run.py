"""`run`: start the services, run COMMAND, stop everything again."""

import asyncio
import os
import shutil
import signal
import tempfile
from pathlib import Path

import example
import foreign
import guard
import jaeger
import kafka
import registry
from control import Control
from fetch import fetch
from jaeger import Jaeger
from postgres import Postgres
from processes import Failure, end_group, report, spawn, together, wait
from redis import Redis
from registry import Registry
from service import VARIABLES, names_to_start

COMMAND_STOP_LIMIT = 10  # seconds between SIGTERM and SIGKILL


async def fetch_all(found, with_jaeger=False):
    """The folders by name; only what will be started, and the foreign clients."""
    packages = {"foreign": foreign.package(), "example": example.package(found.compiler)}
    if "kafka" in names_to_start():
        packages["kafka"] = kafka.package()
    if "registry" in names_to_start():
        packages["registry"] = registry.package(found.java)
    if with_jaeger:
        packages["jaeger"] = jaeger.package()
    return dict(zip(packages, await fetch(list(packages.values())), strict=True))


async def run(command, durable, brokers, with_jaeger, found):
    """COMMAND's exit status as a shell would tell it."""
    if shutil.which(command[0]) is None:
        # Now, and not after the services have been started for nothing.
        raise Failure(f"there is no command {command[0]}")
    fetched = await fetch_all(found, with_jaeger)
    folder = make_folder(durable)
    services = {}
    control = Control(services)
    try:
        services.update(make_services(folder, found, fetched, durable, brokers))
        if with_jaeger:
            services["jaeger"] = Jaeger(folder, fetched["jaeger"])
        report_given()
        await together(service.bring_up() for service in services.values())
        await control.listen(folder)
        return await run_command(command, environment(folder, services, fetched, found.java))
    finally:
        await control.close()
        # Nobody reads the data again, so there is no need for a clean end.
        await together(service.stop(immediate=True) for service in services.values())
        shutil.rmtree(folder, ignore_errors=True)


def make_folder(durable):
    """Not in the cache: the user postgres must be able to enter every folder above its data."""
    # /tmp may be in memory, where fsync costs nothing and proves nothing.
    above = "/var/tmp" if durable else "/tmp"
    folder = Path(tempfile.mkdtemp(prefix="redline-services-", dir=above))
    guard.remove(folder)
    folder.chmod(0o711)
    return folder


def make_services(folder, found, fetched, durable, brokers):
    make = {
        "kafka": lambda: kafka.cluster(folder, found.java, fetched["kafka"], durable, brokers),
        "registry": lambda: {"registry": Registry(folder, found.java, fetched["registry"])},
        "postgres": lambda: {"postgres": Postgres(folder, found.postgres, durable)},
        "redis": lambda: {"redis": Redis(folder, found.redis)},
    }
    services = {}
    for name in names_to_start():
        services.update(make[name]())
    return services


def report_given():
    for name, variable in VARIABLES.items():
        if name not in names_to_start():
            # Not its value, which can hold a password.
            report(f"{name:<9} the one that {variable} names")


def environment(folder, services, fetched, java):
    variables = dict(os.environ)
    for service in services.values():
        variables.update(service.variables())
    variables["REDLINE_TEST_PYTHON"] = str(foreign.python(fetched["foreign"]))
    variables["REDLINE_TEST_JAVA"] = java.executable
    variables["REDLINE_TEST_JAVA_PRODUCER"] = str(example.program(fetched["example"]))
    # A run inside a run starts nothing: then the outer one still answers stop and start.
    if services or "REDLINE_TEST_SERVICES" not in variables:
        variables["REDLINE_TEST_SERVICES"] = str(folder)
    return variables


async def run_command(command, variables):
    process = spawn(command, env=variables)
    try:
        status = await wait(process)
    except asyncio.CancelledError:
        # The harness was told to stop: so is everything in COMMAND's process group.
        await end_group(process, signal.SIGTERM, COMMAND_STOP_LIMIT)
        raise
    # What COMMAND left behind would hold on to services that are gone.
    guard.send(process.pid, signal.SIGKILL)
    return status if status >= 0 else 128 - status
