package io.moebius.edge;

import java.util.ArrayList;
import java.util.List;

/** Fills holes in photos with the three graphs of one bundle. Not for several threads at once. */
public final class Inpainter {
    private final GraphRunner runner;
    private final Manifest manifest;

    /** Loads nothing yet; each edit loads one graph at a time and frees it. */
    public Inpainter(Manifest manifest, GraphRunner runner) {
        this.manifest = manifest;
        this.runner = runner;
    }

    /**
     * Fills the mask of a photo: each of its holes, in two passes where the fill of one would be coarse (docs/loop.md, steps
     * 2 and 13). The result's rows go to `sink` when all is computed, so an edit that fails or is stopped writes nothing; the
     * photo itself may be the sink. Pixels farther than the feather from the mask stay as they were, and those that are fully
     * transparent.
     *
     * @param mask as large as the upright photo
     * @throws MoebiusException for input that cannot be used and numbers that stop being finite, and Cancelled
     */
    public void inpaint(Photo photo, Mask mask, Options options, Progress progress, Photo.Sink sink) {
        options.check();
        inpaint(photo, mask, options, manifest.scheduler.schedule(options.steps, options.strength), progress, sink);
    }

    /** With the numbers of a loop that need not be the bundle's: the self-test's are DDIM's. */
    void inpaint(Photo photo, Mask mask, Options options, Schedule first, Progress progress, Photo.Sink sink) {
        int size = manifest.latentSize;
        List<Edit> edits = Edits.plan(photo, mask, manifest.resolution, manifest.resolution / size, options);
        Schedule second = first.refining(manifest.scheduler.noise, options.refine);
        List<Integer> coarse = second == null ? List.of() : coarse(edits);
        int total = edits.size() * Loop.runs(first, false) + (second == null ? 0 : coarse.size() * Loop.runs(second, true));
        Noise.Draws draws = new Noise.Draws(options.seed, size, options.noiseOffset);
        Loop loop = new Loop(runner, manifest.resolution, size, total, progress);
        List<Fill> fills = loop.run(edits, first, draws, options.guidance);
        if (!coarse.isEmpty()) {
            List<Edit> finer = new ArrayList<>();
            for (int index : coarse) {
                Edit edit = edits.get(index).refined(fills.get(index));
                finer.add(edit);
                edits.set(index, edit);
            }
            List<Fill> again = loop.run(finer, second, draws, options.guidance);
            for (int i = 0; i < again.size(); i++) {
                fills.set(coarse.get(i), again.get(i));
            }
        }
        for (int i = 0; i < fills.size(); i++) {
            edits.get(i).finish(fills.get(i), sink);
        }
    }

    /** Which of the edits have a second pass. */
    private static List<Integer> coarse(List<Edit> edits) {
        List<Integer> result = new ArrayList<>();
        for (int i = 0; i < edits.size(); i++) {
            if (edits.get(i).closer() != null) {
                result.add(i);
            }
        }
        return result;
    }
}
