package io.moebius.edge;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** An object of {@link Json}, read with an error sentence for each field that is missing or of another type. */
public final class JsonObject {
    private static final double MAX_INTEGER = 9007199254740992.0; // 2^53: beyond it doubles skip integers

    private final Map<String, Object> fields = new LinkedHashMap<>();
    private String name = "the object";

    void name(String what) {
        name = what;
    }

    void put(String key, Object value) {
        fields.put(key, value);
    }

    public boolean has(String key) {
        return fields.containsKey(key);
    }

    /** Whether a field is there and null. */
    public boolean isNull(String key) {
        return has(key) && fields.get(key) == null;
    }

    /** In the order of the file. */
    public Set<String> keys() {
        return fields.keySet();
    }

    public String string(String key) {
        return get(key, String.class, "text");
    }

    public double number(String key) {
        return get(key, Double.class, "a number");
    }

    public boolean bool(String key) {
        return get(key, Boolean.class, "true or false");
    }

    /** A whole number of 0 to 2^53. */
    public long integer(String key) {
        double value = number(key);
        if (value != Math.rint(value) || value < 0 || value > MAX_INTEGER) {
            throw wrong(key, "a whole number of 0 or more");
        }
        return (long) value;
    }

    /** A whole number of `low` to `high`. */
    public int integer(String key, int low, int high) {
        long value = integer(key);
        if (value < low || value > high) {
            throw wrong(key, low + " to " + high);
        }
        return (int) value;
    }

    public JsonObject object(String key) {
        JsonObject value = get(key, JsonObject.class, "an object");
        value.name(name + ", " + key);
        return value;
    }

    public List<?> list(String key) {
        return get(key, List.class, "a list");
    }

    /** A list of numbers. */
    public double[] numbers(String key) {
        List<?> values = list(key);
        double[] result = new double[values.size()];
        for (int i = 0; i < result.length; i++) {
            if (!(values.get(i) instanceof Double)) {
                throw wrong(key, "a list of numbers");
            }
            result[i] = (Double) values.get(i);
        }
        return result;
    }

    private <T> T get(String key, Class<T> kind, String expected) {
        Object value = fields.get(key);
        if (!kind.isInstance(value)) {
            throw wrong(key, expected);
        }
        return kind.cast(value);
    }

    private MoebiusException wrong(String key, String expected) {
        String found = has(key) ? "has '" + key + "': " + shorten(fields.get(key)) : "lacks '" + key + "'";
        return new MoebiusException(name + " " + found + "; expected " + expected + ": export the bundle again");
    }

    /** For a sentence: one line, not long. */
    static String shorten(Object value) {
        String text = value instanceof JsonObject ? "an object" : String.valueOf(value).replaceAll("\\p{Cntrl}", "?");
        return text.length() > 60 ? text.substring(0, 60) + "..." : text;
    }
}
