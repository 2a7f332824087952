"""A foreign client: Confluent's own, with its own Avro serializer, its default partitioner, and `requests`.

    foreign.py produce|post|flags < input.json > answer.json

It knows nothing of Redline but the contract: topics, keys, schemas in the registry, the HTTP door. It produces as the
guide's example does, so that the example is tried on every row here.
"""

import decimal
import faulthandler
import json
import sys
from pathlib import Path

import requests
from confluent_kafka import Consumer, KafkaError, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

sys.dont_write_bytecode = True  # no __pycache__ in the project's tree
sys.path.append(str(Path(__file__).parents[2] / "docs/guides/examples/python"))

import kafka_producer

PATIENCE = 30  # seconds

# The topic's own subject. By default the client would first ask the registry for associations, which only
# Confluent's own has; Apicurio once in a while never answers that.
SUBJECTS = {"subject.name.strategy.type": "TOPIC"}


def produce(given, registry):
    properties = given.get("properties")
    sent = kafka_producer.produce(given["rows"], given["topic"], given["kafka"], registry, properties)
    return {"produced": sent}


def post(given, _):
    session = requests.Session()
    session.trust_env = False  # no proxy on the way to this machine
    answer = session.post(
        given["url"],
        headers={"Authorization": f"Bearer {given['key']}", "Content-Type": "application/json"},
        data=given["body"].encode(),
        timeout=PATIENCE,
    )
    return {"status": answer.status_code, "body": answer.json()}


def flags(given, registry):
    """Every flag on the topic, read to its end."""
    deserializer = AvroDeserializer(registry, conf=SUBJECTS)
    context = SerializationContext(given["topic"], MessageField.VALUE)
    consumer = Consumer(
        {
            "bootstrap.servers": given["kafka"],
            "group.id": f"foreign-{given['topic']}",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    partitions = consumer.list_topics(given["topic"], PATIENCE).topics[given["topic"]].partitions
    consumer.assign([TopicPartition(given["topic"], partition, 0) for partition in partitions])
    open_partitions = set(partitions)
    found = []
    while open_partitions:
        message = consumer.poll(PATIENCE)
        if message is None:
            raise SystemExit(f"Kafka says nothing about the partitions {open_partitions}")
        if message.error() is None:
            found.append({"key": message.key().decode(), **deserializer(message.value(), context)})
        elif message.error().code() == KafkaError._PARTITION_EOF:
            open_partitions.discard(message.partition())
        else:
            raise SystemExit(str(message.error()))
    consumer.close()
    return {"flags": found}


def show(value):
    if isinstance(value, decimal.Decimal):
        text = f"{value:f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return value.isoformat()


def main():
    # A script that hangs says where before its test gives up.
    faulthandler.dump_traceback_later(2 * PATIENCE - 15, exit=True)
    action = {"produce": produce, "post": post, "flags": flags}[sys.argv[1]]
    # Fractions are decimals, as they stand in the text: no floating point.
    given = json.load(sys.stdin, parse_float=decimal.Decimal)
    registry = SchemaRegistryClient({"url": given["registry"], "timeout": PATIENCE / 3})
    json.dump(action(given, registry), sys.stdout, default=show)


if __name__ == "__main__":
    main()
