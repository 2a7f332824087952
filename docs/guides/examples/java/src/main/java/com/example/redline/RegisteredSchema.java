package com.example.redline;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.ByteArrayOutputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import org.apache.avro.Conversions;
import org.apache.avro.Schema;
import org.apache.avro.data.TimeConversions;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.EncoderFactory;

/**
 * A schema with its id in the registry, and Confluent's framing: a zero byte, the id in four bytes, the Avro.
 *
 * <p>That is all that a serializer has to do here. Who can reach Confluent's own Maven repository may take {@code
 * io.confluent.kafka.serializers.KafkaAvroSerializer} instead, with {@code auto.register.schemas=false}, {@code
 * use.latest.version=true} and {@code avro.use.logical.type.converters=true}: the bytes are the same.
 */
record RegisteredSchema(int id, Schema schema) {
    private static final Duration PATIENCE = Duration.ofSeconds(30);
    private static final GenericData WITH_LOGICAL_TYPES = new GenericData();

    static {
        WITH_LOGICAL_TYPES.addLogicalTypeConversion(new Conversions.DecimalConversion());
        WITH_LOGICAL_TYPES.addLogicalTypeConversion(new TimeConversions.TimestampMicrosConversion());
        WITH_LOGICAL_TYPES.addLogicalTypeConversion(new TimeConversions.DateConversion());
    }

    /** The newest schema of a subject. `redline migrate` registers them; a producer never does. */
    static RegisteredSchema latest(String registry, String subject) throws IOException, InterruptedException {
        URI address = URI.create(registry + "/subjects/" + subject + "/versions/latest");
        HttpClient client = HttpClient.newBuilder().connectTimeout(PATIENCE).build();
        HttpRequest request = HttpRequest.newBuilder(address).timeout(PATIENCE).build();
        HttpResponse<String> answer = client.send(request, HttpResponse.BodyHandlers.ofString());
        if (answer.statusCode() != 200) {
            throw new IOException(address + " answers " + answer.statusCode() + ": " + answer.body());
        }
        JsonNode said = new ObjectMapper().readTree(answer.body());
        Schema schema = new Schema.Parser().parse(said.get("schema").textValue());
        return new RegisteredSchema(said.get("id").intValue(), schema);
    }

    byte[] encode(GenericRecord event) throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        DataOutputStream frame = new DataOutputStream(bytes);
        frame.writeByte(0);
        frame.writeInt(id);
        BinaryEncoder encoder = EncoderFactory.get().binaryEncoder(bytes, null);
        new GenericDatumWriter<GenericRecord>(schema, WITH_LOGICAL_TYPES).write(event, encoder);
        encoder.flush();
        return bytes.toByteArray();
    }
}
