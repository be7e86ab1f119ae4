package io.moebius.edge;

import static io.moebius.edge.Vectors.bytes;
import static io.moebius.edge.Vectors.floats;
import static io.moebius.edge.Vectors.part;
import static io.moebius.edge.Vectors.seed;
import static org.junit.Assert.assertArrayEquals;
import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertTrue;

import java.io.IOException;
import java.util.Arrays;
import java.util.List;
import org.junit.BeforeClass;
import org.junit.Test;

/** Noise, tables and latents against the vectors of docs/loop.md. */
public class VectorsTest {
    @BeforeClass
    public static void load() throws IOException {
        Vectors.load();
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
            assertSchedule(vector.object("start"), SchedulerTest.table(vector, "coefficients"), found);
        }
    }

    private static void assertSchedule(JsonObject start, List<Schedule.Step> rows, Schedule found) {
        assertEquals(start.integer("timestep"), found.steps.get(0).timestep);
        assertEquals(start.number("sqrt_alpha_bar"), found.sqrtAlphaBar, 1e-12);
        assertEquals(start.number("sqrt_one_minus_alpha_bar"), found.sqrtOneMinusAlphaBar, 1e-12);
        assertEquals(rows.size(), found.steps.size());
        for (int i = 0; i < rows.size(); i++) {
            assertEquals(rows.get(i).timestep, found.steps.get(i).timestep);
            assertArrayEquals(SchedulerTest.numbers(rows.get(i)), SchedulerTest.numbers(found.steps.get(i)), 1e-12);
        }
    }

    @Test
    public void refines() {
        int remembered = 0;
        for (Object each : part("refines")) {
            JsonObject vector = (JsonObject) each;
            Schedule whole = new Schedule(0, 1, SchedulerTest.table(vector, "coefficients"));
            Schedule found = whole.refining(NoiseSchedule.PUBLISHED, vector.number("refine"));
            assertSchedule(vector.object("start"), SchedulerTest.table(vector, "result"), found);
            remembered += whole.steps.get(whole.steps.size() - found.steps.size()).c == 0 ? 0 : 1;
        }
        assertTrue("no first row has memory", remembered > 0);
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
            for (Schedule.Step step : SchedulerTest.table(vector, "coefficients")) {
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
    public void starts() {
        for (Object each : part("starts")) {
            JsonObject vector = (JsonObject) each;
            int side = vector.integer("latent_size", 1, 1024);
            Mask hole = Mask.of(bytes(vector, "hole"), side, side);
            assertArrayEquals(floats(vector, "result"), Loop.continued(floats(vector, "latents"), hole), 1e-6f);
        }
    }
}
