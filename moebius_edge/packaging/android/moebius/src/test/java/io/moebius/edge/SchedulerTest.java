package io.moebius.edge;

import static org.junit.Assert.assertArrayEquals;
import static org.junit.Assert.assertFalse;
import static org.junit.Assert.assertTrue;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.Rule;
import org.junit.Test;
import org.junit.rules.TemporaryFolder;

/** The solver of a manifest: its table is run, others are computed where the solver is known. */
public class SchedulerTest {
    @Rule public final TemporaryFolder temporary = new TemporaryFolder();

    private final TinyBundle tiny = new TinyBundle();
    private final FakeRunner runner = new FakeRunner();
    private final RgbPhoto photo = TinyBundle.photo(100, 80);

    static List<Schedule.Step> table(JsonObject vector, String key) {
        List<Schedule.Step> rows = new ArrayList<>();
        for (Object row : vector.list(key)) {
            rows.add(Schedule.Step.read((JsonObject) row));
        }
        return rows;
    }

    static double[] numbers(Schedule.Step step) {
        return new double[] {step.a, step.b, step.c, step.p, step.q};
    }

    /** A manifest's scheduler with one field changed. */
    private static Map<String, Object> scheduler(String key, Object value) {
        Map<String, Object> scheduler = TinyBundle.scheduler(Ddim.schedule(NoiseSchedule.PUBLISHED, 3, 0.99));
        scheduler.put(key, value);
        return scheduler;
    }

    @Test
    public void tablesThatCannotBeRun() {
        List<?> rows = (List<?>) scheduler("solver", "ddim").get("coefficients");
        Map<String, Object> lacking = new TreeMap<>(Map.of("timestep", 333, "a", 1.0, "b", 0.0, "c", 0.0, "p", 0.0));
        for (List<?> table : List.of(List.of(), rows.subList(1, 2), List.of(rows.get(1), rows.get(0)), List.of(3), List.of(lacking),
                List.of(rows.get(0), rows.get(0)))) {
            tiny.manifest.put("scheduler", scheduler("coefficients", table));
            FaultsTest.assertFails("manifest.json", () -> Manifest.parse(tiny.manifestBytes()));
        }
        tiny.manifest.put("scheduler", scheduler("solver", "DDIM"));
        FaultsTest.assertFails("scheduler.solver is DDIM; expected", () -> Manifest.parse(tiny.manifestBytes()));
        tiny.manifest.put("scheduler", scheduler("prediction", "velocity"));
        FaultsTest.assertFails(
                "scheduler.prediction is velocity; this app knows epsilon", () -> Manifest.parse(tiny.manifestBytes()));
    }

    @Test
    public void aSolverThatIsNotKnownRunsItsOwnTableAlone() throws IOException {
        tiny.manifest.put("scheduler", scheduler("solver", "of-tomorrow"));
        Bundle bundle = Bundle.open(tiny.write(temporary.getRoot().toPath().resolve("tiny.moebius")));
        byte[] before = photo.rgb.clone();
        Mask mask = TinyBundle.mask(100, 80, 40, 30, 60, 50);
        new Inpainter(bundle.manifest, runner).inpaint(photo, mask, bundle.manifest.options(), Progress.NONE, photo);
        assertFalse(Arrays.equals(before, photo.rgb));
        assertTrue("the self-test's loop is DDIM's", SelfTest.run(bundle, TinyBundle.app(bundle, 100), runner).ok);
        for (double[] other : new double[][] {{4, 0.99}, {3, 1}}) {
            FaultsTest.assertFails("the model's solver 'of-tomorrow' is not known here, only ddim: without it only 3 steps at strength "
                    + "0.99 can be run; choose these, or update the app",
                    () -> bundle.manifest.scheduler.schedule((int) other[0], other[1]));
        }
    }

    @Test
    public void otherStepsAndStrengthsAreTheSolvers() {
        Scheduler scheduler = Manifest.parse(tiny.manifestBytes()).scheduler;
        assertArrayEquals(new int[] {750, 500, 250, 0}, scheduler.schedule(4, 1).timesteps());
        assertArrayEquals(new int[] {333, 0}, scheduler.schedule(3, 0.99).timesteps());
    }
}
