package io.moebius.edge;

import static org.junit.Assert.assertArrayEquals;
import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertFalse;
import static org.junit.Assert.assertThrows;
import static org.junit.Assert.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.junit.Before;
import org.junit.Rule;
import org.junit.Test;
import org.junit.rules.TemporaryFolder;

/** The self-test, the profile, and a photo of 48 megapixels. */
public class DeviceTest {
    @Rule public final TemporaryFolder temporary = new TemporaryFolder();

    private final FakeRunner runner = new FakeRunner();
    private Bundle bundle;

    @Before
    public void open() throws IOException {
        bundle = Bundle.open(new TinyBundle().write(temporary.getRoot().toPath().resolve("tiny.moebius")));
    }

    @Test
    public void theSameNumbersPass() {
        SelfTest found = SelfTest.run(bundle, TinyBundle.app(bundle, 200), runner);
        assertTrue(found.ok);
        assertEquals(200, found.encoderDb, 0);
        assertEquals(200, found.denoiserDb, 0);
        assertEquals(200, found.decoderDb, 0);
        assertEquals(200, found.holeDb, 0);
        assertEquals("no two graphs at once", 1, runner.mostLoaded);
        assertTrue(runner.loaded.isEmpty());
    }

    @Test
    public void otherNumbersFailWhereTheyAreWrong() {
        for (String graph : Manifest.GRAPHS) {
            runner.shifted = graph;
            runner.shift = 0.01f;
            SelfTest found = SelfTest.run(bundle, TinyBundle.app(bundle, 60), runner);
            assertFalse(graph, found.ok);
            assertEquals(graph, graph.equals("encoder"), found.encoderDb < 60);
            assertEquals(graph, graph.equals("denoiser"), found.denoiserDb < 60);
            assertEquals(graph, graph.equals("decoder"), found.decoderDb < 60);
        }
    }

    @Test
    public void nanFailsWithoutAnException() {
        runner.broken = "denoiser";
        SelfTest found = SelfTest.run(bundle, TinyBundle.app(bundle, 60), runner);
        assertEquals(-200, found.denoiserDb, 0);
        assertTrue(Double.isNaN(found.holeDb));
        assertTrue(found.toJson().containsKey("hole_db") && found.toJson().get("hole_db") == null);
        assertFalse(found.ok);
    }

    @Test
    public void decibel() {
        Tensor reference = Tensor.of(new float[] {0, 4}, 2);
        // Root of the mean squared error 0.04, peak 4.
        assertEquals(40, SelfTest.decibel(Tensor.of(new float[] {0.04f, 3.96f}, 2), reference), 1e-4);
        Tensor constant = Tensor.of(new float[] {3, 3}, 2);
        assertEquals(20, SelfTest.decibel(Tensor.of(new float[] {3.1f, 2.9f}, 2), constant), 1e-4);
    }

    /** A clock that each run of a graph moves: 9 ms the first time after loading, 3 ms the second, then 2 ms. */
    private static final class Times implements GraphRunner, Profile.Clock, Profile.Thermometer {
        final FakeRunner fake = new FakeRunner();
        final Set<String> warm = new TreeSet<>();
        long now = 5;
        double celsius = 30;

        @Override
        public Map<String, Tensor> run(String graph, Map<String, Tensor> inputs) {
            now += !fake.loaded.contains(graph) ? 9_000_000 : warm.add(graph) ? 3_000_000 : 2_000_000;
            return fake.run(graph, inputs);
        }

        @Override
        public void release(String graph) {
            warm.remove(graph);
            fake.release(graph);
        }

        @Override
        public long nanos() {
            return now;
        }

        @Override
        public double celsius() {
            return celsius++;
        }

        @Override
        public String state() {
            return "1";
        }
    }

    @Test
    public void aProfileHasEveryNumber() {
        Times times = new Times();
        Profile.Setting setting = new Profile.Setting();
        setting.model = "Phone \"9\"";
        setting.threads = 4;
        setting.runs = 3;
        setting.edits = 2;
        setting.steps = 6; // 5 of them are run
        List<String> said = new ArrayList<>();
        setting.listener = said::add;
        String text = Profile.run(bundle, TinyBundle.app(bundle, 60), times, setting, times, times, () -> -1);
        JsonObject found = Json.parse(text.getBytes(StandardCharsets.UTF_8), "the profile");
        assertEquals("moebius-edge-device-profile-1", found.string("format"));
        assertEquals("Phone \"9\"", found.object("device").string("model"));
        assertEquals(4, found.integer("threads"));
        assertEquals(bundle.manifest.fingerprint(), found.object("bundle").string("files_sha256"));
        for (String graph : Manifest.GRAPHS) {
            assertEquals(7, found.object("load_ms").object(graph).number("cold"), 0);
            assertEquals(7, found.object("load_ms").object(graph).number("warm"), 0);
            assertArrayEquals(new double[] {2, 2, 2}, found.object("graphs_ms").numbers(graph), 0);
        }
        List<?> edits = found.list("edits");
        assertEquals(2, edits.size());
        // An encode, five steps and a decode: three first runs, one second one, three later ones.
        assertEquals(3 * 9 + 1 * 3 + 3 * 2, ((JsonObject) edits.get(1)).number("total_ms"), 1e-9);
        assertEquals(5, ((JsonObject) edits.get(1)).numbers("steps_ms").length);
        assertEquals(9, ((JsonObject) edits.get(1)).numbers("steps_ms")[0], 0);
        List<?> temperature = found.list("temperature");
        assertEquals(3, temperature.size());
        assertEquals(32, ((JsonObject) temperature.get(2)).number("celsius"), 0);
        assertEquals(72, ((JsonObject) temperature.get(2)).number("after_ms"), 1e-9);
        assertTrue(found.has("peak_memory_bytes"));
        assertTrue(found.object("selftest").bool("ok"));
        assertEquals(List.of("the encoder", "the denoiser", "the decoder", "edit 1 of 2", "edit 2 of 2", "the self-test"), said);
    }

    @Test
    public void whatTheSystemDoesNotSayIsNull() {
        Times times = new Times();
        times.celsius = Double.NaN;
        Profile.Setting setting = new Profile.Setting();
        setting.runs = 1;
        setting.edits = 0;
        String text = Profile.run(bundle, TinyBundle.app(bundle, 60), times, setting, times, times, () -> -1);
        assertTrue(text, text.contains("\"celsius\": null") && text.contains("\"threads\": null"));
        assertTrue(text, text.contains("\"peak_memory_bytes\": null"));
        setting.runs = 0;
        assertThrows(MoebiusException.class,
                () -> Profile.run(bundle, TinyBundle.app(bundle, 60), times, setting, times, times, () -> -1));
    }

    @Test
    public void peakMemoryOfThisProcess() {
        long peak = new ProcessMemory().peakBytes();
        assertTrue("" + peak, peak == -1 || peak > 1 << 20);
    }

    /** 8000 x 6000 pixels that are computed when they are read, and counted. */
    private static final class HugePhoto implements Photo, Photo.Sink {
        long read = 0;
        long written = 0;

        @Override
        public int width() {
            return 8000;
        }

        @Override
        public int height() {
            return 6000;
        }

        @Override
        public void readRow(int left, int y, int count, byte[] rgb) {
            read += count;
            for (int i = 0; i < 3 * count; i++) {
                rgb[i] = (byte) (left + y + i);
            }
        }

        @Override
        public void writeRow(int left, int y, int count, byte[] rgb) {
            written += count;
        }
    }

    @Test
    public void aHugePhotoIsReadThroughItsCropAlone() {
        HugePhoto photo = new HugePhoto();
        Mask mask = Mask.read(8000, 6000, (y, into) -> {
            for (int x = 3000; x < 3300; x++) {
                into[x] = (byte) (y >= 2000 && y < 2200 ? 1 : 0);
            }
        });
        new Inpainter(bundle.manifest, runner).inpaint(photo, mask, bundle.manifest.options(), Progress.NONE, photo);
        long wide = 900L * 900; // the hole and as much on both sides
        long close = 450L * 450;
        long pasted = (300 + 16) * (200 + 16); // with the feather
        assertEquals("in both passes once for the model and once for the colours beside the hole, then once for the paste",
                2 * wide + 2 * close + pasted, photo.read);
        assertEquals(pasted, photo.written);
    }

    @Test
    public void ofHolesThatAreFarApartTheirOwnSquaresAreReadAlone() {
        HugePhoto photo = new HugePhoto();
        Mask mask = Mask.read(8000, 6000, (y, into) -> {
            Arrays.fill(into, (byte) 0);
            if (y < 40 || y >= 5900) {
                Arrays.fill(into, y < 40 ? 0 : 7900, y < 40 ? 40 : 8000, (byte) 1);
            }
        });
        new Inpainter(bundle.manifest, runner).inpaint(photo, mask, bundle.manifest.options(), Progress.NONE, photo);
        long small = 2L * 168 * 168 + 2L * 72 * 72 + 48 * 48; // 40 + 2 x 64, 40 + 2 x 16, with the feather on two sides
        long large = 2L * 300 * 300 + 2L * 150 * 150 + 108 * 108; // 100 + 2 x 100, 100 + 2 x 25
        assertEquals(small + large, photo.read);
        assertEquals(48 * 48 + 108 * 108, photo.written);
    }
}
