package io.moebius.edge;

import java.util.Arrays;

/**
 * The paste in the gradient domain: the fill takes on the photo's colours along the rim of the hole, by the difference
 * beside it continued into it as a harmonic function. "The harmonic correction" of docs/loop.md, which fixes the order
 * of every addition. The loop's start is continued into the hole by the same function.
 */
final class Harmonic {
    private static final int PASSES = 2; // of the 3 x 3 mean along the rim
    private static final int CYCLES = 5; // V-cycles at each size
    private static final int SWEEPS = 2; // of Jacobi's method before and after each smaller size
    private static final double STEP = 0.2; // of a sweep
    private static final int BLOCK = 16; // pixels

    private Harmonic() {}

    /**
     * What to add to one channel of the fill so that it meets `surround` at the rim of the hole, [R,R].
     *
     * @param surround [R,R,3], the photo at this size, nothing of what is removed in a pixel outside the hole
     * @param fill [R,R] of this channel, 0 to 255
     * @param hole [R,R], not all of it
     */
    static double[] correction(byte[] surround, int channel, double[] fill, Mask hole) {
        Plane free = new Plane(hole.width, hole.height);
        Plane known = new Plane(hole.width, hole.height);
        Plane values = new Plane(hole.width, hole.height);
        for (int i = 0; i < fill.length; i++) {
            free.data[i] = hole.at(i % hole.width, i / hole.width) ? 1 : 0;
            known.data[i] = 1 - free.data[i];
            values.data[i] = ((surround[3 * i + channel] & 0xFF) - fill[i]) * known.data[i];
        }
        Plane count = windowSum(known);
        for (int pass = 0; pass < PASSES; pass++) {
            values = windowSum(values);
            for (int i = 0; i < fill.length; i++) {
                values.data[i] = values.data[i] / Math.max(count.data[i], 1) * known.data[i];
            }
        }
        extend(values, free, hole);
        return values.data;
    }

    /**
     * Puts the harmonic function of the values around the hole into it.
     *
     * @param values [H,W], changed in place
     * @param hole [H,W], not all of it
     */
    static void extend(double[] values, Mask hole) {
        Plane free = new Plane(hole.width, hole.height);
        for (int i = 0; i < values.length; i++) {
            free.data[i] = hole.at(i % hole.width, i / hole.width) ? 1 : 0;
        }
        extend(new Plane(hole.width, hole.height, values), free, hole);
    }

    /** The same: in the hole's box with its rim, in whole blocks. */
    private static void extend(Plane values, Plane free, Mask hole) {
        if (hole.isEmpty()) {
            return;
        }
        int left = Math.max(hole.left - 1, 0) / BLOCK * BLOCK;
        int top = Math.max(hole.top - 1, 0) / BLOCK * BLOCK;
        int right = Math.min((hole.right + BLOCK) / BLOCK * BLOCK, values.width);
        int bottom = Math.min((hole.bottom + BLOCK) / BLOCK * BLOCK, values.height);
        Plane part = solve(values.part(left, top, right, bottom), free.part(left, top, right, bottom));
        for (int y = top; y < bottom; y++) {
            System.arraycopy(part.data, (y - top) * part.width, values.data, y * values.width + left, part.width);
        }
    }

    /** Sums over the 3 x 3 window around each pixel; outside is 0. */
    private static Plane windowSum(Plane from) {
        int width = from.width;
        double[] rows = new double[from.data.length];
        Plane sums = new Plane(width, from.height);
        for (int i = 0; i < rows.length; i++) {
            int x = i % width;
            rows[i] = (x > 0 ? from.data[i - 1] : 0) + from.data[i] + (x < width - 1 ? from.data[i + 1] : 0);
        }
        for (int i = 0; i < rows.length; i++) {
            sums.data[i] = (i >= width ? rows[i - width] : 0) + rows[i] + (i + width < rows.length ? rows[i + width] : 0);
        }
        return sums;
    }

    /** `values`, harmonic where `free` is 1: starts from the solution at half the size. */
    private static Plane solve(Plane values, Plane free) {
        if (!free.hasOne()) {
            return values;
        }
        Plane fixed = new Plane(free.width, free.height);
        Plane x = new Plane(free.width, free.height);
        for (int i = 0; i < x.data.length; i++) {
            fixed.data[i] = 1 - free.data[i];
            x.data[i] = values.data[i] * fixed.data[i];
        }
        Plane count = children(fixed);
        Plane coarse = children(x);
        for (int i = 0; i < count.data.length; i++) {
            coarse.data[i] = coarse.data[i] / Math.max(count.data[i], 1);
            count.data[i] = count.data[i] == 0 ? 1 : 0;
        }
        x.add(enlarged(solve(coarse, count), x.width, x.height), free);
        Plane zero = new Plane(x.width, x.height);
        for (int i = 0; i < CYCLES; i++) {
            cycle(x, zero, free);
        }
        return x;
    }

    /** Moves `x` nearer to 4 x - (its four neighbours) = `target` where `free` is 1. */
    private static void cycle(Plane x, Plane target, Plane free) {
        relax(x, target, free);
        Plane inner = children(free);
        for (int i = 0; i < inner.data.length; i++) {
            inner.data[i] = inner.data[i] == 4 ? 1 : 0;
        }
        if (inner.hasOne()) {
            Plane rest = children(residual(x, target, free));
            for (int i = 0; i < rest.data.length; i++) {
                rest.data[i] *= inner.data[i];
            }
            Plane error = new Plane(rest.width, rest.height);
            cycle(error, rest, inner);
            x.add(enlarged(error, x.width, x.height), free);
        }
        relax(x, target, free);
    }

    private static void relax(Plane x, Plane target, Plane free) {
        for (int sweep = 0; sweep < SWEEPS; sweep++) {
            double[] left = residual(x, target, free).data;
            for (int i = 0; i < left.length; i++) {
                x.data[i] = x.data[i] + STEP * left[i];
            }
        }
    }

    /** What is missing in each equation; beyond the edges are the edges' values. */
    private static Plane residual(Plane x, Plane target, Plane free) {
        int width = x.width;
        Plane result = new Plane(width, x.height);
        int i = 0;
        for (int row = 0; row < x.height; row++) {
            int above = row > 0 ? width : 0;
            int below = row < x.height - 1 ? width : 0;
            for (int column = 0; column < width; column++, i++) {
                double vertical = x.data[i - above] + x.data[i + below];
                double horizontal = x.data[column > 0 ? i - 1 : i] + x.data[column < width - 1 ? i + 1 : i];
                result.data[i] = (target.data[i] + (vertical + horizontal) - 4 * x.data[i]) * free.data[i];
            }
        }
        return result;
    }

    /** Sums of 2 x 2 pixels; what an odd last row or column lacks is 0. */
    private static Plane children(Plane from) {
        Plane sums = new Plane((from.width + 1) / 2, (from.height + 1) / 2);
        for (int i = 0; i < sums.data.length; i++) {
            int x = i % sums.width * 2;
            int y = i / sums.width * 2;
            double left = from.at(x, y) + from.at(x, y + 1);
            sums.data[i] = left + (from.at(x + 1, y) + from.at(x + 1, y + 1));
        }
        return sums;
    }

    /** At twice the size, cut to width x height: linear between the centres of pixels. */
    private static Plane enlarged(Plane from, int width, int height) {
        Plane tall = new Plane(from.width, height);
        for (int i = 0; i < tall.data.length; i++) {
            int x = i % from.width;
            int y = i / from.width;
            tall.data[i] = 0.75 * from.at(x, y / 2) + 0.25 * from.at(x, neighbour(y, from.height));
        }
        Plane result = new Plane(width, height);
        for (int i = 0; i < result.data.length; i++) {
            int x = i % width;
            int y = i / width;
            result.data[i] = 0.75 * tall.at(x / 2, y) + 0.25 * tall.at(neighbour(x, from.width), y);
        }
        return result;
    }

    /** Of the smaller picture's `size` pixels, the second nearest to pixel `i` of the larger one. */
    private static int neighbour(int i, int size) {
        return i % 2 == 0 ? Math.max(i / 2 - 1, 0) : Math.min(i / 2 + 1, size - 1);
    }

    /** Numbers of one channel, row by row. */
    private static final class Plane {
        final int width;
        final int height;
        final double[] data;

        Plane(int width, int height) {
            this(width, height, new double[width * height]);
        }

        /** Shares `data`. */
        Plane(int width, int height, double[] data) {
            this.width = width;
            this.height = height;
            this.data = data;
        }

        /** 0 beyond the right and the lower edge. */
        double at(int x, int y) {
            return x < width && y < height ? data[y * width + x] : 0;
        }

        boolean hasOne() {
            return Arrays.stream(data).anyMatch(value -> value == 1);
        }

        Plane part(int left, int top, int right, int bottom) {
            Plane part = new Plane(right - left, bottom - top);
            for (int y = top; y < bottom; y++) {
                System.arraycopy(data, y * width + left, part.data, (y - top) * part.width, part.width);
            }
            return part;
        }

        /** Adds `change` where `free` is 1. */
        void add(Plane change, Plane free) {
            for (int i = 0; i < data.length; i++) {
                data[i] = data[i] + change.data[i] * free.data[i];
            }
        }
    }
}
