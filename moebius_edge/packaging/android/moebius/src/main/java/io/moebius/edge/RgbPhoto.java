package io.moebius.edge;

/** A photo that is an array of bytes, [height, width, 3]. As a sink it is changed in place. */
public final class RgbPhoto implements Photo, Photo.Sink {
    public final byte[] rgb;
    private final byte[] alpha; // null: none
    private final int width;
    private final int height;

    /** Shares `rgb`. Throws MoebiusException when it does not have 3 x width x height bytes. */
    public RgbPhoto(byte[] rgb, int width, int height) {
        this(rgb, null, width, height);
    }

    /** Shares `rgb` and `alpha`, [height, width]; null: every pixel is opaque. Throws MoebiusException for other numbers of bytes. */
    public RgbPhoto(byte[] rgb, byte[] alpha, int width, int height) {
        if (rgb.length != 3L * width * height) {
            throw new MoebiusException(
                    "a photo of " + width + "x" + height + " pixels was given " + rgb.length + " bytes; expected 3 per pixel");
        }
        if (alpha != null && alpha.length != (long) width * height) {
            throw new MoebiusException(
                    "a photo of " + width + "x" + height + " pixels was given " + alpha.length + " bytes of alpha; expected 1 per pixel");
        }
        this.rgb = rgb;
        this.alpha = alpha;
        this.width = width;
        this.height = height;
    }

    /** A copy of the colours, for a result beside the photo. */
    public RgbPhoto copy() {
        return new RgbPhoto(rgb.clone(), alpha, width, height);
    }

    @Override
    public int width() {
        return width;
    }

    @Override
    public int height() {
        return height;
    }

    @Override
    public void readRow(int left, int y, int count, byte[] into) {
        System.arraycopy(rgb, 3 * (y * width + left), into, 0, 3 * count);
    }

    @Override
    public boolean hasAlpha() {
        return alpha != null;
    }

    @Override
    public void readAlpha(int left, int y, int count, byte[] into) {
        System.arraycopy(alpha, y * width + left, into, 0, count);
    }

    @Override
    public void writeRow(int left, int y, int count, byte[] from) {
        System.arraycopy(from, 0, rgb, 3 * (y * width + left), 3 * count);
    }
}
