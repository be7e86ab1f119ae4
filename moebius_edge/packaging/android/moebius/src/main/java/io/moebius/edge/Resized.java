package io.moebius.edge;

/**
 * A picture at another size, to the byte as Pillow computes it (docs/loop.md, "Resizing"). Rows of the source are read
 * once and at once resized horizontally; rows of the result are computed when they are asked for. So neither picture is
 * ever in memory as a whole, only one of the source's height and the result's width.
 */
public final class Resized {
    /** A picture that can be read row by row. */
    public interface Rows {
        /** Reads row `y`, channels interleaved. */
        void read(int y, byte[] into);
    }

    /** How pixels are weighted. */
    public enum Filter {
        LANCZOS(3) {
            @Override
            double weight(double v) {
                return v >= -3 && v < 3 ? sinc(v) * sinc(v / 3) : 0;
            }
        },
        BOX(0.5) {
            @Override
            double weight(double v) {
                return v > -0.5 && v <= 0.5 ? 1 : 0;
            }
        };

        final double support;

        Filter(double support) {
            this.support = support;
        }

        abstract double weight(double v);

        private static double sinc(double v) {
            return v == 0 ? 1 : Math.sin(v * Math.PI) / (v * Math.PI);
        }
    }

    private static final int PRECISION = 22; // bits of a weight's fraction: 32-bit sums of bytes cannot overflow

    private final int rowBytes;
    private final byte[] narrow; // source height x result width
    private final Weights vertical; // null: the height stays the same

    /** Resizes `source` of width x height pixels of `channels` bytes to `toWidth` x `toHeight`. */
    public Resized(Rows source, int width, int height, int channels, int toWidth, int toHeight, Filter filter) {
        rowBytes = toWidth * channels;
        narrow = new byte[Math.multiplyExact(height, rowBytes)];
        vertical = height == toHeight ? null : new Weights(height, toHeight, filter);
        Weights horizontal = width == toWidth ? null : new Weights(width, toWidth, filter);
        byte[] row = new byte[width * channels];
        for (int y = 0; y < height; y++) {
            source.read(y, row);
            if (horizontal == null) {
                System.arraycopy(row, 0, narrow, y * rowBytes, rowBytes);
            } else {
                horizontally(row, horizontal, toWidth, channels, y * rowBytes);
            }
        }
    }

    private void horizontally(byte[] row, Weights weights, int toWidth, int channels, int offset) {
        for (int x = 0; x < toWidth; x++) {
            int[] k = weights.values[x];
            for (int channel = 0; channel < channels; channel++) {
                int sum = 1 << (PRECISION - 1);
                int from = weights.first[x] * channels + channel;
                for (int j = 0; j < k.length; j++) {
                    sum += k[j] * (row[from + j * channels] & 0xFF);
                }
                narrow[offset + x * channels + channel] = clamp(sum >> PRECISION);
            }
        }
    }

    /** Computes row `y` of the result, channels interleaved. */
    public void read(int y, byte[] into) {
        if (vertical == null) {
            System.arraycopy(narrow, y * rowBytes, into, 0, rowBytes);
            return;
        }
        int[] k = vertical.values[y];
        int base = vertical.first[y] * rowBytes;
        for (int i = 0; i < rowBytes; i++) {
            int sum = 1 << (PRECISION - 1);
            for (int j = 0; j < k.length; j++) {
                sum += k[j] * (narrow[base + j * rowBytes + i] & 0xFF);
            }
            into[i] = clamp(sum >> PRECISION);
        }
    }

    private static byte clamp(int value) {
        return (byte) Math.max(0, Math.min(255, value));
    }

    /** For each pixel of the result, the first pixel of the source that counts and fixed-point weights from there on. */
    private static final class Weights {
        final int[] first;
        final int[][] values;

        Weights(int from, int to, Filter filter) {
            double scale = (double) from / to;
            double width = Math.max(scale, 1.0);
            double support = filter.support * width;
            first = new int[to];
            values = new int[to][];
            for (int x = 0; x < to; x++) {
                double centre = (x + 0.5) * scale;
                first[x] = Math.max((int) (centre - support + 0.5), 0);
                int last = Math.min((int) (centre + support + 0.5), from);
                values[x] = fixed(filter, centre, width, first[x], last);
            }
        }

        private static int[] fixed(Filter filter, double centre, double width, int first, int last) {
            double[] weights = new double[last - first];
            double sum = 0;
            for (int j = 0; j < weights.length; j++) {
                weights[j] = filter.weight((j + first - centre + 0.5) * (1.0 / width));
                sum += weights[j];
            }
            int[] result = new int[weights.length];
            for (int j = 0; j < weights.length; j++) {
                double scaled = (sum == 0 ? weights[j] : weights[j] / sum) * (1 << PRECISION);
                result[j] = (int) (scaled < 0 ? scaled - 0.5 : scaled + 0.5);
            }
            return result;
        }
    }
}
