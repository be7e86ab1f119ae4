package io.moebius.edge;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Times a bundle on the device that this runs on, and gives the JSON of docs/devices.md. */
public final class Profile {
    private static final int MAX_RUNS = 10_000;

    /** A clock. */
    public interface Clock {
        /** Nanoseconds of a monotonic clock. */
        long nanos();
    }

    /** How warm the device is. */
    public interface Thermometer {
        /** Degrees Celsius, or NaN where the system does not say. */
        double celsius();

        /** The system's own word, or null where it has none. */
        String state();
    }

    /** Memory of the process. */
    public interface Memory {
        /** The largest so far in bytes, or -1 where the system does not say. */
        long peakBytes();
    }

    /** Is told what is being measured. */
    public interface Listener {
        void measuring(String what);
    }

    /** What runs: the words of docs/devices.md. */
    public static final class Setting {
        public String platform = "android";
        public String model = "";
        public String system = "";
        public String chip = "";
        public String engine = "onnxruntime";
        public String engineVersion = "";
        public String unit = "cpu";
        /** CPU threads of the engine; 0: it is not told. */
        public int threads = 0;
        /** Timed runs of each graph, and whole edits. */
        public int runs = 10;
        public int edits = 20;
        /** Steps of an edit; 0: the bundle's default. */
        public int steps = 0;
        public Listener listener = what -> { };
    }

    private final Bundle bundle;
    private final AppInfo app;
    private final GraphRunner runner;
    private final Setting setting;
    private final Clock clock;
    private final Capsule capsule;
    private final List<Object> steps = new ArrayList<>(); // times of the edit that runs

    private Profile(Bundle bundle, AppInfo app, GraphRunner runner, Setting setting, Clock clock) {
        this.bundle = bundle;
        this.app = app;
        this.runner = runner;
        this.setting = setting;
        this.clock = clock;
        capsule = bundle.capsule();
    }

    /**
     * Measures: each graph, then whole edits of the capsule's photo, then the self-test. One graph is loaded at a time.
     *
     * @return the JSON text
     * @throws MoebiusException for counts out of range and when the engine cannot run
     */
    public static String run(Bundle bundle, AppInfo app, GraphRunner runner, Setting setting, Clock clock, Thermometer thermometer,
            Memory memory) {
        if (setting.runs < 1 || setting.runs > MAX_RUNS || setting.edits < 0 || setting.edits > MAX_RUNS) {
            throw new MoebiusException("asked for " + setting.runs + " runs and " + setting.edits + " edits; expected 1 to "
                    + MAX_RUNS + " runs and 0 to " + MAX_RUNS + " edits");
        }
        Profile profile = new Profile(bundle, app, runner, setting, clock);
        Map<String, Object> result = profile.head();
        Map<String, Object> load = new LinkedHashMap<>();
        Map<String, Object> times = new LinkedHashMap<>();
        for (String graph : Manifest.GRAPHS) {
            setting.listener.measuring("the " + graph);
            profile.measureGraph(graph, load, times);
        }
        List<Object> temperature = new ArrayList<>();
        List<Object> edits = profile.measureEdits(thermometer, temperature);
        result.put("load_ms", load);
        result.put("graphs_ms", times);
        result.put("edits", edits);
        result.put("temperature", temperature);
        setting.listener.measuring("the self-test");
        Map<String, Object> selftest = SelfTest.run(bundle, app, runner).toJson();
        long peak = memory.peakBytes();
        result.put("peak_memory_bytes", peak < 0 ? null : peak);
        result.put("selftest", selftest);
        return JsonWriter.write(result) + "\n";
    }

    private Map<String, Object> head() {
        Map<String, Object> device = new LinkedHashMap<>();
        device.put("platform", setting.platform);
        device.put("model", setting.model);
        device.put("system", setting.system);
        device.put("chip", setting.chip);
        Map<String, Object> engine = new LinkedHashMap<>();
        engine.put("name", setting.engine);
        engine.put("version", setting.engineVersion);
        engine.put("unit", setting.unit);
        Map<String, Object> which = new LinkedHashMap<>();
        which.put("model", app.model);
        which.put("precision", app.precision);
        which.put("files_sha256", bundle.manifest.fingerprint());
        Map<String, Object> result = new LinkedHashMap<>();
        result.put("format", "moebius-edge-device-profile-1");
        result.put("device", device);
        result.put("engine", engine);
        result.put("threads", setting.threads == 0 ? null : setting.threads);
        result.put("bundle", which);
        return result;
    }

    /** Opens the graph twice: the second time its files are in memory and its kernels compiled. */
    private void measureGraph(String graph, Map<String, Object> load, Map<String, Object> times) {
        Map<String, Tensor> inputs = capsule.inputs(graph, 0);
        double first = timed(graph, inputs);
        timed(graph, inputs); // not counted: what the first run left to be done
        double[] each = new double[setting.runs];
        for (int run = 0; run < each.length; run++) {
            each[run] = timed(graph, inputs);
        }
        runner.release(graph);
        double again = timed(graph, inputs);
        runner.release(graph);
        double usual = median(each);
        Map<String, Object> opening = new LinkedHashMap<>();
        opening.put("cold", Math.max(first - usual, 0));
        opening.put("warm", Math.max(again - usual, 0));
        load.put(graph, opening);
        times.put(graph, list(each));
    }

    private List<Object> measureEdits(Thermometer thermometer, List<Object> temperature) {
        long begin = clock.nanos();
        temperature.add(reading(thermometer, 0));
        List<Object> edits = new ArrayList<>();
        Inpainter inpainter = new Inpainter(bundle.manifest, new TimedRunner());
        Options options = bundle.manifest.options();
        options.steps = setting.steps == 0 ? options.steps : setting.steps;
        for (int edit = 1; edit <= setting.edits; edit++) {
            setting.listener.measuring("edit " + edit + " of " + setting.edits);
            steps.clear();
            RgbPhoto photo = capsule.newPhoto();
            long start = clock.nanos();
            inpainter.inpaint(photo, capsule.newMask(), options, Progress.NONE, photo);
            Map<String, Object> measured = new LinkedHashMap<>();
            measured.put("total_ms", since(start));
            measured.put("steps_ms", new ArrayList<>(steps));
            edits.add(measured);
            temperature.add(reading(thermometer, since(begin)));
        }
        return edits;
    }

    /** The runner, with the time of each run of the denoiser. */
    private final class TimedRunner implements GraphRunner {
        @Override
        public Map<String, Tensor> run(String graph, Map<String, Tensor> inputs) {
            long start = clock.nanos();
            Map<String, Tensor> outputs = runner.run(graph, inputs);
            if (graph.equals(Loop.DENOISER)) {
                steps.add(since(start));
            }
            return outputs;
        }

        @Override
        public void release(String graph) {
            runner.release(graph);
        }
    }

    private static Map<String, Object> reading(Thermometer thermometer, double afterMs) {
        Map<String, Object> result = new LinkedHashMap<>();
        double celsius = thermometer.celsius();
        result.put("after_ms", afterMs);
        result.put("celsius", Double.isNaN(celsius) ? null : celsius);
        result.put("state", thermometer.state());
        return result;
    }

    private double timed(String graph, Map<String, Tensor> inputs) {
        long start = clock.nanos();
        runner.run(graph, inputs);
        return since(start);
    }

    private double since(long start) {
        return (clock.nanos() - start) / 1e6;
    }

    private static double median(double[] values) {
        double[] sorted = values.clone();
        Arrays.sort(sorted);
        int half = sorted.length / 2;
        return sorted.length % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
    }

    private static List<Object> list(double[] values) {
        List<Object> result = new ArrayList<>();
        for (double value : values) {
            result.add(value);
        }
        return result;
    }
}
