package com.example.redline;

import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.avro.generic.GenericRecord;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Sends the rows of an NDJSON file straight to Kafka, as Avro.
 *
 * <pre>
 * KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:9092 SCHEMA_REGISTRY_URL=http://127.0.0.1:8081 \
 *     java -jar target/redline-producer.jar ../rows.ndjson redline.rows
 * </pre>
 */
public final class RowProducer {
    private static final int AWAITED = 10_000;

    public static void main(String[] arguments) throws Exception {
        String topic = arguments.length > 1 ? arguments[1] : "redline.rows";
        // Numbers become decimals, as they stand in the text: never floating point where it is about money.
        ObjectMapper json =
                JsonMapper.builder().enable(DeserializationFeature.USE_BIG_DECIMAL_FOR_FLOATS).build();
        RegisteredSchema schema = RegisteredSchema.latest(System.getenv("SCHEMA_REGISTRY_URL"), topic + "-value");
        long sent = 0;
        // Idempotent, and acknowledged by all replicas in sync: both are Kafka's defaults.
        try (var producer =
                        new KafkaProducer<>(
                                Map.<String, Object>of(
                                        "bootstrap.servers", System.getenv("KAFKA_BOOTSTRAP_SERVERS"),
                                        "linger.ms", 50),
                                new StringSerializer(),
                                new ByteArraySerializer());
                var lines = Files.lines(Path.of(arguments[0]))) {
            List<Future<RecordMetadata>> awaited = new ArrayList<>();
            for (String line : (Iterable<String>) lines.filter(text -> !text.isBlank())::iterator) {
                awaited.add(producer.send(record(topic, json.readTree(line), schema)));
                sent++;
                if (awaited.size() == AWAITED) {
                    await(awaited);
                }
            }
            producer.flush();
            await(awaited);
        }
        System.out.println("sent: " + sent);
    }

    /** All versions of a row are in one partition, because they have one key; any partitioner will do. */
    private static ProducerRecord<String, byte[]> record(String topic, JsonNode row, RegisteredSchema schema)
            throws IOException {
        GenericRecord event = Rows.event(row, schema.schema());
        String key = event.get("source") + "/" + event.get("row_id");
        return new ProducerRecord<>(topic, key, schema.encode(event));
    }

    /** Until Kafka has acknowledged each of them; the first that it has not ends the program. */
    private static void await(List<Future<RecordMetadata>> awaited) throws InterruptedException, ExecutionException {
        for (Future<RecordMetadata> one : awaited) {
            one.get();
        }
        awaited.clear();
    }

    private RowProducer() {}
}
