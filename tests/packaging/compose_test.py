"""docker-compose.yml, read by Docker Compose itself: it refuses wrong keys, undefined dependencies, unset variables."""

import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import tools

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
EXAMPLE = ROOT / ".env.example"
# Done when it has done its work; neither healthy nor started again.
ONE_SHOT = {"migrate"}


def compose(*arguments, variables):
    """Docker Compose with these variables and no others, wherever this runs."""
    with tempfile.NamedTemporaryFile("w") as file:
        file.writelines(f"{name}={value}\n" for name, value in variables.items())
        file.flush()
        return subprocess.run(
            [tools.compose(), "--file", FILE, "--env-file", file.name, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            check=False,
            text=True,
        )


def values_in(file):
    lines = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def example():
    """What .env.example says; passwords that it leaves empty are filled, as `make up` does."""
    return {name: value or f"secret-of-{name}" for name, value in values_in(EXAMPLE).items()}


def passwords():
    return [name for name, value in example().items() if value.startswith("secret-of-")]


class Compose(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        told = compose("config", "--format", "json", variables=example())
        if told.returncode != 0:
            raise AssertionError(f"docker compose config: {told.stderr}")
        cls.services = json.loads(told.stdout)["services"]
        # Our own are those that the Dockerfile here makes.
        cls.roles = {name: service for name, service in cls.services.items() if "build" in service}

    def test_everything_of_the_system_is_there(self):
        self.assertEqual(set(self.roles), {"migrate", "ingest", "work", "relay"})
        others = set(self.services) - set(self.roles)
        self.assertEqual(others, {"kafka", "registry", "postgres", "redis", "prometheus", "grafana", "jaeger"})

    def test_kafkas_own_image_takes_the_settings(self):
        """What the image's entry point runs: it turns the variables into settings and formats the storage by them."""
        environment = self.services["kafka"]["environment"]
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            for name in ("default", "mounted", "final"):
                (folder / name).mkdir()
            for name in ("server.properties", "log4j2.yaml", "tools-log4j2.yaml"):
                (folder / "default" / name).touch()
            told = subprocess.run(
                [
                    *("java", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-cp", f"{tools.kafka()}/*"),
                    *("kafka.docker.KafkaDockerWrapper", "setup", "--default-configs-dir", "default"),
                    *("--mounted-configs-dir", "mounted", "--final-configs-dir", "final"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env={**environment, "PATH": os.environ["PATH"], "KAFKA_LOG_DIRS": str(folder / "data")},
                check=False,
                text=True,
            )
            self.assertEqual(told.returncode, 0, told.stdout)
            self.assertTrue((folder / "data/meta.properties").is_file(), told.stdout)
            settings = (folder / "final/server.properties").read_text()
        # One broker: without these the relay's transactions find no coordinator.
        self.assertIn("transaction.state.log.replication.factor=1", settings)
        self.assertIn("transaction.state.log.min.isr=1", settings)

    def test_without_a_password_nothing_starts_and_the_missing_one_is_named(self):
        self.assertGreaterEqual(len(passwords()), 6)
        for name in passwords():
            with self.subTest(password=name):
                told = compose("config", "--quiet", variables={**example(), name: ""})
                self.assertNotEqual(told.returncode, 0)
                self.assertIn(f"{name} is missing a value: see .env.example", told.stderr)

    def test_the_example_of_variables_names_all_that_are_read_and_no_others(self):
        read = set(re.findall(r"(?<!\$)\$\{([A-Z_]+)", FILE.read_text()))
        self.assertEqual(read, set(example()))

    def test_make_env_gives_every_empty_password_a_random_one_and_leaves_a_file_that_is_there(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            (folder / "scripts").mkdir()
            script = Path(shutil.copy(ROOT / "scripts/make-env", folder / "scripts"))
            shutil.copy(EXAMPLE, folder)
            for _ in range(2):
                subprocess.run([script], stdout=subprocess.DEVNULL, check=True)
                made = values_in(folder / ".env")
                self.assertEqual((folder / ".env").stat().st_mode & 0o077, 0)
                self.assertEqual(set(made), set(example()))
                secrets = {made[name] for name in passwords()}
                self.assertEqual(len(secrets), len(passwords()))
                for secret in secrets:
                    self.assertRegex(secret, "^[0-9a-f]{48}$")
                script.write_text(script.read_text().replace("/dev/urandom", "/dev/zero"))

    def test_images_are_pinned_to_a_version(self):
        for name, service in self.services.items():
            with self.subTest(service=name):
                if "build" not in service:
                    # Redline's own tag says which tree it was built from.
                    self.assertRegex(service["image"], r"^[a-z0-9./-]+:v?\d+\.\d+(\.\d+)?(-[a-z0-9.]+)?$")

    def test_ports_are_published_to_this_machine_only(self):
        published = 0
        for name, service in self.services.items():
            with self.subTest(service=name):
                for port in service.get("ports", []):
                    published += 1
                    self.assertEqual(port.get("host_ip"), "127.0.0.1", port)
        self.assertGreaterEqual(published, 9)

    def test_services_tell_their_health_start_again_and_are_bounded(self):
        for name, service in self.services.items():
            with self.subTest(service=name):
                self.assertIn("memory", service["deploy"]["resources"]["limits"])
                self.assertIn("cpus", service["deploy"]["resources"]["limits"])
                self.assertEqual(service["logging"]["driver"], "local")
                self.assertIn("no-new-privileges:true", service["security_opt"])
                if name in ONE_SHOT:
                    self.assertEqual(service["restart"], "on-failure:3")
                else:
                    self.assertIn("test", service["healthcheck"])
                    self.assertEqual(service["restart"], "unless-stopped")

    def test_roles_wait_for_the_migration_and_for_what_they_need(self):
        for name, service in self.roles.items():
            with self.subTest(service=name):
                conditions = {other: what["condition"] for other, what in service["depends_on"].items()}
                needed = dict.fromkeys(("kafka", "registry", "postgres"), "service_healthy")
                if name not in ONE_SHOT:
                    needed["migrate"] = "service_completed_successfully"
                # Not for Redis: it saves work and decides nothing.
                self.assertEqual(conditions, needed)

    def test_roles_can_write_nowhere_and_have_no_rights(self):
        for name, service in self.roles.items():
            with self.subTest(service=name):
                self.assertTrue(service["read_only"])
                self.assertEqual(service["cap_drop"], ["ALL"])
                self.assertNotIn("user", service)  # the image's own, which is not root

    def test_what_is_mounted_is_there(self):
        mounted = 0
        for name, service in self.services.items():
            with self.subTest(service=name):
                for volume in service.get("volumes", []):
                    if volume["type"] == "bind":
                        mounted += 1
                        self.assertTrue(Path(volume["source"]).exists(), f"{volume['source']} is not there")
                        self.assertTrue(volume["read_only"], volume)
        self.assertGreaterEqual(mounted, 4)

    def ports(self):
        """The port of each role that listens."""
        for name, setting in (
            ("ingest", "REDLINE_INGEST__LISTEN"),
            ("work", "REDLINE_WORK__METRICS_LISTEN"),
            ("relay", "REDLINE_RELAY__METRICS_LISTEN"),
        ):
            yield name, self.roles[name]["environment"][setting].rpartition(":")[2]

    def test_health_is_asked_where_the_role_listens(self):
        for name, port in self.ports():
            with self.subTest(service=name):
                self.assertEqual(self.roles[name]["healthcheck"]["test"], ["CMD", "answers", port, "/readyz"])

    def test_prometheus_asks_every_role_where_it_listens(self):
        targets = (ROOT / "configs/prometheus/prometheus.yml").read_text()
        for name, port in self.ports():
            with self.subTest(service=name):
                self.assertRegex(targets, rf"\b{name}:{port}\b|names: *\[?\"?{name}\"?\]?[\s\S]*?port: *{port}\b")

    def test_variables_of_the_roles_are_settings_that_the_binary_knows(self):
        documented = (ROOT / "configs/redline.toml").read_text()
        for name, service in self.roles.items():
            with self.subTest(service=name):
                environment = service["environment"]
                for variable in environment:
                    if variable.startswith("REDLINE_"):
                        # With a single underscore it would be ignored.
                        self.assertIn("__", variable)
                    else:
                        self.assertTrue(variable in documented, f"configs/redline.toml does not tell of {variable}")
                told = settings_read(environment)
                self.assertEqual(told.returncode, 0, f"{name}: {told.stderr}")
                # And it would tell.
                told = settings_read({**environment, "REDLINE_WORK__NO_SUCH": "1"})
                self.assertEqual(told.returncode, 2, told.stderr)


def settings_read(environment):
    """A command that reads all settings and the rules of the image, and connects to nothing."""
    image = {"REDLINE_CONFIG": "configs/redline.toml", "REDLINE_MIGRATE__RULES": "configs/rules.toml"}
    return subprocess.run(
        [tools.binary(), "rules", "check", "configs/rules.toml"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**image, **environment},
        cwd=ROOT,
        check=False,
        text=True,
    )
