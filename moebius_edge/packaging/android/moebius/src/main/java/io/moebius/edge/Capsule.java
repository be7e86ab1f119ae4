package io.moebius.edge;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** The self-test capsule: what the FP32 reference computed of one short edit (docs/bundle.md). */
public final class Capsule {
    /** What a tensor is stored as. */
    private enum Type {
        F32(4),
        I32(4),
        U8(1);

        final int bytes;

        Type(int bytes) {
            this.bytes = bytes;
        }
    }

    private static final int STEPS = 5; // of which 4 are run
    private static final double STRENGTH = 0.99;
    private static final long MAX_BYTES = 256L << 20;
    private static final int MAX_HEADER_BYTES = 4 << 20;

    /** [R,R,3]. */
    public final byte[] photo;
    /** [R,R], 255 = to be filled. */
    public final byte[] mask;
    /** [R,R,3]: the finished picture. */
    public final byte[] result;
    /** The timesteps of the loop. */
    public final int[] timesteps;

    private final Map<String, Tensor> tensors = new LinkedHashMap<>();
    private final ByteBuffer data;
    private final JsonObject header;
    private final int resolution;
    private final int latentSize;

    private Capsule(JsonObject header, ByteBuffer data, int resolution, int latentSize) {
        this.header = header;
        this.data = data;
        this.resolution = resolution;
        this.latentSize = latentSize;
        int steps = Ddim.schedule(NoiseSchedule.PUBLISHED, STEPS, STRENGTH).steps.size();
        photo = bytes("photo", resolution, resolution, 3);
        mask = bytes("mask", resolution, resolution);
        result = bytes("result", resolution, resolution, 3);
        timesteps = integers("loop.timesteps", steps);
        for (String name : new String[] {"encoder.image", "decoder.image"}) {
            floats(name, 1, 3, resolution, resolution);
        }
        for (String name : new String[] {
            "encoder.mean", "encoder.std", "loop.start", "loop.masked_latents", "decoder.latents"
        }) {
            floats(name, 1, Loop.LATENT_CHANNELS, latentSize, latentSize);
        }
        floats("loop.mask", 1, 1, latentSize, latentSize);
        floats("loop.guidance", 1);
        floats("loop.noise", steps, Loop.LATENT_CHANNELS, latentSize, latentSize);
        floats("loop.latents", steps, Loop.LATENT_CHANNELS, latentSize, latentSize);
    }

    /** Reads and checks a capsule. Throws MoebiusException for a tensor that is missing, has another form or is not finite. */
    static Capsule read(Path path, int resolution, int latentSize) {
        ByteBuffer file = ByteBuffer.wrap(FilesIo.read(path, MAX_BYTES)).order(ByteOrder.LITTLE_ENDIAN);
        long length = file.remaining() < 8 ? -1 : file.getLong();
        if (length < 2 || length > Math.min(MAX_HEADER_BYTES, file.remaining())) {
            throw wrong("it has " + file.capacity() + " bytes and claims a header of " + length + ": cut off or damaged");
        }
        byte[] text = new byte[(int) length];
        file.get(text);
        JsonObject header = Json.parse(text, "the header of the capsule");
        checkTiling(header, file.remaining());
        return new Capsule(header, file.slice().order(ByteOrder.LITTLE_ENDIAN), resolution, latentSize);
    }

    /** A tensor of 32-bit floats by its name in docs/bundle.md. */
    public Tensor tensor(String name) {
        Tensor found = tensors.get(name);
        if (found == null) {
            throw wrong("there is no tensor " + name);
        }
        return found;
    }

    /** One step of `loop.noise` or `loop.latents`, [1,4,h,w]. */
    public Tensor step(String name, int index) {
        int count = Loop.LATENT_CHANNELS * latentSize * latentSize;
        float[] values = Arrays.copyOfRange(tensor(name).data, index * count, (index + 1) * count);
        return Tensor.of(values, 1, Loop.LATENT_CHANNELS, latentSize, latentSize);
    }

    /** The reference's inputs of a graph; of the denoiser, those of step `index`. */
    public Map<String, Tensor> inputs(String graph, int index) {
        switch (graph) {
            case Loop.ENCODER:
                return Map.of("image", tensor("encoder.image"));
            case Loop.DECODER:
                return Map.of("latents", tensor("decoder.latents"));
            default:
                return Map.of(
                        "latents", index == 0 ? tensor("loop.start") : step("loop.latents", index - 1),
                        "mask", tensor("loop.mask"),
                        "masked_latents", tensor("loop.masked_latents"),
                        "timestep", Tensor.of(new float[] {timesteps[index]}, 1),
                        "guidance", tensor("loop.guidance"));
        }
    }

    /** The photo as input of an edit; a new copy every time. */
    public RgbPhoto newPhoto() {
        return new RgbPhoto(photo.clone(), resolution, resolution);
    }

    public Mask newMask() {
        return Mask.of(mask, resolution, resolution);
    }

    /** The options of the recorded edit, every one that matters by value: new defaults must not change it. */
    public Options options() {
        Options options = new Options();
        options.steps = STEPS;
        options.strength = STRENGTH;
        options.guidance = tensor("loop.guidance").data[0];
        options.seed = 0;
        options.noiseOffset = 0.0357;
        options.dilate = 0;
        options.feather = 8;
        options.margin = 0.25;
        options.refine = 0;
        options.blend = Options.Blend.FEATHER;
        return options;
    }

    private byte[] bytes(String name, int... shape) {
        ByteBuffer found = at(name, Type.U8, shape); // before anything of a claimed size is allocated
        byte[] values = new byte[(int) Tensor.count(shape)];
        found.get(values);
        return values;
    }

    private int[] integers(String name, int... shape) {
        ByteBuffer found = at(name, Type.I32, shape);
        int[] values = new int[(int) Tensor.count(shape)];
        found.asIntBuffer().get(values);
        return values;
    }

    private void floats(String name, int... shape) {
        ByteBuffer found = at(name, Type.F32, shape);
        float[] values = new float[(int) Tensor.count(shape)];
        found.asFloatBuffer().get(values);
        Tensor tensor = Tensor.of(values, shape);
        if (!tensor.isFinite()) {
            throw wrong(name + " contains NaN or Inf");
        }
        tensors.put(name, tensor);
    }

    /** As the format has it, the data of the tensors lies end to end. */
    private static void checkTiling(JsonObject header, int length) {
        List<double[]> ranges = new ArrayList<>();
        for (String name : header.keys()) {
            if (!name.equals("__metadata__")) {
                ranges.add(header.object(name).numbers("data_offsets"));
            }
        }
        ranges.sort(Arrays::compare);
        double position = 0;
        for (double[] range : ranges) {
            if (range.length != 2 || range[0] != position || range[1] < position || range[1] != Math.rint(range[1])) {
                throw wrong("the data of its tensors overlaps or leaves gaps: " + Arrays.toString(range) + " after " + position);
            }
            position = range[1];
        }
        if (position != length) {
            throw wrong("it has " + length + " bytes of data, and its tensors " + position + ": cut off or damaged");
        }
    }

    /** The data of a tensor, which must have this type and shape. */
    private ByteBuffer at(String name, Type type, int... shape) {
        if (!header.has(name)) {
            throw wrong("it has no tensor " + name);
        }
        JsonObject entry = header.object(name);
        double[] found = entry.numbers("shape");
        boolean same = found.length == shape.length && entry.string("dtype").equals(type.name());
        for (int i = 0; same && i < shape.length; i++) {
            same = found[i] == shape[i];
        }
        if (!same) {
            throw wrong(name + " is " + entry.string("dtype") + " " + Arrays.toString(found) + "; expected " + type + " "
                    + Arrays.toString(shape));
        }
        double[] range = entry.numbers("data_offsets");
        long size = Tensor.count(shape) * type.bytes;
        if (range.length != 2 || range[0] < 0 || range[1] - range[0] != size || range[1] > data.capacity()) {
            throw wrong("the data of " + name + " is at " + Arrays.toString(range) + " of " + data.capacity() + " bytes; expected "
                    + size + ": cut off or damaged");
        }
        ByteBuffer part = data.duplicate().order(ByteOrder.LITTLE_ENDIAN);
        part.position((int) range[0]);
        return part;
    }

    private static MoebiusException wrong(String message) {
        return new MoebiusException("the capsule cannot be used: " + message + "; export the bundle again");
    }
}
