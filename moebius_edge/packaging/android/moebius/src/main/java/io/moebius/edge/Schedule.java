package io.moebius.edge;

/**
 * DDIM (Song et al., arXiv 2010.02502) with eta = 0: which timesteps to visit, and what each does to the latents. All in
 * 64 bits (docs/loop.md, step 8).
 */
public final class Schedule {
    /** The timesteps that are run, falling. */
    public final int[] timesteps;
    /** Of each step: latents <- a x latents + b x noise. */
    public final double[] a;
    public final double[] b;
    /** The loop starts from sqrtAlphaBar x masked latents + sqrtOneMinusAlphaBar x noise; 0 and 1 at strength 1. */
    public final double sqrtAlphaBar;
    public final double sqrtOneMinusAlphaBar;

    /**
     * @param steps 1 to the number of training steps
     * @param strength above 0, at most 1: floor(steps x strength) steps are run
     * @throws MoebiusException when one of them is out of range, or nothing is left to run
     */
    public Schedule(Config config, int steps, double strength) {
        if (steps < 1 || steps > config.trainTimesteps) {
            throw new MoebiusException("steps is " + steps + "; expected 1 to " + config.trainTimesteps);
        }
        if (!(strength > 0 && strength <= 1)) {
            throw new MoebiusException("strength is " + strength + "; expected a number above 0 and at most 1");
        }
        int run = (int) (steps * strength);
        if (run == 0) {
            throw new MoebiusException(
                    steps + " steps at strength " + strength + " leave none to run; use more steps or strength 1");
        }
        double[] alphaBar = config.alphaBar();
        int ratio = config.trainTimesteps / steps;
        timesteps = new int[run];
        a = new double[run];
        b = new double[run];
        for (int step = 0; step < run; step++) {
            int timestep = (run - 1 - step) * ratio;
            double alpha = alphaBar[timestep];
            // Before the first training step there is no noise.
            double previous = timestep >= ratio ? alphaBar[timestep - ratio] : 1.0;
            timesteps[step] = timestep;
            a[step] = Math.sqrt(previous / alpha); // eq. 12, "predicted x_0"
            b[step] = Math.sqrt(1.0 - previous) - a[step] * Math.sqrt(1.0 - alpha); // + "direction pointing to x_t"
        }
        double first = alphaBar[timesteps[0]];
        sqrtAlphaBar = strength == 1 ? 0.0 : Math.sqrt(first);
        sqrtOneMinusAlphaBar = strength == 1 ? 1.0 : Math.sqrt(1.0 - first);
    }

    /** The noise schedule of the training: the square root of beta is linear in the timestep. */
    public static final class Config {
        /** The published model's. */
        public static final Config PUBLISHED = new Config(0.00085, 0.012, 1000);

        public final double betaStart;
        public final double betaEnd;
        public final int trainTimesteps;

        /** Throws MoebiusException unless 0 < betaStart <= betaEnd < 1 and trainTimesteps is 1 to 100,000. */
        public Config(double betaStart, double betaEnd, int trainTimesteps) {
            boolean fine = 0 < betaStart && betaStart <= betaEnd && betaEnd < 1;
            if (!fine || trainTimesteps < 1 || trainTimesteps > 100_000) {
                throw new MoebiusException("the noise schedule is " + betaStart + " to " + betaEnd + " in " + trainTimesteps
                        + " timesteps; expected 0 < start <= end < 1 and 1 to 100000: export the bundle again");
            }
            this.betaStart = betaStart;
            this.betaEnd = betaEnd;
            this.trainTimesteps = trainTimesteps;
        }

        /** Product over s <= t of (1 - beta_s), for each timestep t. */
        double[] alphaBar() {
            double start = Math.sqrt(betaStart);
            double end = Math.sqrt(betaEnd);
            double[] result = new double[trainTimesteps];
            double product = 1.0;
            for (int t = 0; t < trainTimesteps; t++) {
                double root = start + t * ((end - start) / Math.max(trainTimesteps - 1, 1));
                product *= 1.0 - root * root;
                result[t] = product;
            }
            return result;
        }
    }
}
