package com.example.redline;

import com.fasterxml.jackson.databind.JsonNode;
import java.math.RoundingMode;
import java.time.Instant;
import java.time.LocalDate;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import org.apache.avro.LogicalTypes;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.generic.GenericRecordBuilder;

/** A row in JSON as Avro wants it: what stands there in text or numbers becomes times, dates and decimals. */
final class Rows {
    static GenericRecord event(JsonNode row, Schema schema) {
        for (Map.Entry<String, JsonNode> given : row.properties()) {
            if (schema.getField(given.getKey()) == null) {
                throw new IllegalArgumentException(schema.getName() + " has no field " + given.getKey());
            }
        }
        GenericRecordBuilder event = new GenericRecordBuilder(schema);
        for (Schema.Field field : schema.getFields()) {
            if (row.has(field.name())) { // else the schema's default
                event.set(field, value(row.get(field.name()), field.schema()));
            }
        }
        return event.build();
    }

    private static Object value(JsonNode node, Schema schema) {
        return switch (schema.getType()) {
            case UNION -> node.isNull() ? null : value(node, branch(node, schema));
            case RECORD -> event(node, schema);
            case MAP -> {
                Map<String, Object> values = new LinkedHashMap<>();
                for (Map.Entry<String, JsonNode> given : node.properties()) {
                    values.put(given.getKey(), value(given.getValue(), schema.getValueType()));
                }
                yield values;
            }
            case BOOLEAN -> node.booleanValue();
            case LONG -> schema.getLogicalType() == null ? node.longValue() : Instant.parse(node.textValue());
            case INT -> LocalDate.parse(node.textValue());
            // An amount: exactly nine digits after the point. More would be a loss, and are refused.
            case BYTES -> node.decimalValue().setScale(scale(schema), RoundingMode.UNNECESSARY);
            case STRING -> node.textValue();
            default -> throw new IllegalArgumentException("no row has a field of type " + schema.getType());
        };
    }

    /** Which of a union's types a value has: of a column null, a boolean, an amount or text. */
    private static Schema branch(JsonNode node, Schema union) {
        Set<Schema.Type> fitting =
                switch (node.getNodeType()) {
                    case BOOLEAN -> Set.of(Schema.Type.BOOLEAN);
                    case NUMBER -> Set.of(Schema.Type.BYTES);
                    case STRING -> Set.of(Schema.Type.STRING, Schema.Type.LONG, Schema.Type.INT);
                    default -> Set.of();
                };
        return union.getTypes().stream()
                .filter(type -> fitting.contains(type.getType()))
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException(node + " is none of " + union.getTypes()));
    }

    private static int scale(Schema schema) {
        return ((LogicalTypes.Decimal) schema.getLogicalType()).getScale();
    }

    private Rows() {}
}
