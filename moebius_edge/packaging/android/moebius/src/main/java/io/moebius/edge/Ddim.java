package io.moebius.edge;

import java.util.ArrayList;
import java.util.List;

/**
 * DDIM (Song et al., arXiv 2010.02502) with eta = 0: which timesteps to visit, and what each does to the latents. All in
 * 64 bits (docs/loop.md, step 8).
 */
public final class Ddim {
    /** As in a manifest. */
    static final String NAME = "ddim";

    private Ddim() {}

    /**
     * Computes the numbers of one loop.
     *
     * @param steps 1 to the number of training steps
     * @param strength above 0, at most 1: floor(steps x strength) steps are run
     * @throws MoebiusException when one of them is out of range, or nothing is left to run
     */
    public static Schedule schedule(NoiseSchedule noise, int steps, double strength) {
        if (steps < 1 || steps > noise.trainTimesteps) {
            throw new MoebiusException("steps is " + steps + "; expected 1 to " + noise.trainTimesteps);
        }
        if (!(strength > 0 && strength <= 1)) {
            throw new MoebiusException("strength is " + strength + "; expected a number above 0 and at most 1");
        }
        int run = (int) (steps * strength);
        if (run == 0) {
            throw new MoebiusException(
                    steps + " steps at strength " + strength + " leave none to run; use more steps or strength 1");
        }
        double[] alphaBar = noise.alphaBar();
        int ratio = noise.trainTimesteps / steps;
        List<Schedule.Step> rows = new ArrayList<>();
        for (int timestep = (run - 1) * ratio; timestep >= 0; timestep -= ratio) {
            double alpha = alphaBar[timestep];
            // Before the first training step there is no noise.
            double previous = timestep >= ratio ? alphaBar[timestep - ratio] : 1.0;
            double a = Math.sqrt(previous / alpha); // eq. 12, "predicted x_0"
            double b = Math.sqrt(1.0 - previous) - a * Math.sqrt(1.0 - alpha); // + "direction pointing to x_t"
            rows.add(new Schedule.Step(timestep, a, b));
        }
        double first = alphaBar[rows.get(0).timestep];
        boolean pure = strength == 1; // as published, although alpha is not quite 0 there
        return new Schedule(pure ? 0.0 : Math.sqrt(first), pure ? 1.0 : Math.sqrt(1.0 - first), rows);
    }
}
