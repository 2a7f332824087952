"""Runs the services of docker-compose.yml without containers, in namespaces of its own, as what it says tells them.

    unshare --mount --net --pid --fork --kill-child --mount-proc python3 rehearsal.py FOLDER

Taken from the compose file: variables, commands, health checks, ports, names of hosts. Not taken: the images. In
their stead run Kafka, Apicurio and Postgres as the tests have them, Redis for Valkey, and the binary as the user of the image.
The services are on one host, the roles on another, because both have a port 8080. FOLDER has given.json.
"""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[2]
SERVICES, ROLES = "10.77.0.1", "10.77.0.2"
IMAGE_USER = 10001
PATIENCE = 90  # seconds that a service may take to be healthy

FOLDER = Path(sys.argv[1])
GIVEN = json.loads((FOLDER / "given.json").read_text())
BIN = FOLDER / "bin"


class Failure(Exception):
    pass


def main():
    BIN.mkdir()
    make_hosts()
    roles_host = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
    join(roles_host.pid)
    on_roles = ["nsenter", f"--target={roles_host.pid}", "--net"]
    start_postgres()
    start_redis()
    start_kafka()
    start_registry()
    for name in ("postgres", "redis", "registry"):
        wait_healthy(name, [])
    # The image that Kafka's check is written for has `nc`; what it asks is whether the port accepts.
    wait_until("kafka is healthy", lambda: subprocess.run(["bash", "-c", "< /dev/tcp/127.0.0.1/9092"], **QUIET))
    rehearse(on_roles)
    print("rehearsed")


def make_hosts():
    hosts = FOLDER / "hosts"
    lines = [f"{ROLES if 'build' in service else SERVICES} {name}" for name, service in GIVEN["services"].items()]
    hosts.write_text("\n".join(["127.0.0.1 localhost", *lines, ""]))
    hosts.chmod(0o644)
    run("mount", "--bind", hosts, "/etc/hosts")
    run("ip", "link", "set", "lo", "up")


def join(pid):
    """Two hosts with a wire between them."""
    inside = ["nsenter", f"--target={pid}", "--net"]
    # The other host is there once its process has left ours.
    wait_until("the other host is there", lambda: other_network(pid))
    run("ip", "link", "add", "services", "type", "veth", "peer", "name", "roles", "netns", pid)
    for command, address, device in (([], SERVICES, "services"), (inside, ROLES, "roles")):
        run(*command, "ip", "address", "add", f"{address}/24", "dev", device)
        run(*command, "ip", "link", "set", device, "up")
    run(*inside, "ip", "link", "set", "lo", "up")


def other_network(pid):
    is_other = os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net")
    return subprocess.CompletedProcess([], 0 if is_other else 1, "")


def start_postgres():
    """As its image does: a first start on a socket only, on which the scripts run, and a second one for all."""
    variables = GIVEN["services"]["postgres"]["environment"]
    data, sockets, password = FOLDER / "postgres", FOLDER / "sockets", FOLDER / "password"
    for folder, mode in ((data, 0o700), (sockets, 0o755)):
        folder.mkdir()
        shutil.chown(folder, "postgres")
        folder.chmod(mode)
    password.write_text(variables["POSTGRES_PASSWORD"])
    shutil.chown(password, "postgres")
    programs = Path(GIVEN["postgres"])
    as_postgres = ["runuser", "-u", "postgres", "--"]
    run(
        *as_postgres,
        *(programs / "initdb", "--no-sync", f"--pgdata={data}", "--username=postgres", f"--pwfile={password}"),
    )
    with open(data / "pg_hba.conf", "a") as rules:
        rules.write("host all all all scram-sha-256\n")
    control = [*as_postgres, programs / "pg_ctl", f"--pgdata={data}", f"--log={sockets / 'log'}", "--wait"]
    here = f"-c unix_socket_directories={sockets}"
    run(*control, "-o", f"{here} -c listen_addresses=''", "start")
    initial = {**os.environ, **variables, "POSTGRES_USER": "postgres", "PGHOST": str(sockets)}
    run("bash", ROOT / "docker/postgres/init.sh", env=initial)
    run(*control, "--mode=fast", "stop")
    settings = " ".join(GIVEN["services"]["postgres"]["command"][1:])
    run(*control, "-o", f"{here} -c listen_addresses='*' {settings}", "start")
    (BIN / "pg_isready").symlink_to(programs / "pg_isready")


def start_redis():
    for name in ("server", "cli"):
        (BIN / f"valkey-{name}").symlink_to(shutil.which(f"redis-{name}"))
    # Without an image's own settings Redis listens to its own host only.
    command = command_of("redis")
    command[-1] += " --protected-mode no --bind 0.0.0.0"
    start("redis", command, environment_of("redis"))


def start_kafka():
    """As its image does: a wrapper makes the settings of the variables and formats the storage."""
    folder = FOLDER / "kafka"
    for name in ("default", "mounted", "final"):
        (folder / name).mkdir(parents=True)
    for name in ("server.properties", "log4j2.yaml", "tools-log4j2.yaml"):
        (folder / "default" / name).touch()
    environment = {**environment_of("kafka"), "KAFKA_LOG_DIRS": str(folder / "data")}
    java = [GIVEN["java"], "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", *environment["KAFKA_HEAP_OPTS"].split()]
    classes = ["-cp", f"{GIVEN['kafka']}/*"]
    setup = ("--default-configs-dir", "default", "--mounted-configs-dir", "mounted", "--final-configs-dir", "final")
    run(*java, *classes, "kafka.docker.KafkaDockerWrapper", "setup", *setup, cwd=folder, env=environment)
    logging = f"-Dlog4j2.configurationFile={ROOT / 'tests/services/log4j2.properties'}"
    start("kafka", [*java, logging, *classes, "kafka.Kafka", folder / "final/server.properties"], environment)


def start_registry():
    environment = environment_of("registry")
    java = [GIVEN["java"], "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", *environment["JAVA_OPTS_APPEND"].split()]
    start("registry", [*java, "-Dquarkus.http.host=0.0.0.0", "-jar", GIVEN["registry"]], environment)


def rehearse(on_roles):
    binary = FOLDER / "redline"
    shutil.copy(GIVEN["binary"], binary)
    shutil.copytree(ROOT / "configs", FOLDER / "configs")
    as_image = [*on_roles, "setpriv", f"--reuid={IMAGE_USER}", f"--regid={IMAGE_USER}", "--clear-groups", "--"]

    def role(name, *arguments):
        image = {
            "REDLINE_CONFIG": str(FOLDER / "configs/redline.toml"),
            "REDLINE_MIGRATE__RULES": str(FOLDER / "configs/rules.toml"),
        }
        return [*as_image, binary, *arguments], {**image, **environment_of(name)}

    command, environment = role("migrate", *GIVEN["services"]["migrate"]["command"])
    run(*command, env=environment, cwd="/")
    running = {}
    for name in ("ingest", "work", "relay"):
        command, environment = role(name, *GIVEN["services"][name]["command"])
        running[name] = start(name, command, environment)
    shutil.copy(ROOT / "docker/answers", BIN)
    for name in running:
        wait_healthy(name, as_image)
    # Prometheus asks from another host than the roles'.
    for name, port in (("ingest", 8080), ("work", 9102), ("relay", 9103)):
        ask(f"http://{name}:{port}/metrics")

    command, environment = role("ingest", "key", "create", "rehearsal", "--scope", "rows,read")
    key = run(*command, env=environment, cwd="/").strip()
    answer = ask("http://ingest:8080/v1/rows", key, (ROOT / "docs/guides/examples/rows.ndjson").read_bytes())
    expect(json.loads(answer), {"accepted": 3})
    command, environment = role("work", "doctor", "--quiet", "--wait", "60")
    run(*command, env=environment, cwd="/")
    flags = json.loads(ask("http://ingest:8080/v1/flags?source=billing", key))["items"]
    expect({flag["entity_id"] for flag in flags}, {"R-2001"})
    # A Redis that cannot be used is left alone without a word to the outside: so look at what it was told.
    told = run(BIN / "valkey-cli", "dbsize", env=environment_of("redis"))
    expect(told.strip(), "3")

    for name, process in running.items():
        process.terminate()
    for name, process in running.items():
        try:
            status = process.wait(20)  # stop_grace_period
        except subprocess.TimeoutExpired:
            status = "still running"
        if status != 0:
            raise Failure(f"{name} ends with {status} when it is told to stop:\n{log_of(name)}")


# What all of it is made of.

QUIET = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": False}


def environment_of(name):
    return {"PATH": f"{BIN}:{os.environ['PATH']}", **GIVEN["services"][name].get("environment", {})}


def command_of(name):
    # Compose doubles a dollar that is none of its own.
    return [word.replace("$$", "$") for word in GIVEN["services"][name]["command"]]


def run(*command, **options):
    """Runs it to its end; answers what it says."""
    told = subprocess.run(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        text=True,
        **options,
    )
    if told.returncode != 0:
        raise Failure(f"{' '.join(map(str, command))} fails ({told.returncode}):\n{told.stdout}")
    return told.stdout


def start(name, command, environment):
    with open(FOLDER / f"{name}.log", "w") as log:
        return subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=FOLDER,
        )


def log_of(name):
    file = FOLDER / f"{name}.log"
    return "\n".join(file.read_text().splitlines()[-30:]) if file.is_file() else ""


def wait_healthy(name, inside):
    """By the health check of the compose file."""
    kind, *command = GIVEN["services"][name]["healthcheck"]["test"]
    command = [word.replace("$$", "$") for word in command]
    if kind == "CMD-SHELL":
        command = ["sh", "-c", *command]
    look = {**QUIET, "env": environment_of(name)}
    try:
        wait_until(f"{name} is healthy", lambda: subprocess.run([*inside, *command], **look))
    except Failure as failure:
        raise Failure(f"{failure}:\n{log_of(name)}") from None


def wait_until(what, look):
    deadline = time.monotonic() + PATIENCE
    while look().returncode != 0:
        if time.monotonic() > deadline:
            raise Failure(f"{what}: not within {PATIENCE} s")
        time.sleep(0.2)


def ask(url, key=None, body=None):
    headers = {"Content-Type": "application/x-ndjson"} | ({"Authorization": f"Bearer {key}"} if key else {})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(url, body, headers), timeout=60) as answer:
        return answer.read()


def expect(found, expected):
    if found != expected:
        raise Failure(f"{found} instead of {expected}")


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        print(failure)
        sys.exit(1)
