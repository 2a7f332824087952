"""A foreign client: Confluent's own, with its own Avro serializer, its default partitioner, and `requests`.

    foreign.py produce|post|flags < input.json > answer.json

It knows nothing of Redline but the contract: topics, keys, schemas in the registry, the HTTP door.
"""

import datetime
import decimal
import faulthandler
import json
import sys

import requests
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

PATIENCE = 30  # seconds

# The topic's own subject. By default the client would first ask the registry for associations, which only
# Confluent's own has; Apicurio once in a while never answers that.
SUBJECTS = {"subject.name.strategy.type": "TOPIC"}

TIMES = ("observed_at", "modified_at")


def time(text):
    return datetime.datetime.fromisoformat(text)


def row(values):
    """A row as the serializer wants it: what JSON says in text becomes times, dates and decimals."""
    values = {**values}
    for field in TIMES:
        if field in values:
            values[field] = time(values[field])
    if "period_end" in values:
        values["period_end"] = datetime.date.fromisoformat(values["period_end"])
    values["columns"] = {
        column: decimal.Decimal(value) if type(value) is int else value
        for column, value in values["columns"].items()
    }
    values["column_edits"] = {
        column: {**edit, **({"modified_at": time(edit["modified_at"])} if "modified_at" in edit else {})}
        for column, edit in values.get("column_edits", {}).items()
    }
    return values


def produce(given, registry):
    """Schemas are registered by `redline migrate`, never by a producer."""
    serializer = AvroSerializer(
        registry, conf={"auto.register.schemas": False, "use.latest.version": True, **SUBJECTS}
    )
    failures = []
    producer = Producer({"bootstrap.servers": given["kafka"]})
    context = SerializationContext(given["topic"], MessageField.VALUE)
    for values in given["rows"]:
        producer.produce(
            given["topic"],
            key=f"{values['source']}/{values['row_id']}",
            value=serializer(row(values), context),
            on_delivery=lambda error, _: failures.append(str(error)) if error else None,
        )
    left = producer.flush(PATIENCE)
    if failures or left:
        raise SystemExit(f"{left} records are left, and these failed: {failures}")
    return {"produced": len(given["rows"])}


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
