package io.moebius.edge;

import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/**
 * JSON, strictly: no NaN or Infinity, no duplicate key, nothing after the value, at most 32 levels. Of our own, because
 * Android's org.json is not in the JDK that tests this, and takes comments, unquoted text and duplicate keys.
 *
 * <p>Values are {@link JsonObject}, List, String, Double, Boolean and null.
 */
public final class Json {
    private static final int MAX_DEPTH = 32;

    private final String text;
    private int at = 0;

    private Json(String text) {
        this.text = text;
    }

    /** Parses UTF-8 of one object. Throws MoebiusException that names `what` and the place. */
    public static JsonObject parse(byte[] utf8, String what) {
        try {
            Json json = new Json(StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(utf8)).toString());
            Object value = json.value(0);
            json.skipSpace();
            if (json.at != json.text.length()) {
                throw json.wrong("something after its end");
            }
            if (!(value instanceof JsonObject)) {
                throw json.wrong("no object");
            }
            ((JsonObject) value).name(what);
            return (JsonObject) value;
        } catch (CharacterCodingException error) {
            throw new MoebiusException(what + " is not JSON: it is not UTF-8; copy it again", error);
        } catch (Malformed error) {
            throw new MoebiusException(what + " is not JSON: " + error.getMessage() + "; copy it again", error);
        }
    }

    private static final class Malformed extends RuntimeException {
        private static final long serialVersionUID = 1L;

        Malformed(String message) {
            super(message);
        }
    }

    private Malformed wrong(String found) {
        return new Malformed(found + " at character " + at);
    }

    private char peek() {
        if (at >= text.length()) {
            throw wrong("it ends too early");
        }
        return text.charAt(at);
    }

    private void skipSpace() {
        while (at < text.length() && " \t\r\n".indexOf(text.charAt(at)) >= 0) {
            at++;
        }
    }

    private void expect(String word) {
        if (!text.startsWith(word, at)) {
            throw wrong("not '" + word + "'");
        }
        at += word.length();
    }

    private Object value(int depth) {
        if (depth > MAX_DEPTH) {
            throw wrong("more than " + MAX_DEPTH + " levels");
        }
        skipSpace();
        switch (peek()) {
            case '{':
                return object(depth);
            case '[':
                return list(depth);
            case '"':
                return string();
            case 't':
                return word("true", Boolean.TRUE);
            case 'f':
                return word("false", Boolean.FALSE);
            case 'n':
                return word("null", null);
            default:
                return number();
        }
    }

    private Boolean word(String word, Boolean value) {
        expect(word);
        return value;
    }

    private JsonObject object(int depth) {
        JsonObject result = new JsonObject();
        at++;
        boolean more = !closes('}');
        while (more) {
            skipSpace();
            String key = string();
            skipSpace();
            expect(":");
            if (result.has(key)) {
                throw wrong("the key '" + JsonObject.shorten(key) + "' twice");
            }
            result.put(key, value(depth + 1));
            more = !closes('}');
            expect(more ? "," : "");
        }
        return result;
    }

    private List<Object> list(int depth) {
        List<Object> result = new ArrayList<>();
        at++;
        boolean more = !closes(']');
        while (more) {
            result.add(value(depth + 1));
            more = !closes(']');
            expect(more ? "," : "");
        }
        return result;
    }

    /** Whether an object or a list ends here; then its end is read. */
    private boolean closes(char end) {
        skipSpace();
        if (peek() != end) {
            return false;
        }
        at++;
        return true;
    }

    private String string() {
        expect("\"");
        StringBuilder result = new StringBuilder();
        while (peek() != '"') {
            char letter = text.charAt(at++);
            if (letter < ' ') {
                throw wrong("a control character in a string");
            }
            result.append(letter == '\\' ? escape() : letter);
        }
        at++;
        return result.toString();
    }

    private char escape() {
        char letter = peek();
        at++;
        int plain = "\"\\/bfnrt".indexOf(letter);
        if (plain >= 0) {
            return "\"\\/\b\f\n\r\t".charAt(plain);
        }
        if (letter != 'u' || at + 4 > text.length() || !text.substring(at, at + 4).matches("[0-9a-fA-F]{4}")) {
            throw wrong("an unknown escape in a string");
        }
        at += 4;
        return (char) Integer.parseInt(text.substring(at - 4, at), 16);
    }

    private Double number() {
        int start = at;
        while (at < text.length() && "+-.0123456789eE".indexOf(text.charAt(at)) >= 0) {
            at++;
        }
        String digits = text.substring(start, at);
        if (!digits.matches("-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][+-]?[0-9]+)?")) {
            throw wrong("no value");
        }
        double value = Double.parseDouble(digits);
        if (Double.isInfinite(value)) {
            throw wrong("a number out of range");
        }
        return value;
    }
}
