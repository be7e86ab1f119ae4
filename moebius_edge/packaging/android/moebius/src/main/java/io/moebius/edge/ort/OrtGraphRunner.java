package io.moebius.edge.ort;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OnnxValue;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import android.system.ErrnoException;
import android.system.Os;
import io.moebius.edge.Bundle;
import io.moebius.edge.GraphRunner;
import io.moebius.edge.MoebiusException;
import io.moebius.edge.Tensor;
import java.nio.FloatBuffer;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * ONNX Runtime: `.ort` and `.onnx` graphs on the CPU, or with XNNPACK. One session is open at a time: opening another graph
 * closes the one before. Not for several threads at once.
 */
public final class OrtGraphRunner implements GraphRunner, AutoCloseable {
    /** What computes. XNNPACK takes floats, not INT8, and gains most with the `ort` target in fp32: docs/mobile.md. */
    public enum Unit {
        CPU,
        XNNPACK
    }

    private static final String SWITCH = "ORT_DISABLE_TELEMETRY";

    private final OrtEnvironment environment = silentEnvironment();
    private final Bundle bundle;
    private final Unit unit;
    private final int threads;
    private String open = "";
    private OrtSession session;
    private OrtSession.SessionOptions options;

    /** Opens nothing yet. `threads` of the CPU, 0: as many as the engine takes. */
    public OrtGraphRunner(Bundle bundle, Unit unit, int threads) {
        this.bundle = bundle;
        this.unit = unit;
        this.threads = threads;
    }

    /** The engine's version. */
    public String version() {
        return environment.getVersion();
    }

    @Override
    public Map<String, Tensor> run(String graph, Map<String, Tensor> inputs) {
        Map<String, OnnxTensor> feeds = new LinkedHashMap<>();
        try {
            load(graph);
            for (Map.Entry<String, Tensor> input : inputs.entrySet()) {
                Tensor tensor = input.getValue();
                feeds.put(input.getKey(), OnnxTensor.createTensor(environment, FloatBuffer.wrap(tensor.data), sides(tensor)));
            }
            try (OrtSession.Result outputs = session.run(feeds)) {
                return copied(graph, outputs);
            }
        } catch (OrtException error) {
            throw new MoebiusException("ONNX Runtime " + version() + " failed in the " + graph + ": " + firstLine(error)
                    + "; use a version that is at least the manifest's", error);
        } finally {
            for (OnnxTensor feed : feeds.values()) {
                feed.close();
            }
        }
    }

    @Override
    public void release(String graph) {
        if (open.equals(graph)) {
            close();
        }
    }

    /** Frees the open session, if there is one. */
    @Override
    public void close() {
        open = "";
        try {
            if (session != null) {
                session.close();
            }
        } catch (OrtException error) {
            throw new MoebiusException("ONNX Runtime cannot free a graph: " + firstLine(error), error);
        } finally {
            session = null;
            if (options != null) {
                options.close(); // the session must be closed before
                options = null;
            }
        }
    }

    /** The engine, which would report its use to its makers: photos stay here. An app may set the variable to "0" before. */
    private static OrtEnvironment silentEnvironment() {
        try {
            Os.setenv(SWITCH, "1", false); // read once, when the engine is loaded
            OrtEnvironment engine = OrtEnvironment.getEnvironment();
            if ("1".equals(Os.getenv(SWITCH))) {
                engine.setTelemetry(false); // where the app had loaded it already
            }
            return engine;
        } catch (ErrnoException | OrtException error) {
            throw new MoebiusException("ONNX Runtime's reports of its use cannot be switched off: " + error.getMessage(), error);
        }
    }

    private void load(String graph) throws OrtException {
        if (open.equals(graph)) {
            return;
        }
        close();
        String path = bundle.graph(graph).toString();
        options = new OrtSession.SessionOptions();
        // Encoder and decoder run once or twice an edit with large activations, and an arena would keep all of them.
        options.setCPUArenaAllocator(graph.equals("denoiser"));
        if (path.endsWith(".ort")) {
            options.addConfigEntry("session.load_model_format", "ORT");
            options.addConfigEntry("session.enable_saved_runtime_optimizations", "1"); // the bundle was checked by its hashes
        }
        int own = threads == 0 ? Runtime.getRuntime().availableProcessors() : threads;
        if (unit == Unit.XNNPACK) {
            // It has threads of its own; the engine's would spin beside them.
            options.addConfigEntry("session.intra_op.allow_spinning", "0");
            options.setIntraOpNumThreads(1);
            options.addXnnpack(Map.of("intra_op_num_threads", Integer.toString(own)));
        } else if (threads > 0) {
            options.setIntraOpNumThreads(threads);
        }
        session = environment.createSession(path, options);
        open = graph;
    }

    private static Map<String, Tensor> copied(String graph, OrtSession.Result outputs) {
        Map<String, Tensor> result = new LinkedHashMap<>();
        for (Map.Entry<String, OnnxValue> output : outputs) {
            if (!(output.getValue() instanceof OnnxTensor)) {
                throw new MoebiusException("the output " + output.getKey() + " of the " + graph + " is no tensor");
            }
            OnnxTensor tensor = (OnnxTensor) output.getValue();
            long[] sides = tensor.getInfo().getShape();
            int[] shape = new int[sides.length];
            for (int i = 0; i < shape.length; i++) {
                shape[i] = Math.toIntExact(sides[i]);
            }
            FloatBuffer values = tensor.getFloatBuffer();
            float[] data = new float[values.remaining()];
            values.get(data);
            result.put(output.getKey(), Tensor.of(data, shape));
        }
        return result;
    }

    private static long[] sides(Tensor tensor) {
        long[] result = new long[tensor.shape.length];
        for (int i = 0; i < result.length; i++) {
            result[i] = tensor.shape[i];
        }
        return result;
    }

    private static String firstLine(OrtException error) {
        return String.valueOf(error.getMessage()).split("\n", 2)[0];
    }
}
