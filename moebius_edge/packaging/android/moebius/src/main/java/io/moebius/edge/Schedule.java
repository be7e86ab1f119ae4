package io.moebius.edge;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/** The numbers of one loop, in 64 bits: where it starts, and the rows of the solver's table (docs/loop.md, step 8). */
public final class Schedule {
    /** The loop starts from sqrtAlphaBar x latents + sqrtOneMinusAlphaBar x noise; 0 and 1 at strength 1. */
    public final double sqrtAlphaBar;
    public final double sqrtOneMinusAlphaBar;
    /** The rows in the order in which they are run, at least one. */
    public final List<Step> steps;

    Schedule(double sqrtAlphaBar, double sqrtOneMinusAlphaBar, List<Step> steps) {
        this.sqrtAlphaBar = sqrtAlphaBar;
        this.sqrtOneMinusAlphaBar = sqrtOneMinusAlphaBar;
        this.steps = Collections.unmodifiableList(new ArrayList<>(steps));
    }

    /** The timesteps that are run, falling. */
    public int[] timesteps() {
        return steps.stream().mapToInt(step -> step.timestep).toArray();
    }

    /**
     * Cuts off the part that goes over a picture once more: the rows below `strength` of the training steps. The first of them
     * has no estimate before it, so its own stands for that one (docs/loop.md, step 13).
     *
     * @param strength 0 to 1
     * @return null where no row is left
     */
    Schedule refining(NoiseSchedule noise, double strength) {
        List<Step> rows = new ArrayList<>();
        for (Step step : steps) {
            if (step.timestep < strength * noise.trainTimesteps) {
                rows.add(rows.isEmpty() ? step.alone() : step);
            }
        }
        if (rows.isEmpty()) {
            return null;
        }
        double alpha = noise.alphaBar()[rows.get(0).timestep];
        return new Schedule(Math.sqrt(alpha), Math.sqrt(1.0 - alpha), rows);
    }

    /**
     * One row: with the noise predicted at the timestep, latents <- a x latents + b x noise + c x estimate, and estimate
     * <- p x latents + q x noise with the latents from before; at first the estimate is 0.
     */
    public static final class Step {
        public final int timestep;
        public final double a;
        public final double b;
        public final double c;
        public final double p;
        public final double q;

        /** A row without memory. */
        Step(int timestep, double a, double b) {
            this(timestep, a, b, 0, 0, 0);
        }

        Step(int timestep, double a, double b, double c, double p, double q) {
            this.timestep = timestep;
            this.a = a;
            this.b = b;
            this.c = c;
            this.p = p;
            this.q = q;
        }

        /** This row where none was run before it: its own estimate, p x latents + q x noise, in the place of the one before. */
        Step alone() {
            return new Step(timestep, a + c * p, b + c * q, 0, p, q);
        }

        /** A row of a manifest's table. Throws MoebiusException for a number that is missing. */
        static Step read(JsonObject row) {
            return new Step(row.integer("timestep", 0, Integer.MAX_VALUE), row.number("a"), row.number("b"), row.number("c"),
                    row.number("p"), row.number("q"));
        }
    }
}
