"""Sends the rows of an NDJSON file straight to Kafka, as Avro, with Confluent's own client.

    KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:9092 SCHEMA_REGISTRY_URL=http://127.0.0.1:8081 \
        python kafka_producer.py rows.ndjson --topic redline.rows

The schemas are registered by `redline migrate`, never by a producer. The key is {source}/{row_id}, so that all versions
of a row are in one partition; any partitioner will do.
"""

import argparse
import datetime
import decimal
import json
import os
import sys

from confluent_kafka import Producer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

PATIENCE = 60  # seconds that Kafka may take to acknowledge


def main():
    parser = argparse.ArgumentParser(description="Sends an NDJSON file of rows to Redline's topic.")
    parser.add_argument("file")
    parser.add_argument("--topic", default="redline.rows")
    arguments = parser.parse_args()
    registry = SchemaRegistryClient({"url": os.environ["SCHEMA_REGISTRY_URL"]})
    with open(arguments.file, encoding="utf-8") as file:
        # Fractions become decimals, as they stand in the text: never floating point where it is about money.
        rows = (json.loads(line, parse_float=decimal.Decimal) for line in file if line.strip())
        sent = produce(rows, arguments.topic, os.environ["KAFKA_BOOTSTRAP_SERVERS"], registry)
    print(f"sent: {sent}")


def produce(rows, topic, kafka, registry, properties=None):
    """Sends rows; answers how many, when Kafka has acknowledged every one of them.

    `properties` are further ones of the client, such as {"compression.type": "zstd"}.
    """
    serializer = AvroSerializer(
        registry,
        conf={
            "auto.register.schemas": False,
            "use.latest.version": True,
            # The topic's own subject. By default the client first asks for associations, which only Confluent's own
            # registry has.
            "subject.name.strategy.type": "TOPIC",
        },
    )
    settings = {"bootstrap.servers": kafka, "enable.idempotence": True, "linger.ms": 50}
    producer = Producer({**settings, **(properties or {})})
    context = SerializationContext(topic, MessageField.VALUE)
    failures = []
    sent = 0

    def delivered(error, _):
        if error is not None:
            failures.append(error)

    for values in rows:
        key, value = f"{values['source']}/{values['row_id']}", serializer(event(values), context)
        while True:
            try:
                producer.produce(topic, key=key, value=value, on_delivery=delivered)
                break
            except BufferError:  # the queue is full: wait until Kafka has taken some
                producer.poll(1)
        producer.poll(0)
        sent += 1
    left = producer.flush(PATIENCE)
    if failures or left:
        raise SystemExit(f"not acknowledged: {left}; refused: {[str(error) for error in failures[:10]]}")
    return sent


def event(values):
    """A row as Avro wants it: what JSON says in text or numbers becomes times, dates and decimals."""
    values = {**values}
    for field in ("observed_at", "modified_at"):
        if field in values:
            values[field] = time(values[field])
    if "period_end" in values:
        values["period_end"] = datetime.date.fromisoformat(values["period_end"])
    values["columns"] = {name: column(value) for name, value in values.get("columns", {}).items()}
    values["column_edits"] = {
        name: {**edit, **({"modified_at": time(edit["modified_at"])} if "modified_at" in edit else {})}
        for name, edit in values.get("column_edits", {}).items()
    }
    return values


def time(text):
    return datetime.datetime.fromisoformat(text)


def column(value):
    """Null, a boolean, an amount or text. `type`, because True is an int to Python too."""
    return decimal.Decimal(value) if type(value) is int else value


if __name__ == "__main__":
    sys.exit(main())
