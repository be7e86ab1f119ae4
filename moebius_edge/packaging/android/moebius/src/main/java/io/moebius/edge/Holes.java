package io.moebius.edge;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;

/**
 * The parts of a mask that are far apart, each to be filled in a square of its own scale (docs/loop.md, step 2). Parts
 * whose squares overlap would see each other, so they are one hole.
 */
final class Holes {
    private static final int PER_MODEL = 4; // cells along the model's side: parts in touching cells are one hole

    private Holes() {}

    /**
     * The box of each hole, from top to bottom and left to right. They hold all that is marked; what `covered` gives for no
     * two of them overlaps.
     *
     * @param resolution R, the model's
     * @param covered what the square of a hole with this box covers of the photo
     */
    static List<Box> of(Mask mask, int resolution, UnaryOperator<Box> covered) {
        List<Box> boxes = parts(mask, Math.max(resolution / PER_MODEL, 1));
        int before;
        do { // what is joined may need a larger square, which may overlap the next
            before = boxes.size();
            boxes = joined(boxes, covered);
        } while (boxes.size() < before);
        boxes.sort(Comparator.<Box>comparingInt(box -> box.top).thenComparingInt(box -> box.left));
        return boxes;
    }

    /** The boxes of what is marked in cells of a grid that touch, also at a corner. */
    private static List<Box> parts(Mask mask, int cell) {
        int firstColumn = mask.left / cell;
        int firstRow = mask.top / cell;
        int columns = (mask.right - 1) / cell + 1 - firstColumn;
        int rows = (mask.bottom - 1) / cell + 1 - firstRow;
        Box[] boxes = new Box[columns * rows];
        Groups groups = new Groups(boxes);
        for (int i = 0; i < boxes.length; i++) {
            int x = i % columns;
            int left = (firstColumn + x) * cell;
            int top = (firstRow + i / columns) * cell;
            boxes[i] = mask.boxIn(new Box(left, top, left + cell, top + cell));
            // The cells beside it that come before it: to the left, and the three above.
            groups.join(i, x > 0 ? i - 1 : i);
            for (int above = Math.max(x - 1, 0); i >= columns && above <= Math.min(x + 1, columns - 1); above++) {
                groups.join(i, i - columns + above - x);
            }
        }
        return groups.boxes();
    }

    /** The boxes around those whose squares overlap, directly or through others. */
    private static List<Box> joined(List<Box> boxes, UnaryOperator<Box> covered) {
        Box[] squares = boxes.stream().map(covered).toArray(Box[]::new);
        Groups groups = new Groups(boxes.toArray(new Box[0]));
        for (int i = 0; i < squares.length; i++) {
            for (int j = 0; j < i; j++) {
                if (squares[i].overlaps(squares[j])) {
                    groups.join(i, j);
                }
            }
        }
        return groups.boxes();
    }

    /** Boxes, some of which belong together; null ones to nothing. */
    private static final class Groups {
        private final Box[] boxes;
        private final int[] first; // of each box, one before it in its group, or itself

        /** Shares `boxes`; each is a group of its own. */
        Groups(Box[] boxes) {
            this.boxes = boxes;
            first = new int[boxes.length];
            Arrays.setAll(first, i -> i);
        }

        private int root(int index) {
            int i = index;
            while (first[i] != i) {
                first[i] = first[first[i]];
                i = first[i];
            }
            return i;
        }

        void join(int i, int j) {
            if (boxes[i] != null && boxes[j] != null) {
                first[Math.max(root(i), root(j))] = Math.min(root(i), root(j));
            }
        }

        /** The box around each group. */
        List<Box> boxes() {
            Map<Integer, Box> around = new LinkedHashMap<>();
            for (int i = 0; i < boxes.length; i++) {
                if (boxes[i] != null) {
                    around.merge(root(i), boxes[i], Box::around);
                }
            }
            return new ArrayList<>(around.values());
        }
    }
}
