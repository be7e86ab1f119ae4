package io.moebius.edge;

/**
 * A photo with a fill in its mask, without a soft edge: what a second, closer pass works on (docs/loop.md, step 13). Its
 * rows are computed when they are read, so it is no array either, and the photo below it may be the sink of the result.
 */
final class FilledPhoto implements Photo {
    private final Photo photo;
    private final Mask mask;
    private final Crop crop;
    private final Resized fill;
    private final byte[] row;
    private final byte[] alpha;

    /** All of `mask` is in the fill's crop. */
    FilledPhoto(Photo photo, Mask mask, Fill fill) {
        this.photo = photo;
        this.mask = mask;
        this.fill = fill.scaled();
        crop = fill.crop;
        row = new byte[3 * crop.side];
        alpha = new byte[crop.side];
    }

    @Override
    public int width() {
        return photo.width();
    }

    @Override
    public int height() {
        return photo.height();
    }

    @Override
    public boolean hasAlpha() {
        return photo.hasAlpha();
    }

    @Override
    public void readAlpha(int left, int y, int count, byte[] into) {
        photo.readAlpha(left, y, count, into);
    }

    @Override
    public void readRow(int left, int y, int count, byte[] rgb) {
        photo.readRow(left, y, count, rgb);
        int start = Math.max(left, mask.left);
        int end = Math.min(left + count, mask.right);
        if (y < mask.top || y >= mask.bottom || start >= end) {
            return;
        }
        fill.read(y - crop.top, row);
        boolean cut = photo.hasAlpha();
        if (cut) {
            photo.readAlpha(start, y, end - start, alpha);
        }
        for (int x = start; x < end; x++) {
            if (mask.at(x, y) && !(cut && alpha[x - start] == 0)) {
                System.arraycopy(row, 3 * (x - crop.left), rgb, 3 * (x - left), 3);
            }
        }
    }
}
