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
     * Fills the mask of a photo. The result's rows go to `sink` when all is computed, so an edit that fails or is stopped
     * writes nothing; the photo itself may be the sink. Pixels farther than the feather from the mask stay as they were.
     *
     * @param mask as large as the upright photo
     * @throws MoebiusException for input that cannot be used and numbers that stop being finite, and Cancelled
     */
    public void inpaint(Photo photo, Mask mask, Options options, Progress progress, Photo.Sink sink) {
        options.check();
        inpaint(photo, mask, options, manifest.scheduler.schedule(options.steps, options.strength), progress, sink);
    }

    /** With the numbers of a loop that need not be the bundle's: the self-test's are DDIM's. */
    void inpaint(Photo photo, Mask mask, Options options, Schedule schedule, Progress progress, Photo.Sink sink) {
        int size = manifest.latentSize;
        Edit edit = new Edit(photo, mask, manifest.resolution, manifest.resolution / size, options);
        Noise.Draws draws = new Noise.Draws(options.seed, size, options.noiseOffset);
        Loop loop = new Loop(runner, manifest.resolution, size, progress);
        edit.finish(loop.run(edit, schedule, draws, options.guidance), sink);
    }
}
