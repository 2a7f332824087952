"""A rehearsal of docker-compose.yml without containers: see rehearsal.py."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import compose_test
import prerequisites
import tools

PATIENCE = 240  # seconds; a quiet machine takes 25


class Rehearsal(unittest.TestCase):
    def test_the_services_and_roles_find_each_other_by_what_the_compose_file_says(self):
        if os.geteuid() != 0:
            self.skipTest("only root may make namespaces of its own")
        missing = [name for name in ("unshare", "nsenter", "setpriv", "ip", "psql") if shutil.which(name) is None]
        if missing:
            self.skipTest(f"these programs are not here: {', '.join(missing)} (packages util-linux, iproute2)")
        found, _ = prerequisites.look()
        if None in (found.java, found.postgres, found.redis):
            self.skipTest("Java, Postgres or Redis is not here (make test names their packages)")
        told = compose_test.compose("config", "--format", "json", variables=compose_test.example())
        self.assertEqual(told.returncode, 0, told.stderr)
        given = {
            "services": json.loads(told.stdout)["services"],
            "binary": str(tools.binary().resolve()),
            "java": found.java.executable,
            "postgres": str(found.postgres.folder),
            "kafka": str(tools.kafka()),
            "registry": str(next(tools.registry(found.java).glob("*run*.jar"))),
        }
        # Not under /tmp's own name: users other than root must be able to enter it.
        with tempfile.TemporaryDirectory(prefix="redline-rehearsal-") as folder:
            Path(folder).chmod(0o755)
            (Path(folder) / "given.json").write_text(json.dumps(given))
            # Its own processes, mounts and network: whatever ends it, all of that goes with it.
            namespaces = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
            script = Path(__file__).with_name("rehearsal.py")
            told = subprocess.run(
                [*namespaces, sys.executable, "-B", script, folder],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=PATIENCE,
                check=False,
                text=True,
            )
        self.assertEqual(told.returncode, 0, told.stdout)
        self.assertIn("rehearsed", told.stdout)
