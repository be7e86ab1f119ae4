package io.moebius.edge;

/** Opacity of a fill: 1 in the mask, 0 farther than the feather from it, read row by row from the top (docs/loop.md, step 12). */
public final class Feather {
    private final Mask wide;
    private final Box area;
    private final int blur;
    private final int[] columns; // marked pixels of each column in the rows around the current one
    private int next = 0;

    /**
     * Of an area of the mask's picture, which holds all that is marked.
     *
     * @param feather 0 to 4096: pixels over which the opacity falls to 0
     */
    public Feather(Mask mask, Box area, int feather) {
        this.area = area;
        blur = feather / 2;
        wide = mask.grow(feather - blur);
        columns = new int[area.width()];
    }

    /** The next row of opacities, 0 to 1; the first call gives the area's top. Beyond it the mask goes on as at its edge. */
    public void readNext(float[] into) {
        if (next == 0) {
            for (int y = -blur; y <= blur; y++) {
                addRow(y, 1);
            }
        } else {
            addRow(next - 1 - blur, -1);
            addRow(next + blur, 1);
        }
        next++;
        double window = (2.0 * blur + 1) * (2.0 * blur + 1);
        int right = columns.length - 1;
        int sum = 0;
        for (int x = -blur; x < blur; x++) {
            sum += columns[clamp(x, right)];
        }
        for (int x = 0; x <= right; x++) {
            sum += columns[clamp(x + blur, right)];
            into[x] = (float) (sum / window);
            sum -= columns[clamp(x - blur, right)];
        }
    }

    private void addRow(int y, int amount) {
        wide.addRow(area.top + clamp(y, area.height() - 1), area.left, amount, columns);
    }

    private static int clamp(int value, int high) {
        return Math.max(0, Math.min(value, high));
    }
}
