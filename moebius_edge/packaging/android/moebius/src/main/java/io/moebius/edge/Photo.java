package io.moebius.edge;

import java.util.Arrays;

/**
 * An upright photo, 8 bits per channel. Only the rows and columns that are needed are asked for, so a photo of 48
 * megapixels need not be in memory as an array.
 */
public interface Photo {
    int width();

    int height();

    /** Reads the pixels `left` to `left + count` of row `y` into `rgb`, three bytes each. */
    void readRow(int left, int y, int count, byte[] rgb);

    /** Whether pixels may be transparent. Those of alpha 0 stay as they are, and the model does not see their colours. */
    default boolean hasAlpha() {
        return false;
    }

    /** Reads the alpha of the pixels `left` to `left + count` of row `y`, one byte each; 255 is opaque. */
    default void readAlpha(int left, int y, int count, byte[] alpha) {
        Arrays.fill(alpha, 0, count, (byte) 255);
    }

    /** Where the rows of a result go. */
    interface Sink {
        /** Takes the pixels `left` to `left + count` of row `y`, three bytes each; `rgb` is used again afterwards. */
        void writeRow(int left, int y, int count, byte[] rgb);
    }
}
