package io.moebius.edge;

/** Seeded normal numbers that are the same in every language (docs/noise.md). */
public final class Noise {
    /** Sample of the masked picture's latent posterior. Stream 0 is the published mode's, in Python. */
    public static final int MASKED_IMAGE = 1;
    /** What the loop starts from. */
    public static final int LATENTS = 2;
    /** Its offset, one number per channel. */
    public static final int OFFSET = 3;

    private static final double WORDS = 4294967296.0; // 2^32

    private Noise() {}

    /**
     * Elements 0, 1, 2, ... of a stream.
     *
     * @param seed all 64 bits count, as an unsigned number
     */
    public static float[] normal(long seed, int stream, int count) {
        float[] values = new float[count];
        float[] four = new float[4];
        for (int start = 0; start < count; start += 4) {
            block(seed, stream, start / 4, four);
            System.arraycopy(four, 0, values, start, Math.min(4, count - start));
        }
        return values;
    }

    /** Elements 4 block to 4 block + 3: Philox, then Box and Muller (1958) in 64 bits, rounded to 32 at the end. */
    static void block(long seed, int stream, int block, float[] into) {
        long[] words = {block, 0, stream, 0};
        Philox.rounds(words, seed);
        for (int pair = 0; pair < 4; pair += 2) {
            // (x + 1) / 2^32 is in (0, 1], so that the logarithm is finite.
            double radius = Math.sqrt(-2.0 * Math.log((words[pair] + 1.0) / WORDS));
            double angle = 2.0 * Math.PI * (words[pair + 1] / WORDS);
            into[pair] = (float) (radius * Math.cos(angle));
            into[pair + 1] = (float) (radius * Math.sin(angle));
        }
    }

    /** The random numbers of one edit, each [1,4,h,w]. */
    public static final class Draws {
        public final float[] maskedImage;
        public final float[] latents;

        /** Draws for latents of `latentSize`; `noiseOffset` is the standard deviation of each channel's offset. */
        public Draws(long seed, int latentSize, double noiseOffset) {
            int plane = latentSize * latentSize;
            int count = Loop.LATENT_CHANNELS * plane;
            maskedImage = normal(seed, MASKED_IMAGE, count);
            latents = normal(seed, LATENTS, count);
            if (noiseOffset != 0) {
                float[] offset = normal(seed, OFFSET, Loop.LATENT_CHANNELS);
                for (int i = 0; i < count; i++) {
                    latents[i] = latents[i] + (float) noiseOffset * offset[i / plane];
                }
            }
        }
    }
}
