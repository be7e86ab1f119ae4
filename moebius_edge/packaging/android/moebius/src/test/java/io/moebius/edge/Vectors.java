package io.moebius.edge;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertNotNull;
import static org.junit.Assert.assertTrue;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.Base64;
import java.util.List;

/** The test vectors of docs/loop.md: the file that the system property `vectors` names, else the resource vectors.json. */
final class Vectors {
    private static JsonObject vectors;

    private Vectors() {}

    static void load() throws IOException {
        String path = System.getProperty("vectors");
        byte[] text;
        if (path != null) {
            text = Files.readAllBytes(Paths.get(path));
        } else {
            try (InputStream in = Vectors.class.getResourceAsStream("/vectors.json")) {
                assertNotNull("no vectors: -Dvectors=FILE, or src/test/resources/vectors.json", in);
                text = in.readAllBytes();
            }
        }
        vectors = Json.parse(text, "the vectors");
        assertEquals("moebius-edge-vectors-4", vectors.string("format"));
    }

    /** The vectors of a part; there is at least one. */
    static List<?> part(String name) {
        List<?> found = vectors.list(name);
        assertTrue(name, found.size() > 0);
        return found;
    }

    static long seed(JsonObject vector) {
        return Long.parseUnsignedLong(vector.string("seed").substring(2), 16);
    }

    static float[] floats(JsonObject vector, String key) {
        double[] values = vector.numbers(key);
        float[] result = new float[values.length];
        for (int i = 0; i < result.length; i++) {
            result[i] = (float) values[i];
        }
        return result;
    }

    static byte[] bytes(JsonObject vector, String key) {
        return Base64.getDecoder().decode(vector.string(key));
    }

    static int[] integers(JsonObject vector, String key) {
        double[] values = vector.numbers(key);
        int[] result = new int[values.length];
        for (int i = 0; i < result.length; i++) {
            result[i] = (int) values[i];
        }
        return result;
    }
}
