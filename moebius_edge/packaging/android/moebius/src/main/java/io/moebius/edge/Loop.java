package io.moebius.edge;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** The loop around the three graphs: encode, denoise, decode. At most one graph is loaded at any time. */
public final class Loop {
    static final int LATENT_CHANNELS = 4;
    static final String ENCODER = "encoder";
    static final String DENOISER = "denoiser";
    static final String DECODER = "decoder";

    private static final int GREYED = 1; // latents beside the hole in which the encoder has mixed its grey

    private final GraphRunner runner;
    private final Progress progress;
    private final int latentSize;
    private final int resolution;
    private final int total;
    private int done = 0;

    /** `total` graph runs are counted, those of all passes over all holes. */
    Loop(GraphRunner runner, int resolution, int latentSize, int total, Progress progress) {
        this.runner = runner;
        this.resolution = resolution;
        this.latentSize = latentSize;
        this.total = total;
        this.progress = progress;
    }

    /** How many graphs a pass runs: one or two encodes, the steps, a decode. */
    static int runs(Schedule schedule, boolean again) {
        return (again ? 2 : 1) + schedule.steps.size() + 1;
    }

    /**
     * Steps 9 to 11 of docs/loop.md for one pass over each hole. Every graph is loaded once, however many holes there are.
     *
     * @return what each hole is to be filled with
     * @throws MoebiusException when numbers stop being finite or a graph gives another shape, and Cancelled
     */
    List<Fill> run(List<Edit> edits, Schedule schedule, Noise.Draws draws, double guidance) {
        List<Tensor> masked = new ArrayList<>();
        List<Tensor> latents = new ArrayList<>();
        try {
            for (Edit edit : edits) {
                Tensor whole = edit.again ? encode(edit.image(), draws.maskedImage) : null;
                Tensor rest = encode(edit.maskedImage(), draws.maskedImage);
                float[] under = edit.again ? whole.data : continued(rest.data, edit.latentHole());
                masked.add(rest);
                latents.add(latents(start(draws.latents, under, schedule)));
            }
        } finally {
            runner.release(ENCODER);
        }
        try {
            for (int i = 0; i < edits.size(); i++) {
                Tensor mask = edits.get(i).latentMask();
                latents.set(i, denoise(latents.get(i), mask, masked.get(i), schedule, guidance));
            }
        } finally {
            runner.release(DENOISER);
        }
        List<Fill> fills = new ArrayList<>();
        try {
            for (int i = 0; i < edits.size(); i++) {
                fills.add(edits.get(i).fill(decode(latents.get(i))));
            }
        } finally {
            runner.release(DECODER);
        }
        return fills;
    }

    /** The decoder's picture, [1,3,R,R] in [0,1]. */
    private Tensor decode(Tensor latents) {
        Tensor picture = output(DECODER, Map.of("latents", latents), "image", 1, 3, resolution, resolution);
        finite(picture, "the decoder's picture");
        tick();
        return picture;
    }

    /** A sample of the latent posterior: mean + std x draw. */
    private Tensor encode(Tensor image, float[] draw) {
        Map<String, Tensor> outputs = runner.run(ENCODER, Map.of("image", image));
        int[] shape = {1, LATENT_CHANNELS, latentSize, latentSize};
        float[] mean = checked(ENCODER, outputs, "mean", shape).data;
        float[] std = checked(ENCODER, outputs, "std", shape).data;
        Tensor latents = latents(sample(mean, std, draw));
        finite(latents, "the encoder's latents");
        tick();
        return latents;
    }

    static float[] sample(float[] mean, float[] std, float[] draw) {
        float[] result = new float[mean.length];
        for (int i = 0; i < result.length; i++) {
            result[i] = mean[i] + std[i] * draw[i];
        }
        return result;
    }

    /**
     * Continues what is around a hole into it, so that a weak model begins with the colours of the surroundings (step 9).
     *
     * @param latents [C,h,w], of the masked picture
     * @param hole [h,w]; it grows by 1. Where that leaves nothing around it, the latents stay as they are
     */
    static float[] continued(float[] latents, Mask hole) {
        Mask greyed = hole.grow(GREYED);
        if (greyed.isFull()) {
            return latents;
        }
        float[] result = new float[latents.length];
        double[] channel = new double[hole.width * hole.height];
        for (int first = 0; first < latents.length; first += channel.length) {
            for (int i = 0; i < channel.length; i++) {
                channel[i] = latents[first + i];
            }
            Harmonic.extend(channel, greyed);
            for (int i = 0; i < channel.length; i++) {
                result[first + i] = (float) channel[i];
            }
        }
        return result;
    }

    /** Where the loop starts: latents under noise; at strength 1 noise alone. */
    static float[] start(float[] noise, float[] under, Schedule schedule) {
        return weighted(schedule.sqrtOneMinusAlphaBar, noise, schedule.sqrtAlphaBar, under);
    }

    /**
     * One row of a solver's table, every product and sum rounded to 32 bits (docs/loop.md, step 10). `estimate` becomes
     * p x latents + q x noise.
     *
     * @return the next latents: (a x latents + b x noise) + c x estimate, with the estimate from before
     */
    static float[] update(Schedule.Step step, float[] latents, float[] noise, float[] estimate) {
        float[] moved = weighted(step.a, latents, step.b, noise);
        float c = (float) step.c;
        // Adding 0 would change no number, but the sign of a zero.
        for (int i = 0; c != 0 && i < moved.length; i++) {
            moved[i] = moved[i] + c * estimate[i];
        }
        boolean forgets = step.p == 0 && step.q == 0;
        float[] next = forgets ? new float[estimate.length] : weighted(step.p, latents, step.q, noise);
        System.arraycopy(next, 0, estimate, 0, next.length);
        return moved;
    }

    /** a x + b y in 32-bit floats, each result rounded. */
    private static float[] weighted(double a, float[] x, double b, float[] y) {
        float ofX = (float) a;
        float ofY = (float) b;
        float[] result = new float[x.length];
        for (int i = 0; i < result.length; i++) {
            result[i] = ofX * x[i] + ofY * y[i];
        }
        return result;
    }

    private Tensor denoise(Tensor start, Tensor mask, Tensor masked, Schedule schedule, double guidance) {
        Tensor latents = start;
        float[] estimate = new float[start.data.length];
        Map<String, Tensor> inputs = new LinkedHashMap<>();
        inputs.put("mask", mask);
        inputs.put("masked_latents", masked);
        inputs.put("guidance", Tensor.of(new float[] {(float) guidance}, 1));
        int count = schedule.steps.size();
        for (int index = 0; index < count; index++) {
            Schedule.Step step = schedule.steps.get(index);
            inputs.put("latents", latents);
            inputs.put("timestep", Tensor.of(new float[] {step.timestep}, 1));
            Tensor noise = output(DENOISER, inputs, "noise", latents.shape);
            latents = latents(update(step, latents.data, noise.data, estimate));
            finite(latents, "the latents after step " + (index + 1) + " of " + count);
            tick();
        }
        return latents;
    }

    private Tensor latents(float[] data) {
        return Tensor.of(data, 1, LATENT_CHANNELS, latentSize, latentSize);
    }

    private Tensor output(String graph, Map<String, Tensor> inputs, String name, int... shape) {
        return checked(graph, runner.run(graph, inputs), name, shape);
    }

    /** An output of a graph. Throws MoebiusException when it is missing or has another shape. */
    static Tensor checked(String graph, Map<String, Tensor> outputs, String name, int... shape) {
        Tensor found = outputs.get(name);
        if (found == null || !Arrays.equals(found.shape, shape)) {
            throw new MoebiusException("the " + graph + " gave "
                    + (found == null ? "no output" : "the shape " + Arrays.toString(found.shape) + " for") + " '" + name
                    + "'; expected " + Arrays.toString(shape) + ": export the bundle again");
        }
        return found;
    }

    private static void finite(Tensor tensor, String what) {
        if (!tensor.isFinite()) {
            throw new MoebiusException.NotFinite(what + " contain NaN or Inf; use a moderate guidance, and check the bundle with "
                    + "`moebius-edge verify`");
        }
    }

    private void tick() {
        done++;
        if (!progress.onProgress(done, total)) {
            throw new MoebiusException.Cancelled("stopped after " + done + " of " + total + " graph runs");
        }
    }
}
