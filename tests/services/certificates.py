"""Makes certificates for one run of the tests: an authority, and servers' and clients' certificates by it.

Run by the Python of the foreign client: certificates.py FOLDER
"""

import datetime
import ipaddress
import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)
NOW = datetime.datetime.now(datetime.timezone.utc)
HERE = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
ELSEWHERE = [x509.DNSName("elsewhere.example.com")]


def main(folder):
    authority = Authority("Redline tests")
    (folder / "ca.pem").write_bytes(pem(authority.certificate))
    (folder / "other-ca.pem").write_bytes(pem(Authority("Somebody else").certificate))
    for name, names, began, ends in [
        ("good", HERE, NOW - DAY, NOW + DAY),
        ("expired", HERE, NOW - 3 * DAY, NOW - 2 * DAY),
        ("elsewhere", ELSEWHERE, NOW - DAY, NOW + DAY),
        ("client", [x509.DNSName("redline")], NOW - DAY, NOW + DAY),
    ]:
        authority.issue(folder, name, names, began, ends)


class Authority:
    def __init__(self, name):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(self.name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - 10 * DAY)
            .not_valid_after(NOW + 10 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self.key, hashes.SHA256())
        )

    def issue(self, folder, name, names, began, ends):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "redline")])
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(began)
            .not_valid_after(ends)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        chain = pem(certificate) + pem(self.certificate)
        (folder / f"{name}.pem").write_bytes(chain)
        (folder / f"{name}.key").write_bytes(private)
        # Kafka reads both from one file.
        (folder / f"{name}-both.pem").write_bytes(private + chain)


def pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM)


main(Path(sys.argv[1]))
