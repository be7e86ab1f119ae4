package io.moebius.edge;

import static io.moebius.edge.Vectors.bytes;
import static io.moebius.edge.Vectors.floats;
import static io.moebius.edge.Vectors.integers;
import static io.moebius.edge.Vectors.part;
import static org.junit.Assert.assertArrayEquals;
import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertTrue;

import java.io.IOException;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import org.junit.BeforeClass;
import org.junit.Test;

/** Masks, crops, resizing, paste and whole edits against the vectors of docs/loop.md. */
public class PictureVectorsTest {
    @BeforeClass
    public static void load() throws IOException {
        Vectors.load();
    }

    private static byte[] marked(Mask mask) {
        byte[] result = new byte[mask.width * mask.height];
        for (int i = 0; i < result.length; i++) {
            result[i] = (byte) (mask.at(i % mask.width, i / mask.width) ? 1 : 0);
        }
        return result;
    }

    /** Returns whether there is a square, 0 or 1. */
    private static int assertNullable(JsonObject vector, String key, Crop found) {
        assertEquals(vector.isNull(key), found == null);
        if (found != null) {
            assertCrop(vector.object(key), found);
        }
        return found == null ? 0 : 1;
    }

    private static void assertCrop(JsonObject expected, Crop found) {
        assertEquals(expected.number("left"), found.left, 0);
        assertEquals(expected.number("top"), found.top, 0);
        assertEquals(expected.number("side"), found.side, 0);
    }

    private static Box box(List<?> numbers) {
        int[] sides = numbers.stream().mapToInt(side -> ((Double) side).intValue()).toArray();
        return new Box(sides[0], sides[1], sides[2], sides[3]);
    }

    @Test
    public void holes() {
        for (Object each : part("holes")) {
            JsonObject vector = (JsonObject) each;
            int[] size = integers(vector, "size");
            byte[] marked = new byte[size[0] * size[1]];
            for (Object numbers : vector.list("boxes")) {
                Box box = box((List<?>) numbers);
                for (int y = box.top; y < box.bottom; y++) {
                    Arrays.fill(marked, y * size[0] + box.left, y * size[0] + box.right, (byte) 1);
                }
            }
            int resolution = vector.integer("resolution", 1, 8192);
            int feather = vector.integer("feather", 0, 4096);
            double margin = vector.number("margin");
            List<Box> found = Holes.of(Mask.of(marked, size[0], size[1]), resolution,
                    box -> Crop.square(box, size[0], size[1], resolution, margin, feather).inside(size[0], size[1]));
            List<?> expected = vector.list("holes");
            assertEquals(expected.size(), found.size());
            for (int i = 0; i < found.size(); i++) {
                assertBox(box((List<?>) expected.get(i)), found.get(i));
            }
        }
    }

    private static void assertBox(Box expected, Box found) {
        assertArrayEquals(new int[] {expected.left, expected.top, expected.right, expected.bottom},
                new int[] {found.left, found.top, found.right, found.bottom});
    }

    @Test
    public void crops() {
        int closer = 0;
        for (Object each : part("crops")) {
            JsonObject vector = (JsonObject) each;
            int[] size = integers(vector, "size");
            Box box = box(vector.list("box"));
            int resolution = vector.integer("resolution", 1, 8192);
            int feather = vector.integer("feather", 0, 4096);
            Crop found = Crop.choose(box, size[0], size[1], resolution, vector.number("margin"), feather);
            assertCrop(vector.object("crop"), found);
            closer += assertNullable(vector, "closer", found.closer(box, size[0], size[1], resolution, feather));
        }
        assertTrue("no square has a closer one", closer > 0);
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
            Mask mask = Mask.of(bytes(vector, "mask"), size[0], size[1]);
            Feather feather = new Feather(mask, new Box(0, 0, size[0], size[1]), vector.integer("feather", 0, 4096));
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
        int twice = 0;
        int cut = 0;
        int several = 0;
        for (Object each : part("edits")) {
            JsonObject vector = (JsonObject) each;
            int[] size = integers(vector, "size");
            int resolution = vector.integer("resolution", 1, 8192);
            int stride = resolution / vector.integer("latent_size", 1, 1024);
            byte[] alpha = vector.isNull("alpha") ? null : bytes(vector, "alpha");
            RgbPhoto photo = new RgbPhoto(bytes(vector, "photo"), alpha, size[0], size[1]);
            Mask mask = Mask.of(bytes(vector, "mask"), size[0], size[1]);
            List<Edit> edits = Edits.plan(photo, mask, resolution, stride, options(vector.object("options")));
            List<?> holes = vector.list("holes");
            assertEquals(holes.size(), edits.size());
            RgbPhoto once = photo.copy();
            for (int i = 0; i < edits.size(); i++) {
                assertPass((JsonObject) holes.get(i), edits.get(i), resolution);
                edits.get(i).finish(edits.get(i).fill(modelPicture(resolution)), once);
            }
            assertArrayEquals(bytes(vector, "once"), once.rgb);
            for (int i = 0; i < edits.size(); i++) {
                JsonObject hole = (JsonObject) holes.get(i);
                assertEquals(hole.isNull("again"), edits.get(i).closer() == null);
                twice += hole.isNull("again") ? 0 : 1;
                // The photo is the sink, as in an app.
                finish(hole, edits.get(i), resolution, photo);
            }
            assertArrayEquals(bytes(vector, "result"), photo.rgb);
            cut += alpha == null ? 0 : 1;
            several += edits.size() > 1 ? 1 : 0;
        }
        assertTrue("no edit has a second pass", twice > 0);
        assertTrue("no photo has alpha", cut > 0);
        assertTrue("no mask has several holes", several > 0);
    }

    /** The last pass over a hole. */
    private static void finish(JsonObject hole, Edit edit, int resolution, RgbPhoto photo) {
        Edit last = edit;
        if (edit.closer() != null) {
            last = edit.refined(edit.fill(modelPicture(resolution)));
            assertTrue(last.again && last.closer() == null);
            assertPass(hole.object("again"), last, resolution);
        }
        last.finish(last.fill(modelPicture(resolution)), photo);
    }

    private static Options options(JsonObject chosen) {
        Options options = new Options();
        options.dilate = chosen.integer("dilate", 0, 4096);
        options.feather = chosen.integer("feather", 0, 4096);
        options.margin = chosen.number("margin");
        options.refine = chosen.number("refine");
        options.together = chosen.bool("together");
        options.blend = Options.Blend.valueOf(chosen.string("blend").toUpperCase(Locale.ROOT));
        return options;
    }

    private static void assertPass(JsonObject expected, Edit edit, int resolution) {
        assertCrop(expected.object("crop"), edit.crop);
        assertArrayEquals(bytes(expected, "picture"), edit.picture);
        assertArrayEquals(bytes(expected, "hole"), marked(edit.hole));
        assertTensors(floats(expected, "tensor"), edit, resolution);
        assertArrayEquals(floats(expected, "latent_mask"), edit.latentMask().data, 0f);
    }

    /** The first 8 columns of row 0, per channel; in the hole the masked image is 0. */
    private static void assertTensors(float[] expected, Edit edit, int resolution) {
        Tensor image = edit.image();
        Tensor masked = edit.maskedImage();
        for (int i = 0; i < expected.length; i++) {
            int at = i / 8 * resolution * resolution + i % 8;
            assertEquals(expected[i], image.data[at], 1e-6f);
            assertEquals(edit.hole.at(i % 8, 0) ? 0f : expected[i], masked.data[at], 1e-6f);
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
