package io.moebius.edge;

import static org.junit.Assert.assertArrayEquals;
import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertFalse;
import static org.junit.Assert.assertTrue;

import java.io.IOException;
import java.util.Arrays;
import java.util.Map;
import org.junit.Before;
import org.junit.Rule;
import org.junit.Test;
import org.junit.rules.TemporaryFolder;

/** When a second, closer pass is made, what it runs, and what it shows of faults. */
public class SecondPassTest {
    private static final Map<String, Integer> ONE = Map.of("encoder", 1, "denoiser", 2, "decoder", 1);
    private static final Map<String, Integer> TWO = Map.of("encoder", 3, "denoiser", 4, "decoder", 2);

    @Rule public final TemporaryFolder temporary = new TemporaryFolder();

    private final TinyBundle tiny = new TinyBundle();
    private final FakeRunner runner = new FakeRunner();
    private final RgbPhoto photo = TinyBundle.photo(100, 80);
    private final Mask mask = TinyBundle.mask(100, 80, 40, 30, 60, 50);
    private Options options;
    private Bundle bundle;

    @Before
    public void open() throws IOException {
        bundle = Bundle.open(tiny.write(temporary.getRoot().toPath().resolve("tiny.moebius")));
        options = bundle.manifest.options();
    }

    private byte[] inpaint() {
        runner.runs.clear();
        RgbPhoto result = photo.copy();
        new Inpainter(bundle.manifest, runner).inpaint(photo, mask, options, Progress.NONE, result);
        assertEquals("no two graphs at once", 1, runner.mostLoaded);
        assertTrue(runner.loaded.isEmpty());
        return result.rgb;
    }

    @Test
    public void aCoarseFillIsGoneOverOnceMore() {
        byte[] twice = inpaint();
        assertEquals(TWO, runner.runs);
        options.refine = 0;
        assertFalse(Arrays.equals(twice, inpaint()));
        assertEquals("not wanted", ONE, runner.runs);
        options.refine = 1e-9;
        inpaint();
        assertEquals("only the row of timestep 0", Map.of("encoder", 3, "denoiser", 3, "decoder", 2), runner.runs);
        options.refine = 0.5;
        options.margin = 0.25;
        inpaint();
        assertEquals("the fill is as fine as it can be", ONE, runner.runs);
    }

    @Test
    public void theSecondPassSeesTheFillInTheMaskAlone() {
        options.blend = Options.Blend.FEATHER;
        float[] white = new float[3 * 64 * 64];
        Arrays.fill(white, 1f);
        Edit first = Edits.plan(photo, mask, 64, 8, options).get(0);
        Edit second = first.refined(first.fill(Tensor.of(white, 1, 3, 64, 64)));
        assertEquals("as large as the model's picture, so that bytes can be compared", 64, second.crop.side);
        float[] image = second.image().data;
        float[] masked = second.maskedImage().data;
        for (int i = 0; i < 64 * 64; i++) {
            int x = second.crop.left + i % 64;
            int y = second.crop.top + i / 64;
            byte expected = mask.at(x, y) ? (byte) 255 : photo.rgb[3 * (y * 100 + x)];
            assertEquals(expected, second.picture[3 * i]);
            assertEquals((expected & 0xFF) / 127.5f - 1f, image[i], 0f);
            assertEquals(second.hole.at(i % 64, i / 64) ? 0f : image[i], masked[i], 0f);
        }
    }

    @Test
    public void theFillIsSeenInASmallSquareToo() {
        options.blend = Options.Blend.FEATHER;
        options.margin = 0.5;
        float[] white = new float[3 * 64 * 64];
        Arrays.fill(white, 1f);
        Edit first = Edits.plan(TinyBundle.photo(140, 40), TinyBundle.mask(140, 40, 50, 10, 80, 30), 64, 8, options).get(0);
        Edit second = first.refined(first.fill(Tensor.of(white, 1, 3, 64, 64)));
        assertEquals("so small that a first pass would replace what is marked", 46, second.crop.side);
        assertEquals("the middle", (byte) 255, second.picture[3 * (32 * 64 + 32)]);
    }

    @Test
    public void nanInTheSecondPassLeavesThePhotoAlone() {
        byte[] before = photo.rgb.clone();
        for (String graph : Manifest.GRAPHS) {
            runner.broken = graph;
            runner.sound = ONE.get(graph);
            runner.runs.clear();
            FaultsTest.assertFails("contain NaN or Inf",
                    () -> new Inpainter(bundle.manifest, runner).inpaint(photo, mask, options, Progress.NONE, photo));
            assertEquals(graph, ONE.get(graph) + 1, (int) runner.runs.get(graph));
            assertArrayEquals(before, photo.rgb);
            assertTrue(runner.loaded.isEmpty());
        }
    }

    @Test
    public void aTableOfAnUnknownSolverIsCutToo() throws IOException {
        byte[] known = inpaint();
        Map<String, Object> scheduler = TinyBundle.scheduler(Ddim.schedule(NoiseSchedule.PUBLISHED, 3, 0.99));
        scheduler.put("solver", "of-tomorrow");
        tiny.manifest.put("scheduler", scheduler);
        bundle = Bundle.open(tiny.write(temporary.getRoot().toPath().resolve("tiny.moebius")));
        assertArrayEquals("by the numbers of its rows", known, inpaint());
        assertEquals(TWO, runner.runs);
    }

    @Test
    public void fullStrengthStartsTheFirstPassAlone() {
        options.strength = 1;
        inpaint();
        assertEquals("666, 333 and 0, then 333 and 0", Map.of("encoder", 3, "denoiser", 5, "decoder", 2), runner.runs);
    }
}
