"""Jaeger 2, in which a slow test reads traces back: built from its Go module, which ships no binary of its own."""

import hashlib
import shutil
from pathlib import Path

import fetch
import ports
from processes import Failure, run_to_end
from service import Service

VERSION = "1.76.0"  # of the module; the program calls itself 2.x

# go.mod and go.sum with every module's version and checksum. A module of its own, because `go install` refuses
# Jaeger's, which has a replacement in it.
MODULE = Path(__file__).parent / "jaeger"

CONFIGURATION = """\
service:
  extensions: [jaeger_storage, jaeger_query]
  pipelines:
    traces: {{receivers: [otlp], processors: [], exporters: [jaeger_storage_exporter]}}
  telemetry:
    metrics: {{level: none}}
    logs: {{level: warn}}
extensions:
  jaeger_query:
    storage: {{traces: memory}}
    http: {{endpoint: "127.0.0.1:{query}"}}
    grpc: {{endpoint: "127.0.0.1:{query_grpc}"}}
  jaeger_storage:
    backends:
      memory: {{memory: {{max_traces: 10000}}}}
receivers:
  otlp:
    protocols:
      grpc: {{endpoint: "127.0.0.1:{grpc}"}}
      http: {{endpoint: "127.0.0.1:{http}"}}
exporters:
  jaeger_storage_exporter: {{trace_storage: memory}}
"""


def package():
    content = b"".join((MODULE / name).read_bytes() for name in ("go.mod", "go.sum"))
    digest = hashlib.sha256(content).hexdigest()[:8]
    return fetch.Package(f"jaeger-{VERSION}-{digest}", f"Jaeger {VERSION}, some minutes of compiling", fill)


def is_cached():
    return (fetch.cache() / package().folder).is_dir()


async def fill(folder, log):
    if shutil.which("go") is None:
        raise Failure("Jaeger is built by Go 1.24.6 or newer (go), which is missing on this machine")
    sources = log.parent / "sources"
    shutil.copytree(MODULE, sources)
    await run_to_end(
        "go build",
        [
            # Whatever else runs on this machine comes first.
            *("nice", "-n", "19", "go", "build", "-mod=readonly", "-trimpath", "-ldflags=-s -w"),
            *("-o", folder / "jaeger", "github.com/jaegertracing/jaeger/cmd/jaeger"),
        ],
        log=log,
        cwd=sources,
        env=dict(fetch.environment(log.parent), CGO_ENABLED="0"),
    )


class Jaeger(Service):
    name = "jaeger"
    greeting = b"GET /api/services HTTP/1.0\r\n\r\n"
    welcome = b"HTTP/1.0 200"

    def __init__(self, folder, program):
        super().__init__(folder)
        self.program = program
        self.receiving = {name: ports.claim() for name in ("grpc", "http", "query_grpc")}
        self.configuration = self.folder / "jaeger.yaml"

    def version(self):
        return VERSION

    def address(self):
        return f"http://127.0.0.1:{self.port}"

    def variables(self):
        return {
            "REDLINE_TEST_JAEGER": self.address(),
            "REDLINE_TEST_JAEGER_GRPC": f"http://127.0.0.1:{self.receiving['grpc']}",
            "REDLINE_TEST_JAEGER_HTTP": f"http://127.0.0.1:{self.receiving['http']}",
        }

    def environment(self):
        # Otherwise it traces itself.
        return dict(super().environment(), OTEL_TRACES_SAMPLER="always_off")

    async def prepare(self):
        self.configuration.write_text(CONFIGURATION.format(query=self.port, **self.receiving))

    def command(self):
        return [self.program / "jaeger", f"--config={self.configuration}"]
