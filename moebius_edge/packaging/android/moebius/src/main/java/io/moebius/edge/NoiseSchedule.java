package io.moebius.edge;

/** The noise schedule of the training: the square root of beta is linear in the timestep. */
public final class NoiseSchedule {
    /** The published model's. */
    public static final NoiseSchedule PUBLISHED = new NoiseSchedule(0.00085, 0.012, 1000);

    public final double betaStart;
    public final double betaEnd;
    public final int trainTimesteps;

    /** Throws MoebiusException unless 0 < betaStart <= betaEnd < 1 and trainTimesteps is 1 to 100,000. */
    public NoiseSchedule(double betaStart, double betaEnd, int trainTimesteps) {
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
