"""Checks the Dockerfile and docker-compose.yml as far as that goes without an engine of containers.

    python3 tests/packaging         all of it; what cannot be checked here is named as skipped
"""

import sys

sys.dont_write_bytecode = True  # no __pycache__ in the project's tree

import unittest
from pathlib import Path


def main():
    tests = unittest.defaultTestLoader.discover(str(Path(__file__).parent), pattern="*_test.py")
    result = unittest.TextTestRunner(verbosity=1).run(tests)
    for test, reason in result.skipped:
        print(f"skipped: {test}: {reason}", file=sys.stderr)
    return 0 if result.wasSuccessful() and result.testsRun else 1


if __name__ == "__main__":
    sys.exit(main())
