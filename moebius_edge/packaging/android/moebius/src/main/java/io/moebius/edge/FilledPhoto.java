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

    /** `fill` is as large as `crop`, which contains all of the mask. */
    FilledPhoto(Photo photo, Mask mask, Crop crop, Resized fill) {
        this.photo = photo;
        this.mask = mask;
        this.crop = crop;
        this.fill = fill;
        row = new byte[3 * crop.side];
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
    public void readRow(int left, int y, int count, byte[] rgb) {
        photo.readRow(left, y, count, rgb);
        if (y < mask.top || y >= mask.bottom) {
            return;
        }
        fill.read(y - crop.top, row);
        int end = Math.min(left + count, mask.right);
        for (int x = Math.max(left, mask.left); x < end; x++) {
            if (mask.at(x, y)) {
                System.arraycopy(row, 3 * (x - crop.left), rgb, 3 * (x - left), 3);
            }
        }
    }
}
