package io.moebius.edge;

/** What the model made of one square, as bytes: goes into the mask of a photo, with a soft edge (docs/loop.md, step 12). */
public final class Fill {
    /** Where it belongs. */
    final Crop crop;
    private final byte[] rgb;
    private final int resolution;

    /** Shares `rgb`, [R,R,3]. */
    Fill(Crop crop, byte[] rgb, int resolution) {
        this.crop = crop;
        this.rgb = rgb;
        this.resolution = resolution;
    }

    /** At the crop's size. */
    Resized scaled() {
        int rowBytes = 3 * resolution;
        return new Resized((y, into) -> System.arraycopy(rgb, y * rowBytes, into, 0, rowBytes),
                resolution, resolution, 3, crop.side, crop.side, Resized.Filter.LANCZOS);
    }

    /**
     * Gives `sink` the rows of the photo around the mask, with this in it. What the sink does not get stays as it is; it may
     * be the photo itself. What is fully transparent is written as it was.
     *
     * @param mask as large as the photo, all of it in the crop
     * @param feather pixels over which the opacity falls to 0
     */
    void paste(Photo photo, Mask mask, int feather, Photo.Sink sink) {
        Box part = mask.box().grown(feather).common(crop.inside(photo.width(), photo.height()));
        int width = part.width();
        Feather feathered = new Feather(mask, part, feather);
        Resized scaled = scaled();
        byte[] fresh = new byte[3 * crop.side];
        byte[] row = new byte[3 * width];
        byte[] alpha = new byte[photo.hasAlpha() ? width : 0];
        float[] opacity = new float[width];
        int shift = 3 * (part.left - crop.left);
        for (int y = part.top; y < part.bottom; y++) {
            photo.readRow(part.left, y, width, row);
            scaled.read(y - crop.top, fresh);
            feathered.readNext(opacity);
            if (alpha.length > 0) {
                photo.readAlpha(part.left, y, width, alpha);
            }
            for (int x = 0; x < alpha.length; x++) {
                opacity[x] = alpha[x] == 0 ? 0 : opacity[x];
            }
            for (int i = 0; i < row.length; i++) {
                float o = opacity[i / 3];
                float blended = o * (fresh[shift + i] & 0xFF) + (1f - o) * (row[i] & 0xFF);
                row[i] = (byte) (int) Math.rint(blended);
            }
            sink.writeRow(part.left, y, width, row);
        }
    }
}
