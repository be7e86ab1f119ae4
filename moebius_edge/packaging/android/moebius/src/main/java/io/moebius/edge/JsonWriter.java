package io.moebius.edge;

import java.util.List;
import java.util.Map;

/** Writes JSON: ASCII, on one line. */
final class JsonWriter {
    private JsonWriter() {}

    /** Text of a Map, List, String, Number, Boolean or null. Throws MoebiusException for a number that is not finite. */
    static String write(Object value) {
        StringBuilder out = new StringBuilder();
        write(value, out);
        return out.toString();
    }

    private static void write(Object value, StringBuilder out) {
        if (value instanceof Map) {
            String separator = "";
            out.append('{');
            for (Map.Entry<?, ?> entry : ((Map<?, ?>) value).entrySet()) {
                out.append(separator);
                quote(entry.getKey().toString(), out);
                out.append(": ");
                write(entry.getValue(), out);
                separator = ", ";
            }
            out.append('}');
        } else if (value instanceof List) {
            String separator = "";
            out.append('[');
            for (Object item : (List<?>) value) {
                out.append(separator);
                write(item, out);
                separator = ", ";
            }
            out.append(']');
        } else if (value instanceof String) {
            quote((String) value, out);
        } else {
            if (value instanceof Double && !Double.isFinite((Double) value)) {
                throw new MoebiusException(value + " is no number of JSON");
            }
            out.append(value);
        }
    }

    private static void quote(String text, StringBuilder out) {
        out.append('"');
        for (char letter : text.toCharArray()) {
            if (letter == '"' || letter == '\\') {
                out.append('\\').append(letter);
            } else if (letter < ' ' || letter > '~') {
                out.append(String.format("\\u%04x", (int) letter));
            } else {
                out.append(letter);
            }
        }
        out.append('"');
    }
}
