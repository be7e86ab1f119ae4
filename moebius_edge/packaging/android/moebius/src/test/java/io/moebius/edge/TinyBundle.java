package io.moebius.edge;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** Writes a whole bundle for {@link FakeRunner}: its graphs are placeholders, its capsule is what FakeRunner computes. */
final class TinyBundle {
    private static final int R = FakeRunner.RESOLUTION;
    private static final int H = FakeRunner.LATENT_SIZE;
    private static final int STEPS = 4;

    /** The files, before they are written; tests change them. */
    final TreeMap<String, byte[]> files = new TreeMap<>();
    /** The manifest without its `files` and its own hash; tests change it. */
    final Map<String, Object> manifest = new LinkedHashMap<>();

    TinyBundle() {
        for (String graph : Manifest.GRAPHS) {
            files.put(graph + ".ort", ("the " + graph).getBytes(StandardCharsets.UTF_8));
        }
        manifest.put("format", "moebius-edge-bundle");
        manifest.put("schema_version", 3);
        manifest.put("runtime", "onnxruntime");
        manifest.put("model", new TreeMap<>(Map.of("name", "tiny")));
        manifest.put("precision", "fp32");
        manifest.put("resolution", R);
        manifest.put("latent_size", H);
        manifest.put("scheduler", scheduler(Ddim.schedule(NoiseSchedule.PUBLISHED, 3, 0.99)));
        manifest.put("defaults", new TreeMap<>(Map.of("steps", 3, "guidance", 2.0, "strength", 0.99, "noise_offset", 0.0357)));
        Map<String, Object> graphs = new TreeMap<>();
        for (String graph : Manifest.GRAPHS) {
            List<Object> tensors = List.of(Map.of("name", "any", "dtype", "float32"));
            graphs.put(graph, new TreeMap<>(Map.of("file", graph + ".ort", "inputs", tensors, "outputs", tensors)));
        }
        manifest.put("graphs", graphs);
        manifest.put("capsule", "capsule.safetensors");
        files.put("capsule.safetensors", safetensors(capsule()));
    }

    /** The published noise schedule, and these numbers as DDIM's. */
    static Map<String, Object> scheduler(Schedule schedule) {
        Map<String, Object> result = new TreeMap<>(Map.of("beta_start", 0.00085, "beta_end", 0.012, "beta_schedule",
                "scaled_linear", "train_timesteps", 1000, "prediction", "epsilon", "solver", "ddim"));
        result.put("start", Map.of("timestep", schedule.steps.get(0).timestep, "sqrt_alpha_bar", schedule.sqrtAlphaBar,
                "sqrt_one_minus_alpha_bar", schedule.sqrtOneMinusAlphaBar));
        List<Object> rows = new ArrayList<>();
        for (Schedule.Step step : schedule.steps) {
            rows.add(new TreeMap<>(Map.of(
                    "timestep", step.timestep, "a", step.a, "b", step.b, "c", step.c, "p", step.p, "q", step.q)));
        }
        result.put("coefficients", rows);
        return result;
    }

    /** app.json for {@link #write}, with the same threshold for all. */
    static AppInfo app(Bundle bundle, double threshold) {
        Map<String, Object> thresholds = new TreeMap<>();
        for (String name : new String[] {"encoder_db", "denoiser_db", "decoder_db", "hole_db"}) {
            thresholds.put(name, threshold);
        }
        Map<String, Object> app = new TreeMap<>(Map.of("format", "moebius-edge-app-1", "model", "tiny", "license", "CC0-1.0",
                "precision", "fp32", "files_sha256", bundle.manifest.fingerprint(), "model_folder", "model", "thresholds", thresholds));
        return AppInfo.parse(JsonWriter.write(app).getBytes(StandardCharsets.UTF_8));
    }

    byte[] manifestBytes() {
        Map<String, Object> whole = new LinkedHashMap<>(manifest);
        Map<String, Object> listed = new TreeMap<>();
        for (Map.Entry<String, byte[]> file : files.entrySet()) {
            listed.put(file.getKey(), Map.of("size", file.getValue().length, "sha256", FilesIo.sha256(file.getValue())));
        }
        whole.putIfAbsent("files", listed);
        String zeros = "0000000000000000000000000000000000000000000000000000000000000000";
        whole.put("manifest_sha256", zeros);
        String blank = JsonWriter.write(whole);
        String own = "\"manifest_sha256\": \"";
        return blank.replace(own + zeros, own + FilesIo.sha256(blank.getBytes(StandardCharsets.UTF_8)))
                .getBytes(StandardCharsets.UTF_8);
    }

    Path write(Path folder) throws IOException {
        Files.createDirectories(folder);
        Files.write(folder.resolve("manifest.json"), manifestBytes());
        for (Map.Entry<String, byte[]> file : files.entrySet()) {
            Files.write(folder.resolve(file.getKey()), file.getValue());
        }
        return folder;
    }

    static RgbPhoto photo(int width, int height) {
        byte[] rgb = new byte[3 * width * height];
        for (int i = 0; i < rgb.length; i++) {
            rgb[i] = (byte) (31 * i % 251);
        }
        return new RgbPhoto(rgb, width, height);
    }

    static Mask mask(int width, int height, int left, int top, int right, int bottom) {
        byte[] marked = new byte[width * height];
        for (int i = 0; i < marked.length; i++) {
            int x = i % width;
            int y = i / width;
            marked[i] = (byte) (x >= left && x < right && y >= top && y < bottom ? 255 : 0);
        }
        return Mask.of(marked, width, height);
    }

    /** The tensors of the recorded edit: Tensor, byte[] or int[] by name. */
    Map<String, Object> capsule() {
        RgbPhoto photo = photo(R, R);
        Mask mask = mask(R, R, 20, 24, 40, 40);
        Options options = new Options();
        options.steps = 5;
        options.blend = Options.Blend.FEATHER;
        Manifest parsed = new TinyManifest().parse();
        List<Map<String, Tensor>> calls = new ArrayList<>();
        FakeRunner fake = new FakeRunner();
        GraphRunner recorder = new GraphRunner() {
            @Override
            public Map<String, Tensor> run(String graph, Map<String, Tensor> inputs) {
                Map<String, Tensor> both = new LinkedHashMap<>(inputs);
                Map<String, Tensor> outputs = fake.run(graph, inputs);
                both.putAll(outputs);
                if (graph.equals("decoder")) {
                    both.put("latents", inputs.get("latents"));
                }
                calls.add(both);
                return outputs;
            }

            @Override
            public void release(String graph) {
                fake.release(graph);
            }
        };
        RgbPhoto result = photo.copy();
        new Inpainter(parsed, recorder).inpaint(photo, mask, options, Progress.NONE, result);
        byte[] marked = new byte[R * R];
        for (int i = 0; i < marked.length; i++) {
            marked[i] = (byte) (mask.at(i % R, i / R) ? 255 : 0);
        }
        Map<String, Object> tensors = new LinkedHashMap<>();
        tensors.put("photo", photo.rgb);
        tensors.put("mask", marked);
        tensors.put("result", result.rgb);
        tensors.put("encoder.image", calls.get(0).get("image"));
        tensors.put("encoder.mean", calls.get(0).get("mean"));
        tensors.put("encoder.std", calls.get(0).get("std"));
        tensors.put("loop.start", calls.get(1).get("latents"));
        tensors.put("loop.mask", calls.get(1).get("mask"));
        tensors.put("loop.masked_latents", calls.get(1).get("masked_latents"));
        tensors.put("loop.guidance", calls.get(1).get("guidance"));
        tensors.put("loop.timesteps", Ddim.schedule(NoiseSchedule.PUBLISHED, 5, 0.99).timesteps());
        tensors.put("loop.noise", stacked(calls.subList(1, 1 + STEPS), "noise"));
        tensors.put("loop.latents", stacked(calls.subList(2, 2 + STEPS), "latents"));
        tensors.put("decoder.latents", calls.get(1 + STEPS).get("latents"));
        tensors.put("decoder.image", calls.get(1 + STEPS).get("image"));
        return tensors;
    }

    /** The manifest that the capsule's edit needs, before there is a capsule to hash. */
    private final class TinyManifest {
        Manifest parse() {
            files.putIfAbsent("capsule.safetensors", new byte[0]);
            return Manifest.parse(manifestBytes());
        }
    }

    private static Tensor stacked(List<Map<String, Tensor>> calls, String name) {
        int count = 4 * H * H;
        float[] data = new float[calls.size() * count];
        for (int i = 0; i < calls.size(); i++) {
            System.arraycopy(calls.get(i).get(name).data, 0, data, i * count, count);
        }
        return Tensor.of(data, calls.size(), 4, H, H);
    }

    static byte[] safetensors(Map<String, Object> tensors) {
        Map<String, Object> header = new LinkedHashMap<>();
        ByteArrayOutputStream data = new ByteArrayOutputStream();
        for (Map.Entry<String, Object> entry : tensors.entrySet()) {
            int start = data.size();
            List<Integer> shape = new ArrayList<>();
            String type = append(entry.getValue(), data, shape);
            if (entry.getKey().equals("photo") || entry.getKey().equals("result")) {
                shape.addAll(List.of(R, R, 3));
            } else if (entry.getKey().equals("mask")) {
                shape.addAll(List.of(R, R));
            }
            header.put(entry.getKey(), Map.of("dtype", type, "shape", shape, "data_offsets", List.of(start, data.size())));
        }
        byte[] text = JsonWriter.write(header).getBytes(StandardCharsets.UTF_8);
        ByteBuffer whole = ByteBuffer.allocate(8 + text.length + data.size()).order(ByteOrder.LITTLE_ENDIAN);
        return whole.putLong(text.length).put(text).put(data.toByteArray()).array();
    }

    private static String append(Object value, ByteArrayOutputStream data, List<Integer> shape) {
        if (value instanceof byte[]) {
            data.writeBytes((byte[]) value);
            return "U8";
        }
        float[] floats = value instanceof Tensor ? ((Tensor) value).data : new float[0];
        int[] integers = value instanceof Tensor ? ((Tensor) value).shape : (int[]) value;
        ByteBuffer buffer = ByteBuffer.allocate(4 * Math.max(floats.length, integers.length)).order(ByteOrder.LITTLE_ENDIAN);
        if (value instanceof Tensor) {
            for (int side : integers) {
                shape.add(side);
            }
            buffer.asFloatBuffer().put(floats);
            data.write(buffer.array(), 0, 4 * floats.length);
            return "F32";
        }
        shape.add(integers.length);
        buffer.asIntBuffer().put(integers);
        data.write(buffer.array(), 0, 4 * integers.length);
        return "I32";
    }
}
