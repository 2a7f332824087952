"""Apicurio registry, which speaks the API of Confluent's schema registry."""

import hashlib
import tarfile

import fetch
import ports
from processes import Failure
from service import Service

BASE_PATH = "/apis/ccompat/v7"

# 3.3.3 is truer to Confluent but needs Java 21.
NEWER, NEWER_JAVA, OLDER = "3.3.3", 21, "3.0.9"
CHECKSUMS = {
    "3.3.3": "8bc6751c76d963734224b01d5e7f84ccb3cb61c87d3bd77c36c35f10a5cbed63",
    "3.0.9": "2b28181501a20cbf6efcd77f9b7153908fc01f3d3a7c32024c0bd9e1b04c8a43",
}


def version_for(java):
    return NEWER if java.major >= NEWER_JAVA else OLDER


def package(java):
    version = version_for(java)

    async def fill(folder, log):
        # Plugin 2.8, because the newer ones also want the parent's pom, which 3.0.9 never published.
        await fetch.maven(
            "org.apache.maven.plugins:maven-dependency-plugin:2.8:copy",
            f"-Dartifact=io.apicurio:apicurio-registry-app:{version}:tar.gz:all",
            f"-DoutputDirectory={folder}",
            log=log,
        )
        archive = folder / f"apicurio-registry-app-{version}-all.tar.gz"
        if hashlib.sha256(archive.read_bytes()).hexdigest() != CHECKSUMS[version]:
            raise Failure(f"{archive.name} is not the file that was pinned")
        with tarfile.open(archive) as content:
            # Refuses names that lead out of the folder; the oldest 3.11 do not know it yet.
            content.extraction_filter = getattr(tarfile, "data_filter", lambda member, path: member)
            content.extractall(folder)
        archive.unlink()

    return fetch.Package(f"apicurio-{version}", f"Apicurio registry {version}", fill)


class Registry(Service):
    name = "registry"
    greeting = f"GET {BASE_PATH}/subjects HTTP/1.0\r\n\r\n".encode()
    welcome = b"HTTP/1.0 200"

    def __init__(self, folder, java, program):
        super().__init__(folder)
        self.management_port = ports.claim()
        self.java = java
        (self.jar,) = program.glob("*run*.jar")  # its name differs between the two versions

    def version(self):
        return f"Apicurio {version_for(self.java)} on Java {self.java.major}"

    def address(self):
        return f"http://127.0.0.1:{self.port}{BASE_PATH}"

    async def prepare(self):
        self.data.mkdir()
        (self.folder / "tmp").mkdir()

    def command(self):
        return [
            self.java.executable,
            "-Xmx256m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            # Otherwise a killed Java leaves a file in /tmp/hsperfdata_*.
            "-XX:-UsePerfData",
            f"-Djava.io.tmpdir={self.folder / 'tmp'}",
            # By default the schemas are in memory: a restart would forget them and give their ids anew.
            # Without a write delay of 0 a crash loses the last half second.
            f"-Dapicurio.datasource.url=jdbc:h2:file:{self.data / 'registry'};WRITE_DELAY=0",
            "-Dquarkus.http.host=127.0.0.1",
            f"-Dquarkus.http.port={self.port}",
            "-Dquarkus.management.host=127.0.0.1",
            f"-Dquarkus.management.port={self.management_port}",
            "-jar",
            self.jar,
        ]
