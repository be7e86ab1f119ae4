package io.moebius.edge;

/** Opacity of a fill: 1 in the mask, 0 farther than the feather from it, read row by row from the top (docs/loop.md, step 12). */
public final class Feather {
    private final Mask wide;
    private final int blur;
    private final int[] columns; // marked pixels of each column in the rows around the current one
    private int next = 0;

    /** `feather` 0 to 4096: pixels over which the opacity falls to 0. */
    public Feather(Mask mask, int feather) {
        blur = feather / 2;
        wide = mask.grow(feather - blur);
        columns = new int[mask.width];
    }

    /** The next row of opacities, 0 to 1; the first call gives row 0. Beyond its edges the mask goes on as at its edge. */
    public void readNext(float[] into) {
        int last = wide.height - 1;
        if (next == 0) {
            for (int y = -blur; y <= blur; y++) {
                wide.addRow(clamp(y, last), 0, 1, columns);
            }
        } else {
            wide.addRow(clamp(next - 1 - blur, last), 0, -1, columns);
            wide.addRow(clamp(next + blur, last), 0, 1, columns);
        }
        next++;
        double area = (2.0 * blur + 1) * (2.0 * blur + 1);
        int right = wide.width - 1;
        int sum = 0;
        for (int x = -blur; x < blur; x++) {
            sum += columns[clamp(x, right)];
        }
        for (int x = 0; x <= right; x++) {
            sum += columns[clamp(x + blur, right)];
            into[x] = (float) (sum / area);
            sum -= columns[clamp(x - blur, right)];
        }
    }

    private static int clamp(int value, int high) {
        return Math.max(0, Math.min(value, high));
    }
}
