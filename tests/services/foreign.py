"""A Python environment with Confluent's own client, for the tests that a foreign client can read along."""

import hashlib
import sys
from pathlib import Path

import fetch
from processes import run_to_end

# Written by pip-compile, see README.md: every package with its version and checksums.
REQUIREMENTS = Path(__file__).parent / "foreign-requirements.txt"


def package():
    # Another list of packages or another Python makes another environment.
    content = REQUIREMENTS.read_bytes() + f"{sys.version}{sys.base_prefix}".encode()
    digest = hashlib.sha256(content).hexdigest()[:8]
    return fetch.Package(f"python-{digest}", "Python packages of the foreign client", fill)


async def fill(folder, log):
    environment = fetch.environment(log.parent)
    await run_to_end(
        "python -m venv",
        [sys.executable, "-I", "-m", "venv", folder],
        log=log,
        env=environment,
    )
    # Only wheels: nothing is compiled, and no package's setup code is run.
    await run_to_end(
        "pip install",
        [
            python(folder),
            "-I",
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-input",
            "--disable-pip-version-check",
            "--require-hashes",
            "--only-binary=:all:",
            f"--requirement={REQUIREMENTS}",
        ],
        log=log,
        env=environment,
    )


def python(folder):
    # The scripts beside it name the folder before its renaming and do not work; python itself does.
    return folder / "bin" / "python"
