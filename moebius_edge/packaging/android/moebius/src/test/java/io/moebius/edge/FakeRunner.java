package io.moebius.edge;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;

/** Three simple functions in the place of the graphs of a 64-pixel model, and a record of how they were used. */
final class FakeRunner implements GraphRunner {
    static final int RESOLUTION = 64;
    static final int LATENT_SIZE = 8;

    /** This graph gives NaN, after so many runs that do not. */
    String broken = "";
    int sound = 0;
    /** Added to the outputs of this graph. */
    String shifted = "";
    float shift = 0;
    /** The most graphs that were loaded at once. */
    int mostLoaded = 0;
    /** How often a graph was loaded. */
    int loads = 0;
    final TreeMap<String, Integer> runs = new TreeMap<>();
    final TreeSet<String> loaded = new TreeSet<>();

    @Override
    public Map<String, Tensor> run(String graph, Map<String, Tensor> inputs) {
        loads += loaded.add(graph) ? 1 : 0;
        mostLoaded = Math.max(mostLoaded, loaded.size());
        runs.merge(graph, 1, Integer::sum);
        Map<String, Tensor> outputs = compute(graph, inputs);
        for (Tensor output : outputs.values()) {
            if (graph.equals(broken) && runs.get(graph) > sound) {
                output.data[output.data.length / 2] = Float.NaN;
            }
            for (int i = 0; graph.equals(shifted) && i < output.data.length; i++) {
                output.data[i] += shift;
            }
        }
        return outputs;
    }

    @Override
    public void release(String graph) {
        loaded.remove(graph);
    }

    private static Map<String, Tensor> compute(String graph, Map<String, Tensor> inputs) {
        int plane = LATENT_SIZE * LATENT_SIZE;
        int stride = RESOLUTION / LATENT_SIZE;
        Map<String, Tensor> outputs = new LinkedHashMap<>();
        if (graph.equals("decoder")) {
            float[] latents = inputs.get("latents").data;
            float[] image = new float[3 * RESOLUTION * RESOLUTION];
            for (int i = 0; i < image.length; i++) {
                int y = i / RESOLUTION % RESOLUTION / stride;
                int x = i % RESOLUTION / stride;
                float value = latents[i / (RESOLUTION * RESOLUTION) * plane + y * LATENT_SIZE + x];
                image[i] = Math.max(0f, Math.min(1f, 0.5f + 0.1f * value));
            }
            outputs.put("image", Tensor.of(image, 1, 3, RESOLUTION, RESOLUTION));
            return outputs;
        }
        float[] mean = new float[4 * plane];
        float[] std = new float[4 * plane];
        for (int i = 0; i < mean.length; i++) {
            if (graph.equals("encoder")) {
                int at = i % plane / LATENT_SIZE * stride * RESOLUTION + i % LATENT_SIZE * stride;
                mean[i] = inputs.get("image").data[i / plane % 3 * RESOLUTION * RESOLUTION + at];
                std[i] = 0.1f;
            } else {
                mean[i] = 0.5f * inputs.get("latents").data[i]
                        + 0.1f * inputs.get("mask").data[i % plane] * inputs.get("masked_latents").data[i]
                        + inputs.get("timestep").data[0] / 100_000f + inputs.get("guidance").data[0] / 1000f;
            }
        }
        int[] shape = {1, 4, LATENT_SIZE, LATENT_SIZE};
        outputs.put(graph.equals("encoder") ? "mean" : "noise", Tensor.of(mean, shape));
        if (graph.equals("encoder")) {
            outputs.put("std", Tensor.of(std, shape));
        }
        return outputs;
    }
}
