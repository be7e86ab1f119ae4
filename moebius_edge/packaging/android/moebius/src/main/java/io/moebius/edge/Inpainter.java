package io.moebius.edge;

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
     * Fills the mask of a photo, in two passes where the fill of one would be coarse (docs/loop.md, step 13). The result's
     * rows go to `sink` when all is computed, so an edit that fails or is stopped writes nothing; the photo itself may be the
     * sink. Pixels farther than the feather from the mask stay as they were.
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
        Edit edit = new Edit(photo, mask, manifest.resolution, manifest.resolution / size, options);
        Schedule second = edit.closer() == null ? null : first.refining(manifest.scheduler.noise, options.refine);
        int total = Loop.runs(first, false) + (second == null ? 0 : Loop.runs(second, true));
        Noise.Draws draws = new Noise.Draws(options.seed, size, options.noiseOffset);
        Loop loop = new Loop(runner, manifest.resolution, size, total, progress);
        Tensor picture = loop.run(edit, first, draws, options.guidance);
        if (second != null) {
            edit = edit.refined(picture);
            picture = loop.run(edit, second, draws, options.guidance);
        }
        edit.finish(picture, sink);
    }
}
