"""Apache Kafka: nodes that are broker and controller each (KRaft)."""

import hashlib
import re
from pathlib import Path

import fetch
import ports
from processes import run_to_end
from service import Service

HERE = Path(__file__).parent
POM = HERE / "kafka-pom.xml"
VERSION = re.search(r"<kafka.version>(.+)</kafka.version>", POM.read_text())[1]
CLUSTER = "AAAAAAAAAAAAAAAAAAAAAQ"


def package():
    digest = hashlib.sha256(POM.read_bytes()).hexdigest()[:8]
    return fetch.Package(f"kafka-{VERSION}-{digest}", f"Apache Kafka {VERSION}", fill)


async def fill(folder, log):
    await fetch.maven(
        "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies",
        "--file",
        POM,
        "-DincludeScope=runtime",
        f"-DoutputDirectory={folder}",
        log=log,
    )


def name_of(node):
    """The first node is `kafka`, the others `kafka-2` and so on."""
    return "kafka" if node == 1 else f"kafka-{node}"


def cluster(folder, java, libraries, durable, size):
    """Nodes that know one another, by name."""
    nodes = []
    for node in range(1, size + 1):
        nodes.append(Kafka(folder, java, libraries, durable, node, nodes))
    return {node.name: node for node in nodes}


class Kafka(Service):
    def __init__(self, folder, java, libraries, durable, node, nodes):
        self.name = name_of(node)
        super().__init__(folder)
        self.node = node
        self.nodes = nodes
        self.controller_port = ports.claim()
        # Who asks for brokers at the first is told the second, where a test may stand in between.
        self.proxied_port = ports.claim()
        self.proxy_port = ports.claim()
        self.java = java
        self.libraries = libraries
        self.durable = durable
        self.settings = self.folder / "server.properties"

    def version(self):
        return f"{VERSION} on Java {self.java.major}"

    def address(self):
        return f"127.0.0.1:{self.port}"

    def variables(self):
        if self.node != 1:
            return {}
        proxies = [f"{node.proxy_port}={node.proxied_port}" for node in self.nodes]
        return {
            "KAFKA_BOOTSTRAP_SERVERS": ",".join(node.address() for node in self.nodes),
            "REDLINE_TEST_KAFKA_PROXIES": ",".join(proxies),
        }

    async def prepare(self):
        (self.folder / "tmp").mkdir()
        self.settings.write_text(self._settings())
        await run_to_end(
            "formatting Kafka's storage",
            self._java("kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", self.settings),
            log=self.log,
            cwd=self.folder,
            env=self.environment(),
        )

    def command(self):
        return self._java("kafka.Kafka", self.settings)

    def _java(self, *arguments):
        return [
            self.java.executable,
            "-Xms64m",
            # Functional tests want a quick start, benchmarks the full compiler.
            *(["-Xmx1g"] if self.durable else ["-Xmx256m", "-XX:TieredStopAtLevel=1"]),
            "-XX:+UseSerialGC",
            # Otherwise a killed Java leaves a file in /tmp/hsperfdata_*.
            "-XX:-UsePerfData",
            f"-Djava.io.tmpdir={self.folder / 'tmp'}",
            f"-Dlog4j2.configurationFile={HERE / 'log4j2.properties'}",
            "-cp",
            f"{self.libraries}/*",
            *arguments,
        ]

    def _settings(self):
        voters = ",".join(f"{node.node}@127.0.0.1:{node.controller_port}" for node in self.nodes)
        copies = len(self.nodes)
        enough = max(1, copies - 1)
        return f"""\
process.roles=broker,controller
node.id={self.node}
controller.quorum.voters={voters}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{self.port},PROXIED://127.0.0.1:{self.proxied_port},CONTROLLER://127.0.0.1:{self.controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{self.port},PROXIED://127.0.0.1:{self.proxy_port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs={self.data}

# A misspelled topic must fail, not appear.
auto.create.topics.enable=false

# One node keeps one copy; few partitions start quickly.
min.insync.replicas={enough}
offsets.topic.num.partitions=4
offsets.topic.replication.factor={copies}
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor={copies}
transaction.state.log.min.isr={enough}
share.coordinator.state.topic.num.partitions=4
share.coordinator.state.topic.replication.factor={copies}
share.coordinator.state.topic.min.isr={enough}

# Tests of rebalances should not wait for seconds.
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000

# After a crash the broker may return only when its old session is over: 9 s by default.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500

# The default takes 128 MB of heap.
log.cleaner.dedupe.buffer.size=2097152
"""
