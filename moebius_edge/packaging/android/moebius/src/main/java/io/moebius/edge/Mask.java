package io.moebius.edge;

import java.util.Arrays;

/**
 * What of a picture is to be filled. Only the bounding box of what is marked is kept, one byte per pixel, so that a stroke on
 * a photo of 48 megapixels takes little memory.
 */
public final class Mask {
    /** A mask that can be read row by row; anything but 0 is marked. */
    public interface Source {
        void readRow(int y, byte[] into);
    }

    /** Of the whole picture, in pixels. */
    public final int width;
    public final int height;
    /** The bounding box of what is marked; right and bottom are outside. All 0 where nothing is. */
    public final int left;
    public final int top;
    public final int right;
    public final int bottom;

    private final byte[] box;

    private Mask(int width, int height, int left, int top, int right, int bottom, byte[] box) {
        this.width = width;
        this.height = height;
        this.left = left;
        this.top = top;
        this.right = right;
        this.bottom = bottom;
        this.box = box;
    }

    /** Of an array [height, width]; anything but 0 is marked. Throws MoebiusException when it has another size. */
    public static Mask of(byte[] marked, int width, int height) {
        if (marked.length != (long) width * height) {
            throw new MoebiusException(
                    "a mask of " + width + "x" + height + " pixels was given " + marked.length + " bytes; expected 1 per pixel");
        }
        return read(width, height, (y, into) -> System.arraycopy(marked, y * width, into, 0, width));
    }

    /** Reads every row twice: for the bounding box, then for what is in it. */
    public static Mask read(int width, int height, Source source) {
        byte[] row = new byte[width];
        int left = width;
        int top = height;
        int right = 0;
        int bottom = 0;
        for (int y = 0; y < height; y++) {
            source.readRow(y, row);
            int first = 0;
            while (first < width && row[first] == 0) {
                first++;
            }
            if (first == width) {
                continue;
            }
            int last = width;
            while (row[last - 1] == 0) {
                last--;
            }
            left = Math.min(left, first);
            right = Math.max(right, last);
            top = Math.min(top, y);
            bottom = y + 1;
        }
        if (bottom == 0) {
            return new Mask(width, height, 0, 0, 0, 0, new byte[0]);
        }
        byte[] box = new byte[Math.multiplyExact(right - left, bottom - top)];
        for (int y = top; y < bottom; y++) {
            source.readRow(y, row);
            System.arraycopy(row, left, box, (y - top) * (right - left), right - left);
        }
        return new Mask(width, height, left, top, right, bottom, box);
    }

    public boolean isEmpty() {
        return bottom == 0;
    }

    /** Whether every pixel of the picture is marked. */
    public boolean isFull() {
        if (right - left != width || bottom - top != height) {
            return false;
        }
        for (byte marked : box) {
            if (marked == 0) {
                return false;
            }
        }
        return true;
    }

    /** Whether a pixel of the picture is marked. */
    public boolean at(int x, int y) {
        return x >= left && x < right && y >= top && y < bottom && box[(y - top) * (right - left) + x - left] != 0;
    }

    /** Adds `amount` to sums[x - from] for each marked pixel x of row `y` from `from` to `from + sums.length`. */
    void addRow(int y, int from, int amount, int[] sums) {
        int end = Math.min(right, from + sums.length);
        for (int x = Math.max(left, from); x < end; x++) {
            if (at(x, y)) {
                sums[x - from] += amount;
            }
        }
    }

    /** The bounding box of what is marked. */
    public Box box() {
        return new Box(left, top, right, bottom);
    }

    /** The bounding box of what is marked in an area; null: nothing is. */
    Box boxIn(Box area) {
        int l = right;
        int r = left;
        int t = bottom;
        int b = top;
        for (int y = Math.max(area.top, top); y < Math.min(area.bottom, bottom); y++) {
            for (int x = Math.max(area.left, left); x < Math.min(area.right, right); x++) {
                if (at(x, y)) {
                    l = Math.min(l, x);
                    r = Math.max(r, x + 1);
                    t = Math.min(t, y);
                    b = y + 1;
                }
            }
        }
        return l < r ? new Box(l, t, r, b) : null;
    }

    /** Of the same picture, only what is marked in `area`, which is the bounding box of that. */
    Mask only(Box area) {
        if (area.width() == right - left && area.height() == bottom - top) {
            return this;
        }
        byte[] marked = new byte[Math.multiplyExact(area.width(), area.height())];
        for (int y = area.top; y < area.bottom; y++) {
            int from = (y - top) * (right - left) + area.left - left;
            System.arraycopy(box, from, marked, (y - area.top) * area.width(), area.width());
        }
        return new Mask(width, height, area.left, area.top, area.right, area.bottom, marked);
    }

    /** Dilated by a square of side 2 radius + 1: marked is what has a marked pixel in the square around it. */
    public Mask grow(int radius) {
        if (radius == 0 || isEmpty()) {
            return this;
        }
        int l = Math.max(left - radius, 0);
        int t = Math.max(top - radius, 0);
        int r = Math.min(right + radius, width);
        int b = Math.min(bottom + radius, height);
        int w = r - l;
        int h = b - t;
        byte[] grown = new byte[Math.multiplyExact(w, h)];
        // The rows, grown sideways, lie at the end of the array, so that growing downwards reads them before it
        // writes over them: the lowest row that counts for row y is y + radius.
        int shift = h - (bottom - top);
        for (int y = top; y < bottom; y++) {
            growRow(y, radius, l, w, grown, (y - top + shift) * w);
        }
        int[] last = new int[w]; // of each column, the lowest marked row so far
        Arrays.fill(last, Integer.MIN_VALUE / 2);
        int entered = top;
        for (int y = t; y < b; y++) {
            for (; entered < bottom && entered <= y + radius; entered++) {
                int from = (entered - top + shift) * w;
                for (int x = 0; x < w; x++) {
                    if (grown[from + x] != 0) {
                        last[x] = entered;
                    }
                }
            }
            for (int x = 0; x < w; x++) {
                grown[(y - t) * w + x] = (byte) (last[x] >= y - radius ? 1 : 0);
            }
        }
        return new Mask(width, height, l, t, r, b, grown);
    }

    /** Row `y` grown sideways, columns l to l + w, into `grown` from `offset` on. */
    private void growRow(int y, int radius, int l, int w, byte[] grown, int offset) {
        int last = Integer.MIN_VALUE / 2;
        int entered = left;
        for (int x = l; x < l + w; x++) {
            for (; entered < right && entered <= x + radius; entered++) {
                if (at(entered, y)) {
                    last = entered;
                }
            }
            grown[offset + x - l] = (byte) (last >= x - radius ? 1 : 0);
        }
    }
}
