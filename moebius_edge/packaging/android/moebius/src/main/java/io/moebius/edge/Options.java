package io.moebius.edge;

/** What a caller can choose about one edit. Start from {@link Manifest#options()} and change what is to be another. */
public final class Options {
    private static final int MAX_PIXELS_AROUND = 4096; // more is a mistake, and would be slow

    /** Steps of the solver, 1 to 1000; DDIM runs floor(steps x strength) of them. */
    public int steps = 20;
    /** Guidance scale, -100 to 100; 1 is none. */
    public double guidance = 2.0;
    /** Above 0, at most 1: how much noise the loop starts with. */
    public double strength = 0.99;
    /** All 64 bits count; another seed gives another fill. */
    public long seed = 0;
    /** Standard deviation of the starting noise's offset per channel, 0 to 1. */
    public double noiseOffset = 0.0357;
    /** The mask grows by so many pixels on each side, 0 to 4096. */
    public int dilate = 0;
    /** Pixels around the mask over which the fill fades into the photo, 0 to 4096. */
    public int feather = 8;
    /** Context on each side of the hole, in units of the larger of hole and model size, 0 to 4. */
    public double margin = 1.0;
    /** Strength of a second, closer pass over a coarse fill, 0 to 1; 0: none. */
    public double refine = 0.5;
    /** Fills holes that are far apart in one square, all at one scale; else one after another, each in its own. */
    public boolean together = false;
    /** How the fill meets the photo. */
    public Blend blend = Blend.HARMONIC;

    /** What is done to the fill's colours before it is pasted. */
    public enum Blend {
        /** Fitted to the photo's along the rim of the hole, without a step. */
        HARMONIC,
        /** Left as the model made them. */
        FEATHER
    }

    /** Throws MoebiusException when a value is out of range. */
    public void check() {
        number("steps", steps, 1, 1000);
        number("guidance", guidance, -100, 100);
        number("strength", strength, Double.MIN_VALUE, 1);
        number("noiseOffset", noiseOffset, 0, 1);
        number("dilate", dilate, 0, MAX_PIXELS_AROUND);
        number("feather", feather, 0, MAX_PIXELS_AROUND);
        number("margin", margin, 0, 4);
        number("refine", refine, 0, 1);
    }

    private static void number(String name, double value, double low, double high) {
        if (!(value >= low && value <= high)) {
            throw new MoebiusException(name + " is " + value + "; expected " + low + " to " + high);
        }
    }
}
