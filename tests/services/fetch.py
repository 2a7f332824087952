"""The cache of pinned versions: each package is there completely or not at all."""

import asyncio
import contextlib
import fcntl
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import guard
from processes import report, run_to_end, together

UNFINISHED = ".part"

# Maven 3 can damage its own repository when two of it run at the same time.
ONE_MAVEN = asyncio.Lock()


@dataclass
class Package:
    folder: str
    what: str
    fill: Callable  # (folder, log): puts the content there


def cache():
    named = os.environ.get("REDLINE_CACHE")
    return Path(named).resolve() if named else Path.home() / ".cache" / "redline"


async def fetch(packages):
    """The folders of the packages, fetched where the cache has them not yet."""
    folders = [cache() / package.folder for package in packages]
    if not all(folder.is_dir() for folder in folders):
        cache().mkdir(parents=True, exist_ok=True)
        async with only_one_fetch():
            remove_leftovers()
            # Another harness can have fetched them while this one waited.
            await together(
                fetch_one(package)
                for package, folder in zip(packages, folders, strict=True)
                if not folder.is_dir()
            )
    return folders


async def fetch_one(package):
    report(f"fetching {package.what} into {cache() / package.folder}")
    temporary = Path(tempfile.mkdtemp(prefix=f"{package.folder}.", suffix=UNFINISHED, dir=cache()))
    guard.remove(temporary)
    try:
        content = temporary / package.folder
        content.mkdir()
        await package.fill(content, temporary / "log")
        content.rename(cache() / package.folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.asynccontextmanager
async def only_one_fetch():
    # The kernel releases this lock with the process, however it ends.
    with open(cache() / "lock", "w") as lock:
        told = False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told:
                    report("waiting for another fetch into the same cache")
                    told = True
                await asyncio.sleep(0.2)
        yield


def remove_leftovers():
    """What a killed fetch left; under the lock nobody works in it any more."""
    for leftover in cache().glob(f"*{UNFINISHED}"):
        shutil.rmtree(leftover, ignore_errors=True)


async def maven(*arguments, log, java_home=None):
    async with ONE_MAVEN:
        await run_to_end(
            "Maven",
            # A download with a wrong checksum fails; by default Maven only warns.
            ["mvn", "--batch-mode", "--quiet", "--strict-checksums", *arguments],
            log=log,
            # Without a project there, Maven writes its marks into the present folder.
            cwd=log.parent,
            env=environment(log.parent) | ({"JAVA_HOME": str(java_home)} if java_home else {}),
        )


def environment(temporary):
    """The caller's, with its proxies and settings; only what is left in TMPDIR goes with the folder."""
    return dict(os.environ, TMPDIR=str(temporary))
