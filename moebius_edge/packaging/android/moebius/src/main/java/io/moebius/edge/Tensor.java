package io.moebius.edge;

import java.util.Arrays;

/** A dense array of 32-bit floats in row-major order. Its numbers are shared, not copied. */
public final class Tensor {
    public final float[] data;
    public final int[] shape;

    private Tensor(float[] data, int[] shape) {
        this.data = data;
        this.shape = shape;
    }

    /** Throws MoebiusException when the shape has another number of elements than `data`. */
    public static Tensor of(float[] data, int... shape) {
        if (count(shape) != data.length) {
            throw new MoebiusException("a tensor " + Arrays.toString(shape) + " was given " + data.length + " numbers");
        }
        return new Tensor(data, shape.clone());
    }

    /** The number of elements of a shape. */
    public static long count(int... shape) {
        long product = 1;
        for (int side : shape) {
            product *= side;
        }
        return product;
    }

    /** Whether every number is finite: neither NaN nor infinite. */
    public boolean isFinite() {
        for (float value : data) {
            if (!Float.isFinite(value)) {
                return false;
            }
        }
        return true;
    }
}
