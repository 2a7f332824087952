"""Gives a user in Kafka the rights that docs/guides/connections.md names, and no others.

Run by the Python of the foreign client: rights.py BOOTSTRAP PREFIX USER=roles USER=migrate USER=roles,migrate
"""

import sys

from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

ROLES = [
    (ResourceType.TOPIC, AclOperation.READ),
    (ResourceType.TOPIC, AclOperation.WRITE),
    (ResourceType.GROUP, AclOperation.READ),
    (ResourceType.TRANSACTIONAL_ID, AclOperation.WRITE),
]
MIGRATE = [
    (ResourceType.TOPIC, AclOperation.CREATE),
    (ResourceType.TOPIC, AclOperation.DESCRIBE),
    (ResourceType.TOPIC, AclOperation.DESCRIBE_CONFIGS),
]


def bindings(prefix, user, work):
    for kind, operation in {"roles": ROLES, "migrate": MIGRATE}[work]:
        yield AclBinding(
            kind, prefix, ResourcePatternType.PREFIXED, f"User:{user}", "*", operation, AclPermissionType.ALLOW
        )


def main(bootstrap, prefix, *users):
    admin = AdminClient({"bootstrap.servers": bootstrap})
    # Some rights are needed for both.
    wanted = {
        binding
        for user, works in (user.split("=") for user in users)
        for work in works.split(",")
        for binding in bindings(prefix, user, work)
    }
    for future in admin.create_acls(list(wanted), request_timeout=60).values():
        future.result()


main(*sys.argv[1:])
