package io.moebius.edge;

/**
 * Pixels of a square whose colours mean nothing, and what stands for them (docs/loop.md, step 4). Under full transparency
 * most editors save black; under the mask is what is to be removed. Resizing would mix either into its neighbours.
 */
final class Unknown {
    private final Resized.Rows where;
    private final int side;
    private final int count; // of cells along the side
    private final byte[] cells; // [count,count,3]

    private Unknown(Resized.Rows where, int side, int count, byte[] cells) {
        this.where = where;
        this.side = side;
        this.count = count;
        this.cells = cells;
    }

    /**
     * Divides a square into the model's pixels, or its own where these are larger. Such a cell has the mean of its known
     * pixels; where there are none, the harmonic function of the cells around.
     *
     * @param pixels [side,side,3]
     * @param where [side,side]; anything but 0 is unknown
     * @return null where everything is known
     * @throws MoebiusException where nothing is
     */
    static Unknown find(Resized.Rows pixels, Resized.Rows where, int side, int resolution) {
        int count = Math.min(side, resolution);
        Sums sums = new Sums(side, count);
        byte[] row = new byte[3 * side];
        byte[] unknown = new byte[side];
        for (int y = 0; y < side; y++) {
            pixels.read(y, row);
            where.read(y, unknown);
            sums.add(y, row, unknown);
        }
        if (sums.known == (long) side * side) {
            return null;
        }
        if (sums.known == 0) {
            throw new MoebiusException("everything around the mask is fully transparent: nothing is left to fill it from; mark a "
                    + "part that can be seen, or remove the transparency");
        }
        return new Unknown(where, side, count, sums.colours());
    }

    /** `pixels` [side,side,3] with the colours of their cells where they are unknown. */
    Resized.Rows replacedIn(Resized.Rows pixels) {
        byte[] unknown = new byte[side];
        return (y, into) -> {
            pixels.read(y, into);
            where.read(y, unknown);
            for (int x = 0; x < side; x++) {
                if (unknown[x] != 0) {
                    System.arraycopy(cells, 3 * cell(x, y, side, count), into, 3 * x, 3);
                }
            }
        };
    }

    private static int cell(int x, int y, int side, int count) {
        return y * count / side * count + x * count / side;
    }

    /** Of each cell, how many pixels are known, and what their colours add up to. */
    private static final class Sums {
        private final int side;
        private final int count;
        private final int[] numbers;
        private final double[][] colours; // per channel; whole numbers, so that sums are exact
        long known = 0;

        Sums(int side, int count) {
            this.side = side;
            this.count = count;
            numbers = new int[count * count];
            colours = new double[3][count * count];
        }

        void add(int y, byte[] row, byte[] unknown) {
            for (int x = 0; x < side; x++) {
                if (unknown[x] != 0) {
                    continue;
                }
                int cell = cell(x, y, side, count);
                known++;
                numbers[cell]++;
                for (int channel = 0; channel < 3; channel++) {
                    colours[channel][cell] += row[3 * x + channel] & 0xFF;
                }
            }
        }

        /** The colour of each cell, [count,count,3]. */
        byte[] colours() {
            Mask empty = Mask.read(count, count, (y, into) -> {
                for (int x = 0; x < count; x++) {
                    into[x] = (byte) (numbers[y * count + x] == 0 ? 1 : 0);
                }
            });
            byte[] result = new byte[3 * numbers.length];
            for (int channel = 0; channel < 3; channel++) {
                double[] values = colours[channel];
                for (int i = 0; i < values.length; i++) {
                    values[i] /= Math.max(numbers[i], 1);
                }
                Harmonic.extend(values, empty);
                for (int i = 0; i < values.length; i++) {
                    result[3 * i + channel] = (byte) (int) Math.rint(Math.max(0, Math.min(255, values[i])));
                }
            }
            return result;
        }
    }
}
