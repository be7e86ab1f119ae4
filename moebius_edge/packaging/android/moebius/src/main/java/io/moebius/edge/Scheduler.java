package io.moebius.edge;

import java.util.ArrayList;
import java.util.List;
import java.util.regex.Pattern;

/** A manifest's `scheduler`: the noise schedule, the solver's name, and its table for the default steps and strength. */
public final class Scheduler {
    private static final Pattern IDENTIFIER = Pattern.compile("[a-z0-9][a-z0-9_.-]{0,63}");

    public final NoiseSchedule noise;
    /** "ddim"; one that this app does not know is run by its table alone. */
    public final String solver;

    private final Schedule listed;
    private final int steps;
    private final double strength;

    /** Reads it. Throws MoebiusException for a table that cannot be run. `defaults`: the steps and strength it is for. */
    Scheduler(JsonObject json, Options defaults) {
        known(json, "beta_schedule", "scaled_linear");
        known(json, "prediction", "epsilon");
        noise = new NoiseSchedule(
                json.number("beta_start"), json.number("beta_end"), json.integer("train_timesteps", 1, 100_000));
        solver = json.string("solver");
        if (!IDENTIFIER.matcher(solver).matches()) {
            throw wrong("solver is " + JsonObject.shorten(solver) + "; expected a lower-case identifier: export the bundle again");
        }
        steps = defaults.steps;
        strength = defaults.strength;
        JsonObject start = json.object("start");
        List<Schedule.Step> rows = rows(json.list("coefficients"), start.integer("timestep"));
        listed = new Schedule(start.number("sqrt_alpha_bar"), start.number("sqrt_one_minus_alpha_bar"), rows);
    }

    /**
     * Gives the numbers of a loop: the listed ones for the default steps and strength, else those of the named solver.
     *
     * @throws MoebiusException when one of them is out of range, and for others than the defaults when the solver is not known
     */
    public Schedule schedule(int wantedSteps, double wantedStrength) {
        if (wantedSteps == steps && wantedStrength == strength) {
            return listed;
        }
        if (!solver.equals(Ddim.NAME)) {
            throw new MoebiusException("the model's solver '" + solver + "' is not known here, only " + Ddim.NAME
                    + ": without it only " + steps + " steps at strength " + strength
                    + " can be run; choose these, or update the app");
        }
        return Ddim.schedule(noise, wantedSteps, wantedStrength);
    }

    private List<Schedule.Step> rows(List<?> table, long first) {
        List<Schedule.Step> rows = new ArrayList<>();
        int before = noise.trainTimesteps;
        boolean falling = true;
        for (Object row : table) {
            if (!(row instanceof JsonObject)) {
                throw wrong("coefficients are not all rows of numbers");
            }
            ((JsonObject) row).name(Manifest.NAME + ", scheduler.coefficients");
            Schedule.Step step = Schedule.Step.read((JsonObject) row);
            falling &= step.timestep < before;
            before = step.timestep;
            rows.add(step);
        }
        if (rows.isEmpty() || rows.size() > steps || !falling || rows.get(0).timestep != first) {
            throw wrong("coefficients must be 1 to " + steps + " rows with falling timesteps from the start's on");
        }
        return rows;
    }

    private static void known(JsonObject json, String key, String only) {
        if (!json.string(key).equals(only)) {
            throw wrong(key + " is " + JsonObject.shorten(json.string(key)) + "; this app knows " + only + ": update the app");
        }
    }

    private static MoebiusException wrong(String message) {
        return new MoebiusException(Manifest.NAME + ": scheduler." + message);
    }
}
