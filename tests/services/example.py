"""The guide's example of a producer in Java, built as its reader would build it, for the tests that run it."""

import hashlib
from pathlib import Path

import fetch

PROJECT = Path(__file__).parents[2] / "docs/guides/examples/java"


def package(compiler):
    # Another source or another compiler makes another program.
    digest = hashlib.sha256(str(compiler).encode())
    for file in [PROJECT / "pom.xml", *sorted((PROJECT / "src").rglob("*.java"))]:
        digest.update(file.read_bytes())

    async def fill(folder, log):
        pom = PROJECT / "pom.xml"
        await fetch.maven("--file", pom, "package", f"-Dfolder={folder}", log=log, java_home=compiler)

    return fetch.Package(f"java-example-{digest.hexdigest()[:8]}", "the example of a producer in Java", fill)


def program(folder):
    return folder / "redline-producer.jar"
