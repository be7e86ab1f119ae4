package io.moebius.edge;

import java.util.ArrayList;
import java.util.List;

/** The edits of one photo: one for each of its holes, and no square of theirs overlaps another. */
public final class Edits {
    static final int MIN_SIDE = 8; // pixels: one latent
    static final long MAX_PIXELS = 128L << 20;

    private Edits() {}

    /**
     * Chooses the holes and prepares what the model gets of each: steps 1 to 5 of docs/loop.md. What is kept of a hole is of
     * the model's size.
     *
     * @param mask as large as the upright photo
     * @param resolution R, the model's
     * @param stride R / latent size
     * @throws MoebiusException for a photo or a mask that cannot be used
     */
    public static List<Edit> plan(Photo photo, Mask mask, int resolution, int stride, Options options) {
        check(photo, mask);
        Mask grown = mask.grow(options.dilate);
        if (grown.isFull()) {
            throw new MoebiusException("grown by " + options.dilate + " pixels, the mask covers the whole photo; dilate less");
        }
        if (isClear(photo, grown)) {
            throw new MoebiusException(
                    "the mask covers only pixels that are fully transparent: nothing would be seen of the fill");
        }
        List<Edit> edits = new ArrayList<>();
        for (Box box : holes(photo, grown, resolution, options)) {
            Crop crop = Crop.choose(box, photo.width(), photo.height(), resolution, options.margin, options.feather);
            edits.add(new Edit(photo, grown.only(box), crop, null, resolution, stride, options));
        }
        return edits;
    }

    private static List<Box> holes(Photo photo, Mask mask, int resolution, Options options) {
        if (options.together) {
            return List.of(mask.box());
        }
        int width = photo.width();
        int height = photo.height();
        return Holes.of(mask, resolution, box ->
                Crop.square(box, width, height, resolution, options.margin, options.feather).inside(width, height));
    }

    private static void check(Photo photo, Mask mask) {
        int width = photo.width();
        int height = photo.height();
        if (Math.min(width, height) < MIN_SIDE) {
            throw new MoebiusException(
                    "the photo is " + width + "x" + height + " pixels; at least " + MIN_SIDE + "x" + MIN_SIDE + " are needed");
        }
        if ((long) width * height > MAX_PIXELS) {
            throw new MoebiusException(
                    "the photo is " + width + "x" + height + " pixels; at most " + MAX_PIXELS + " pixels are allowed");
        }
        if (mask.width != width || mask.height != height) {
            throw new MoebiusException("the mask is " + mask.width + "x" + mask.height + " pixels and the photo " + width + "x"
                    + height + " (width x height, upright); they must be equal");
        }
        if (mask.isEmpty()) {
            throw new MoebiusException("the mask is empty: mark what is to be filled");
        }
        if (mask.isFull()) {
            throw new MoebiusException("the mask covers the whole photo: nothing is left to fill it from; mark a smaller part");
        }
    }

    /** Whether all that is marked is fully transparent. */
    private static boolean isClear(Photo photo, Mask mask) {
        if (!photo.hasAlpha()) {
            return false;
        }
        byte[] alpha = new byte[mask.right - mask.left];
        for (int y = mask.top; y < mask.bottom; y++) {
            photo.readAlpha(mask.left, y, alpha.length, alpha);
            for (int x = 0; x < alpha.length; x++) {
                if (alpha[x] != 0 && mask.at(mask.left + x, y)) {
                    return false;
                }
            }
        }
        return true;
    }
}
