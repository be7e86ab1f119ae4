package io.moebius.edge;

/** A square in photo pixels: what the model sees. It may reach over the photo's edges, where the photo is mirrored. */
public final class Crop {
    /** 2^28 pixels: a whole 108-megapixel photo fits, the square around a hole along a long strip does not. */
    static final int MAX_SIDE = 16_384;
    /** The least context on each side of the hole, in units of the hole: for less the square leaves the photo. */
    private static final double TIGHT = 0.5;
    /** Margin of the second pass. */
    private static final double CLOSE = 0.25;

    public final int left;
    public final int top;
    public final int side;

    Crop(int left, int top, int side) {
        this.left = left;
        this.top = top;
        this.side = side;
    }

    /**
     * The square around the bounding box of a hole (docs/loop.md, step 3).
     *
     * @param resolution R, the model's
     * @throws MoebiusException when its side would exceed 16,384 pixels
     */
    public static Crop choose(Box box, int width, int height, int resolution, double margin, int feather) {
        Crop crop = square(box, width, height, resolution, margin, feather);
        if (crop.side > MAX_SIDE) {
            throw new MoebiusException("the mask spans " + Math.max(box.width(), box.height())
                    + " pixels and needs a square of " + crop.side + " around it; at most " + MAX_SIDE
                    + " are allowed: fill its parts one after another, or make the photo smaller");
        }
        return crop;
    }

    /** What {@link #choose} chooses, of any side. */
    static Crop square(Box box, int width, int height, int resolution, double margin, int feather) {
        int hole = Math.max(box.width(), box.height());
        int shorter = Math.min(width, height);
        int longer = Math.max(width, height);
        long room = Math.max((long) Math.rint(margin * Math.max(hole, Math.min(resolution, shorter))), feather);
        long side = Math.max(hole + 2 * room, resolution);
        if (side > shorter) {
            long least = hole + 2 * Math.max((long) Math.rint(Math.min(margin, TIGHT) * hole), feather);
            side = Math.max(shorter, Math.min(least, longer));
        }
        int length = (int) side;
        return new Crop(place(box.left, box.right, length, width), place(box.top, box.bottom, length, height), length);
    }

    /**
     * The square of the second pass, tight around the same hole; null where it is hardly smaller than this one (docs/loop.md,
     * step 13). The rest as for {@link #choose}.
     */
    public Crop closer(Box box, int width, int height, int resolution, int feather) {
        Crop close = square(box, width, height, resolution, CLOSE, feather);
        return 5 * close.side <= 4 * side ? close : null;
    }

    private static int place(int low, int high, int side, int length) {
        if (side >= length) {
            return -((side - length) / 2);
        }
        return Math.min(Math.max(Math.floorDiv(low + high - side, 2), 0), length - side);
    }

    /** The part that lies in a photo of this size. */
    public Box inside(int width, int height) {
        return new Box(Math.max(left, 0), Math.max(top, 0), Math.min(left + side, width), Math.min(top + side, height));
    }

    /** The square of a photo, [side, side, 3], mirrored where it reaches over the edges. */
    Resized.Rows cut(Photo photo) {
        Box inside = inside(photo.width(), photo.height());
        int[] columns = columns(inside);
        byte[] row = new byte[3 * inside.width()];
        return (y, into) -> {
            photo.readRow(inside.left, row(y, inside), inside.width(), row);
            for (int x = 0; x < side; x++) {
                System.arraycopy(row, 3 * columns[x], into, 3 * x, 3);
            }
        };
    }

    /** Where the square of a photo is fully transparent, [side, side], 0 and 255. */
    Resized.Rows cutClear(Photo photo) {
        Box inside = inside(photo.width(), photo.height());
        int[] columns = columns(inside);
        byte[] alpha = new byte[inside.width()];
        return (y, into) -> {
            photo.readAlpha(inside.left, row(y, inside), inside.width(), alpha);
            for (int x = 0; x < side; x++) {
                into[x] = (byte) (alpha[columns[x]] == 0 ? 255 : 0);
            }
        };
    }

    /** The square of a mask, [side, side], 0 and 255. */
    Resized.Rows cut(Mask mask) {
        Box inside = inside(mask.width, mask.height);
        int[] columns = columns(inside);
        return (y, into) -> {
            int row = row(y, inside);
            for (int x = 0; x < side; x++) {
                into[x] = (byte) (mask.at(inside.left + columns[x], row) ? 255 : 0);
            }
        };
    }

    /** For each column of the square, the one of the part inside that is seen there. */
    private int[] columns(Box inside) {
        int[] result = new int[side];
        for (int x = 0; x < side; x++) {
            result[x] = mirror(left + x - inside.left, inside.width());
        }
        return result;
    }

    /** For a row of the square, the one of the photo that is seen there. */
    private int row(int y, Box inside) {
        return inside.top + mirror(top + y - inside.top, inside.height());
    }

    /** ... c b a | a b c ... : the edge pixel itself twice, again and again. */
    private static int mirror(int index, int length) {
        int place = Math.floorMod(index, 2 * length);
        return place < length ? place : 2 * length - 1 - place;
    }
}
