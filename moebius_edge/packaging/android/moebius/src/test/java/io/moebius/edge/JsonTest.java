package io.moebius.edge;

import static io.moebius.edge.FaultsTest.assertFails;
import static org.junit.Assert.assertEquals;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.Test;

/** JSON is read strictly, and written so that it reads back. */
public class JsonTest {
    @Test
    public void jsonThatIsNot() {
        String[] texts = {
            "", "{", "[]", "{} x", "{\"a\": NaN}", "{\"a\": 01}", "{\"a\": 1e999}", "{\"a\": 1, \"a\": 2}", "{\"a\": 1,}",
            "{\"a\": [1,]}", "{\"a\": \"\n\"}", "{\"a\": \"\\x\"}", "{'a': 1}", "{\"a\": tru}", "{\"a\": .5}", "{\"a\": -}"
        };
        for (String text : texts) {
            assertFails("the file is not JSON", () -> Json.parse(text.getBytes(StandardCharsets.UTF_8), "the file"));
        }
        StringBuilder deep = new StringBuilder("{\"a\": ");
        for (int i = 0; i < 100; i++) {
            deep.append('[');
        }
        assertFails("the key 'a?b' twice", () -> Json.parse("{\"a\\nb\": 1, \"a\\nb\": 2}".getBytes(StandardCharsets.UTF_8), "it"));
        assertFails("levels", () -> Json.parse(deep.toString().getBytes(StandardCharsets.UTF_8), "the file"));
        assertFails("UTF-8", () -> Json.parse(new byte[] {'{', (byte) 0xFF, '}'}, "the file"));
    }

    @Test
    public void jsonThatIs() {
        String text = "{\"a\": [1, -2.5, true, false, null], \"b\": {\"c\": \"\\u00e9\\n\\\"\"}}";
        JsonObject found = Json.parse(text.getBytes(StandardCharsets.UTF_8), "the file");
        assertEquals(Arrays.asList(1.0, -2.5, true, false, null), found.list("a"));
        assertEquals("\u00e9\n\"", found.object("b").string("c"));
        assertFails("the file lacks 'x'", () -> found.integer("x"));
        assertFails("the file, b has 'c'", () -> found.object("b").number("c"));
        assertEquals("{\"a\": [1, \"\\u00e9\\\\\"]}", JsonWriter.write(Map.of("a", List.of(1, "\u00e9\\"))));
        assertFails("NaN", () -> JsonWriter.write(Double.NaN));
    }
}
