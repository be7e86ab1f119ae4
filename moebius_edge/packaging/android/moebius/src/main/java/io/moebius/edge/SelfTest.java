package io.moebius.edge;

import java.util.LinkedHashMap;
import java.util.Map;

/** Replays a bundle's capsule through an engine and compares with the FP32 reference: whether this device computes right. */
public final class SelfTest {
    private static final double DB_CAP = 200;

    /** Of each graph on the reference's inputs; the encoder's worse output, the denoiser's worst step. At most 200 dB. */
    public final double encoderDb;
    public final double denoiserDb;
    public final double decoderDb;
    /** Of the finished picture in the hole; NaN where the edit broke off because numbers stopped being finite. */
    public final double holeDb;
    /** Whether all of them reach the thresholds. */
    public final boolean ok;

    private SelfTest(double encoderDb, double denoiserDb, double decoderDb, double holeDb, AppInfo app) {
        this.encoderDb = encoderDb;
        this.denoiserDb = denoiserDb;
        this.decoderDb = decoderDb;
        this.holeDb = holeDb;
        ok = encoderDb >= app.encoderDb && denoiserDb >= app.denoiserDb && decoderDb >= app.decoderDb && holeDb >= app.holeDb;
    }

    /**
     * Runs the graphs one after another, then the whole edit.
     *
     * @throws MoebiusException when the engine cannot run; wrong numbers, NaN included, are no exception but not `ok`
     */
    public static SelfTest run(Bundle bundle, AppInfo app, GraphRunner runner) {
        Capsule capsule = bundle.capsule();
        double encoder = Math.min(
                replay(runner, capsule, Loop.ENCODER, "mean"), replay(runner, capsule, Loop.ENCODER, "std"));
        runner.release(Loop.ENCODER);
        double denoiser = DB_CAP;
        for (int step = 0; step < capsule.timesteps.length; step++) {
            Map<String, Tensor> outputs = runner.run(Loop.DENOISER, capsule.inputs(Loop.DENOISER, step));
            Tensor reference = capsule.step("loop.noise", step);
            denoiser = Math.min(denoiser, decibel(Loop.checked(Loop.DENOISER, outputs, "noise", reference.shape), reference));
        }
        runner.release(Loop.DENOISER);
        double decoder = replay(runner, capsule, Loop.DECODER, "image");
        runner.release(Loop.DECODER);
        return new SelfTest(encoder, denoiser, decoder, hole(bundle, capsule, runner), app);
    }

    /** The numbers by their names in docs/devices.md. */
    public Map<String, Object> toJson() {
        Map<String, Object> result = new LinkedHashMap<>();
        result.put("encoder_db", encoderDb);
        result.put("denoiser_db", denoiserDb);
        result.put("decoder_db", decoderDb);
        result.put("hole_db", Double.isNaN(holeDb) ? null : holeDb);
        result.put("ok", ok);
        return result;
    }

    private static double replay(GraphRunner runner, Capsule capsule, String graph, String output) {
        Tensor reference = capsule.tensor(graph + "." + output);
        Map<String, Tensor> outputs = runner.run(graph, capsule.inputs(graph, 0));
        return decibel(Loop.checked(graph, outputs, output, reference.shape), reference);
    }

    private static double hole(Bundle bundle, Capsule capsule, GraphRunner runner) {
        RgbPhoto photo = capsule.newPhoto();
        try {
            Options options = capsule.options();
            Schedule schedule = Ddim.schedule(bundle.manifest.scheduler.noise, options.steps, options.strength);
            new Inpainter(bundle.manifest, runner)
                    .inpaint(photo, capsule.newMask(), options, schedule, Progress.NONE, photo);
        } catch (MoebiusException.NotFinite error) {
            return Double.NaN;
        }
        double squares = 0;
        int count = 0;
        for (int i = 0; i < photo.rgb.length; i++) {
            if (capsule.mask[i / 3] != 0) {
                double error = (photo.rgb[i] & 0xFF) - (capsule.result[i] & 0xFF);
                squares += error * error;
                count++;
            }
        }
        return capped(255, squares / Math.max(count, 1));
    }

    /** 20 log10(peak / root of the mean squared error); peak is the range of the reference, or 1 where it is constant. */
    static double decibel(Tensor found, Tensor reference) {
        if (!found.isFinite()) {
            return -DB_CAP;
        }
        double low = Double.POSITIVE_INFINITY;
        double high = Double.NEGATIVE_INFINITY;
        double squares = 0;
        for (int i = 0; i < reference.data.length; i++) {
            double truth = reference.data[i];
            double error = found.data[i] - truth;
            squares += error * error;
            low = Math.min(low, truth);
            high = Math.max(high, truth);
        }
        return capped(high > low ? high - low : 1, squares / reference.data.length);
    }

    private static double capped(double peak, double meanSquare) {
        double decibel = 20 * Math.log10(peak / Math.sqrt(meanSquare));
        return Math.max(-DB_CAP, Math.min(DB_CAP, decibel));
    }
}
