"""The Dockerfile: hadolint's rules, what goes into the build, and what the binary needs of the final stage."""

import re
import shutil
import subprocess
import unittest
from fnmatch import fnmatch
from pathlib import Path

import tools

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
# Packages of Debian that its base image has.
IN_BASE = {"libc6", "libgcc-s1"}


def stages():
    """The text of each stage, by order."""
    return re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[1:]


def installed(stage):
    text = re.search(r"apt-get install -y --no-install-recommends ([^\\&]+)", stage)[1]
    return set(text.split())


def ignored(path):
    """Whether .dockerignore keeps a path out of the build; its patterns here are names, above or (**/) anywhere."""
    patterns = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    parts = path.parts
    for pattern in patterns:
        anywhere = pattern.startswith("**/")
        name = pattern.removeprefix("**/")
        if any(fnmatch(part, name) for part in (parts if anywhere else parts[:1])):
            return True
    return False


class Image(unittest.TestCase):
    def test_hadolint_has_nothing_to_say(self):
        told = subprocess.run(
            [tools.hadolint(), "--failure-threshold", "style", ROOT / "Dockerfile"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            text=True,
        )
        self.assertEqual((told.returncode, told.stdout), (0, ""))

    def test_base_images_have_a_tag_that_is_not_latest(self):
        images = re.findall(r"^ARG \w+_IMAGE=(\S+)$", DOCKERFILE, flags=re.MULTILINE)
        self.assertEqual(len(images), 2)
        for image in images:
            self.assertRegex(image, r"^[a-z]+:[a-z0-9.-]+$")
            self.assertNotIn("latest", image)
        self.assertEqual(len(re.findall(r"^FROM \$\{\w+_IMAGE\}", DOCKERFILE, flags=re.MULTILINE)), len(stages()))

    def test_the_image_builds_with_a_rust_that_the_workspace_takes(self):
        least = re.search(r'rust-version = "([\d.]+)"', (ROOT / "Cargo.toml").read_text())[1]
        image = re.search(r"RUST_IMAGE=rust:([\d.]+)-", DOCKERFILE)[1]
        self.assertGreaterEqual([*map(int, image.split("."))], [*map(int, least.split("."))])

    def test_the_roles_do_not_run_as_root(self):
        users = re.findall(r"^USER (.+)$", stages()[-1], flags=re.MULTILINE)
        self.assertEqual(users, ["10001:10001"])
        self.assertIn("useradd --uid 10001", stages()[-1])

    def test_what_is_copied_is_there_and_goes_into_the_build(self):
        copied = re.findall(r"^COPY (?:--chmod=\d+ )?(?!--from)(.+) \S+$", DOCKERFILE, flags=re.MULTILINE)
        paths = [path for line in copied for path in line.split()]
        self.assertGreaterEqual(len(paths), 4)
        for path in paths:
            with self.subTest(path=path):
                self.assertTrue((ROOT / path).exists())
                self.assertFalse(ignored(Path(path)), f"{path} is in .dockerignore")

    def test_what_the_sources_include_goes_into_the_build(self):
        included = set()
        for source in ROOT.glob("*/src/**/*.rs"):
            for name in re.findall(r'include_(?:str|bytes|dir)!\(\s*"([^"]+)"', source.read_text()):
                if "$" not in name:
                    included.add((source.parent / name).resolve().relative_to(ROOT))
        self.assertIn(Path("schemas/avro/row.avsc"), included)
        for path in included:
            with self.subTest(path=str(path)):
                self.assertFalse(ignored(path), f"{path} is in .dockerignore")

    def test_members_of_the_workspace_go_into_the_build(self):
        manifest = (ROOT / "Cargo.toml").read_text()
        members = re.search(r"^members = \[(.+?)\]", manifest, flags=re.MULTILINE | re.DOTALL)[1]
        for member in re.findall(r'"([^"]+)"', members):
            with self.subTest(member=member):
                self.assertFalse(ignored(Path(member)))

    def test_the_final_stage_has_every_library_that_the_binary_links_to(self):
        binary = tools.binary()
        if shutil.which("dpkg-query") is None:
            self.skipTest("only Debian and Ubuntu can tell which package has a library")
        told = subprocess.run(["ldd", binary], stdout=subprocess.PIPE, check=True, text=True).stdout
        self.assertNotIn("not found", told)
        libraries = re.findall(r"=> (/\S+)", told)
        self.assertTrue(any("libssl" in library for library in libraries), told)
        packages = {package_of(library) for library in libraries}
        self.assertLessEqual(packages, installed(stages()[-1]) | IN_BASE)

    def test_the_health_check_tells_an_answer_from_none(self):
        answers = ROOT / "docker/answers"
        with Answering("200 OK") as good, Answering("503 Service Unavailable") as bad:
            self.assertEqual(status(answers, good.port), 0)
            self.assertNotEqual(status(answers, bad.port), 0)
            free = bad.port
        self.assertNotEqual(status(answers, free), 0)


def package_of(library):
    # Debian 12 moved /lib into /usr/lib; its packages still name the old place, or the new one.
    for path in (library, library.removeprefix("/usr"), f"/usr{library}"):
        told = subprocess.run(
            ["dpkg-query", "--search", path],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=False,
            text=True,
        )
        if told.returncode == 0:
            return told.stdout.partition(":")[0]
    return f"no package has {library}"


def status(answers, port):
    return subprocess.run(
        [answers, str(port), "/readyz"], stderr=subprocess.DEVNULL, check=False, timeout=20
    ).returncode


class Answering:
    """A server that answers every request alike."""

    def __init__(self, line):
        import http.server

        code, _, reason = line.partition(" ")

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(int(code), reason)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port

    def __enter__(self):
        import threading

        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
