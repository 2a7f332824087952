"""Starts the real services that the tests need: python3 tests/services COMMAND, see README.md."""

import sys

sys.dont_write_bytecode = True  # no __pycache__ in the project's tree

import argparse
import asyncio
import signal

import control
import guard
import jaeger
import prerequisites
import secure
from processes import Failure, report
from run import fetch_all, run
from service import VARIABLES


def main():
    arguments = parse_arguments()
    try:
        return arguments.function(arguments)
    except Failure as failure:
        report(f"tests/services: {failure}")
        return 1


def parse_arguments():
    parser = argparse.ArgumentParser(prog="tests/services", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    check = commands.add_parser("check", help="name everything that is missing on this machine")
    check.add_argument("--packages", action="store_true", help="only their Debian packages, one a line")
    check.set_defaults(function=do_check)

    fetch = commands.add_parser("fetch", help="fetch the pinned versions into the cache")
    fetch.set_defaults(function=do_fetch)

    run_parser = commands.add_parser("run", help="run a command while the services are there")
    run_parser.add_argument("--durable", action="store_true", help="as in production: fsync, more heap")
    run_parser.add_argument("--brokers", type=int, choices=(1, 3), default=1, help="nodes of Kafka")
    run_parser.add_argument("--jaeger", action="store_true", help="a Jaeger too, built where it is not cached")
    run_parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND ...")
    run_parser.set_defaults(function=do_run)

    has = commands.add_parser("has-jaeger", help="whether a Jaeger is in the cache")
    has.set_defaults(function=lambda arguments: 0 if jaeger.is_cached() else 1)
    secure_parser = commands.add_parser("secure", help="encrypted services until the standard input ends")
    secure_parser.set_defaults(function=do_secure)

    for action in ("stop", "start", "restart", "pause", "resume"):
        fault = commands.add_parser(action, help=f"{action} one service of the running `run`")
        fault.add_argument("service", choices=[*VARIABLES, "kafka-2", "kafka-3"])
        if action in ("stop", "restart"):
            fault.add_argument("--immediate", action="store_true", help="as in a crash")
        fault.set_defaults(function=do_fault, action=action, immediate=False)

    arguments = parser.parse_args()
    if arguments.function is do_run:
        if arguments.command[:1] == ["--"]:
            del arguments.command[0]
        if not arguments.command:
            run_parser.error("a command is missing after --")
    return arguments


def do_check(arguments):
    if arguments.packages:
        _, missing = prerequisites.look()
        print("\n".join(prerequisites.packages_of(missing)))
        return 0
    look_or_fail()
    print("all prerequisites are there")
    return 0


def do_fetch(arguments):
    found = look_or_fail()
    return until_signal(fetch_only(found))


async def fetch_only(found):
    await fetch_all(found)
    return 0


def do_run(arguments):
    found = look_or_fail()
    return until_signal(run(arguments.command, arguments.durable, arguments.brokers, arguments.jaeger, found))


def do_secure(arguments):
    # Inside of `run` the variables name services that are there already; these are others.
    found, missing = prerequisites.look(list(VARIABLES))
    if missing:
        raise Failure(prerequisites.explain(missing))
    return until_signal(secure.serve(found))


def do_fault(arguments):
    control.ask(arguments.action, arguments.service, arguments.immediate)
    return 0


def look_or_fail():
    found, missing = prerequisites.look()
    if missing:
        raise Failure(prerequisites.explain(missing))
    return found


def until_signal(task):
    """Runs the task; a signal ends it in order, and a second one does not disturb that end."""
    guard.begin()
    try:
        return asyncio.run(_until_signal(task))
    finally:
        guard.end()


async def _until_signal(coroutine):
    task = asyncio.ensure_future(coroutine)
    received = []

    def stop(number):
        if not received:
            received.append(number)
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # nohup ignores SIGHUP, and means it.
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            asyncio.get_running_loop().add_signal_handler(number, stop, number)
    try:
        return await task
    except asyncio.CancelledError:
        return 128 + received[0]


if __name__ == "__main__":
    sys.exit(main())
