package io.moebius.edge;

import static org.junit.Assert.assertArrayEquals;
import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertNotNull;
import static org.junit.Assert.assertTrue;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.Locale;
import org.junit.BeforeClass;
import org.junit.Test;

/** The test vectors of docs/loop.md: the file that the system property `vectors` names, else the resource vectors.json. */
public class VectorsTest {
    private static JsonObject vectors;

    @BeforeClass
    public static void load() throws IOException {
        String path = System.getProperty("vectors");
        byte[] text;
        if (path != null) {
            text = Files.readAllBytes(Paths.get(path));
        } else {
            try (InputStream in = VectorsTest.class.getResourceAsStream("/vectors.json")) {
                assertNotNull("no vectors: -Dvectors=FILE, or src/test/resources/vectors.json", in);
                text = in.readAllBytes();
            }
        }
        vectors = Json.parse(text, "the vectors");
        assertEquals("moebius-edge-vectors-2", vectors.string("format"));
    }

    /** The vectors of a part; there is at least one. */
    private static List<?> part(String name) {
        List<?> found = vectors.list(name);
        assertTrue(name, found.size() > 0);
        return found;
    }

    private static long seed(JsonObject vector) {
        return Long.parseUnsignedLong(vector.string("seed").substring(2), 16);
    }

    private static float[] floats(JsonObject vector, String key) {
        double[] values = vector.numbers(key);
        float[] result = new float[values.length];
        for (int i = 0; i < result.length; i++) {
            result[i] = (float) values[i];
        }
        return result;
    }

    private static byte[] bytes(JsonObject vector, String key) {
        return Base64.getDecoder().decode(vector.string(key));
    }

    private static int[] integers(JsonObject vector, String key) {
        double[] values = vector.numbers(key);
        int[] result = new int[values.length];
        for (int i = 0; i < result.length; i++) {
            result[i] = (int) values[i];
        }
        return result;
    }

    private static byte[] marked(Mask mask) {
        byte[] result = new byte[mask.width * mask.height];
        for (int i = 0; i < result.length; i++) {
            result[i] = (byte) (mask.at(i % mask.width, i / mask.width) ? 1 : 0);
        }
        return result;
    }

    private static void assertCrop(JsonObject expected, Crop found) {
        assertEquals(expected.number("left"), found.left, 0);
        assertEquals(expected.number("top"), found.top, 0);
        assertEquals(expected.number("side"), found.side, 0);
    }

    @Test
    public void philox() {
        for (Object each : part("philox")) {
            JsonObject vector = (JsonObject) each;
            long block = vector.integer("block");
            int stream = vector.integer("stream", 0, 3);
            long[] words = {block, 0, stream, 0};
            Philox.rounds(words, seed(vector));
            double[] expected = vector.numbers("words");
            for (int i = 0; i < 4; i++) {
                assertEquals(expected[i], words[i], 0);
            }
            float[] numbers = new float[4];
            Noise.block(seed(vector), stream, (int) block, numbers);
            assertArrayEquals(floats(vector, "numbers"), numbers, 1e-6f);
            if (block < 2000) {
                float[] whole = Noise.normal(seed(vector), stream, (int) (4 * block + 3));
                assertEquals("a block that is cut off", numbers[2], whole[whole.length - 1], 0f);
            }
        }
    }

    @Test
    public void draws() {
        for (Object each : part("draws")) {
            JsonObject vector = (JsonObject) each;
            Noise.Draws draws = new Noise.Draws(seed(vector), vector.integer("latent_size", 1, 64), vector.number("noise_offset"));
            assertArrayEquals(floats(vector, "masked_image"), draws.maskedImage, 1e-6f);
            assertArrayEquals(floats(vector, "latents"), draws.latents, 1e-6f);
        }
    }

    @Test
    public void schedules() {
        for (Object each : part("schedules")) {
            JsonObject vector = (JsonObject) each;
            Schedule found = Ddim.schedule(
                    NoiseSchedule.PUBLISHED, vector.integer("steps", 1, 1000), vector.number("strength"));
            JsonObject start = vector.object("start");
            assertEquals(start.integer("timestep"), found.steps.get(0).timestep);
            assertEquals(start.number("sqrt_alpha_bar"), found.sqrtAlphaBar, 1e-12);
            assertEquals(start.number("sqrt_one_minus_alpha_bar"), found.sqrtOneMinusAlphaBar, 1e-12);
            List<Schedule.Step> expected = SchedulerTest.table(vector);
            assertEquals(expected.size(), found.steps.size());
            for (int i = 0; i < expected.size(); i++) {
                assertEquals(expected.get(i).timestep, found.steps.get(i).timestep);
                assertArrayEquals(
                        SchedulerTest.numbers(expected.get(i)), SchedulerTest.numbers(found.steps.get(i)), 1e-12);
            }
        }
    }

    @Test
    public void updates() {
        int remembered = 0;
        for (Object each : part("updates")) {
            JsonObject vector = (JsonObject) each;
            float[] latents = floats(vector, "latents");
            float[] noise = floats(vector, "noise");
            float[] result = floats(vector, "result");
            float[] estimate = new float[latents.length];
            int from = 0;
            for (Schedule.Step step : SchedulerTest.table(vector)) {
                int to = from + latents.length;
                latents = Loop.update(step, latents, Arrays.copyOfRange(noise, from, to), estimate);
                assertArrayEquals(Arrays.copyOfRange(result, from, to), latents, 1e-6f);
                remembered += step.c == 0 ? 0 : 1;
                from = to;
            }
            assertEquals(result.length, from);
        }
        assertTrue("no table has memory", remembered > 1);
    }

    @Test
    public void encodes() {
        for (Object each : part("encodes")) {
            JsonObject vector = (JsonObject) each;
            float[] draw = floats(vector, "noise");
            float[] latents = Loop.sample(floats(vector, "mean"), floats(vector, "std"), draw);
            assertArrayEquals(floats(vector, "latents"), latents, 1e-6f);
            Schedule schedule = new Schedule(
                    vector.number("sqrt_alpha_bar"), vector.number("sqrt_one_minus_alpha_bar"), List.of());
            float[] start = Loop.start(draw, latents, schedule);
            assertArrayEquals(floats(vector, "start"), start, 1e-6f);
        }
    }

    @Test
    public void crops() {
        for (Object each : part("crops")) {
            JsonObject vector = (JsonObject) each;
            int[] size = integers(vector, "size");
            Crop found = Crop.choose(integers(vector, "box"), size[0], size[1], vector.integer("resolution", 1, 8192),
                    vector.number("margin"), vector.integer("feather", 0, 4096));
            assertCrop(vector.object("crop"), found);
        }
    }

    @Test
    public void grows() {
        for (Object each : part("grows")) {
            JsonObject vector = (JsonObject) each;
            int[] size = integers(vector, "size");
            Mask mask = Mask.of(bytes(vector, "mask"), size[0], size[1]);
            assertArrayEquals(bytes(vector, "grown"), marked(mask.grow(vector.integer("radius", 0, 4096))));
        }
    }

    @Test
    public void feathers() {
        for (Object each : part("feathers")) {
            JsonObject vector = (JsonObject) each;
            int[] size = integers(vector, "size");
            Feather feather = new Feather(Mask.of(bytes(vector, "mask"), size[0], size[1]), vector.integer("feather", 0, 4096));
            float[] expected = floats(vector, "opacity");
            float[] row = new float[size[0]];
            for (int y = 0; y < size[1]; y++) {
                feather.readNext(row);
                assertArrayEquals(Arrays.copyOfRange(expected, y * size[0], (y + 1) * size[0]), row, 1e-6f);
            }
        }
    }

    @Test
    public void resizes() {
        for (Object each : part("resizes")) {
            JsonObject vector = (JsonObject) each;
            int[] size = integers(vector, "size");
            int[] to = integers(vector, "to");
            int channels = vector.integer("channels", 1, 3);
            byte[] pixels = bytes(vector, "pixels");
            int stride = size[0] * channels;
            Resized resized = new Resized((y, into) -> System.arraycopy(pixels, y * stride, into, 0, stride), size[0], size[1],
                    channels, to[0], to[1], Resized.Filter.valueOf(vector.string("filter").toUpperCase(Locale.ROOT)));
            byte[] found = new byte[to[0] * to[1] * channels];
            byte[] row = new byte[to[0] * channels];
            for (int y = 0; y < to[1]; y++) {
                resized.read(y, row);
                System.arraycopy(row, 0, found, y * row.length, row.length);
            }
            assertArrayEquals(bytes(vector, "result"), found);
        }
    }

    @Test
    public void corrections() {
        for (Object each : part("corrections")) {
            JsonObject vector = (JsonObject) each;
            int side = vector.integer("side", 1, 8192);
            byte[] filled = bytes(vector, "fill");
            Mask hole = Mask.of(bytes(vector, "hole"), side, side);
            float[] expected = floats(vector, "correction");
            for (int channel = 0; channel < 3; channel++) {
                double[] fill = new double[side * side];
                for (int i = 0; i < fill.length; i++) {
                    fill[i] = filled[3 * i + channel] & 0xFF;
                }
                double[] found = Harmonic.correction(bytes(vector, "surround"), channel, fill, hole);
                for (int i = 0; i < found.length; i++) {
                    assertEquals(expected[3 * i + channel], found[i], 1e-4);
                }
            }
        }
    }

    @Test
    public void edits() {
        for (Object each : part("edits")) {
            JsonObject vector = (JsonObject) each;
            int[] size = integers(vector, "size");
            int resolution = vector.integer("resolution", 1, 8192);
            int latentSize = vector.integer("latent_size", 1, 1024);
            JsonObject chosen = vector.object("options");
            Options options = new Options();
            options.dilate = chosen.integer("dilate", 0, 4096);
            options.feather = chosen.integer("feather", 0, 4096);
            options.margin = chosen.number("margin");
            options.blend = Options.Blend.valueOf(chosen.string("blend").toUpperCase(Locale.ROOT));
            RgbPhoto photo = new RgbPhoto(bytes(vector, "photo"), size[0], size[1]);
            Edit edit = new Edit(photo, Mask.of(bytes(vector, "mask"), size[0], size[1]), resolution, resolution / latentSize, options);
            assertCrop(vector.object("crop"), edit.crop);
            assertArrayEquals(bytes(vector, "picture"), edit.picture);
            assertArrayEquals(bytes(vector, "hole"), marked(edit.hole));
            assertTensor(floats(vector, "tensor"), edit, resolution);
            assertArrayEquals(floats(vector, "latent_mask"), edit.latentMask(latentSize).data, 0f);
            edit.finish(modelPicture(resolution), photo);
            assertArrayEquals(bytes(vector, "result"), photo.rgb);
        }
    }

    /** The first 8 columns of row 0, per channel; in the hole the masked image is 0. */
    private static void assertTensor(float[] expected, Edit edit, int resolution) {
        Tensor found = edit.maskedImage();
        for (int i = 0; i < expected.length; i++) {
            float truth = edit.hole.at(i % 8, 0) ? 0f : expected[i];
            assertEquals(truth, found.data[i / 8 * resolution * resolution + i % 8], 1e-6f);
        }
    }

    private static Tensor modelPicture(int resolution) {
        float[] data = new float[3 * resolution * resolution];
        for (int i = 0; i < data.length; i++) {
            data[i] = (float) (37L * i % 101) / 100f;
        }
        return Tensor.of(data, 1, 3, resolution, resolution);
    }
}
