package io.moebius.edge;

/**
 * One pass of an edit of a photo: which square of it the model works on, and the way back into the photo (docs/loop.md).
 * Where the square is much wider than the hole its fill is coarse: then {@link #refined} gives a second pass.
 */
public final class Edit {
    static final int MIN_SIDE = 8; // pixels: one latent
    static final long MAX_PIXELS = 128L << 20;

    /** The square that the model sees. */
    public final Crop crop;
    /** The square at model resolution, [R,R,3]. */
    public final byte[] picture;
    /** What the model fills of it, [R,R]. */
    public final Mask hole;
    /** Whether this is the second pass: the hole is filled already. */
    public final boolean again;

    private final Mask core; // [R,R], what the mask touches of the square: a little less than the hole
    private final Photo photo;
    private final Mask mask; // grown by `dilate`
    private final int resolution;
    private final int stride;
    private final Options options;

    /**
     * Steps 1 to 5. `mask` is as large as the upright photo.
     *
     * @param resolution R, the model's
     * @param stride R / latent size
     * @throws MoebiusException for a photo or a mask that cannot be used
     */
    public Edit(Photo photo, Mask mask, int resolution, int stride, Options options) {
        this(photo, grown(photo, mask, options), null, resolution, stride, options);
    }

    /** `closer` is the square of the second pass; null: this is the first one. */
    private Edit(Photo photo, Mask grown, Crop closer, int resolution, int stride, Options options) {
        this.photo = photo;
        this.mask = grown;
        this.resolution = resolution;
        this.stride = stride;
        this.options = options;
        again = closer != null;
        crop = again ? closer : Crop.choose(box(), photo.width(), photo.height(), resolution, options.margin, options.feather);
        picture = square(crop.cut(photo), 3, Resized.Filter.LANCZOS);
        byte[] touched = square(crop.cut(this.mask), 1, Resized.Filter.BOX);
        core = Mask.of(touched, resolution, resolution);
        hole = modelHole(touched);
    }

    private static Mask grown(Photo photo, Mask mask, Options options) {
        check(photo, mask);
        Mask grown = mask.grow(options.dilate);
        if (grown.isFull()) {
            throw new MoebiusException("grown by " + options.dilate + " pixels, the mask covers the whole photo; dilate less");
        }
        return grown;
    }

    private static void check(Photo photo, Mask mask) {
        int width = photo.width();
        int height = photo.height();
        if (Math.min(width, height) < MIN_SIDE) {
            throw new MoebiusException(
                    "the photo is " + width + "x" + height + " pixels; at least " + MIN_SIDE + "x" + MIN_SIDE + " are needed");
        }
        if ((long) width * height > MAX_PIXELS) {
            throw new MoebiusException(
                    "the photo is " + width + "x" + height + " pixels; at most " + MAX_PIXELS + " pixels are allowed");
        }
        if (mask.width != width || mask.height != height) {
            throw new MoebiusException("the mask is " + mask.width + "x" + mask.height + " pixels and the photo " + width + "x"
                    + height + " (width x height, upright); they must be equal");
        }
        if (mask.isEmpty()) {
            throw new MoebiusException("the mask is empty: mark what is to be filled");
        }
        if (mask.isFull()) {
            throw new MoebiusException("the mask covers the whole photo: nothing is left to fill it from; mark a smaller part");
        }
    }

    private int[] box() {
        return new int[] {mask.left, mask.top, mask.right, mask.bottom};
    }

    private byte[] square(Resized.Rows source, int channels, Resized.Filter filter) {
        Resized resized = new Resized(source, crop.side, crop.side, channels, resolution, resolution, filter);
        byte[] result = new byte[resolution * resolution * channels];
        byte[] row = new byte[resolution * channels];
        for (int y = 0; y < resolution; y++) {
            resized.read(y, row);
            System.arraycopy(row, 0, result, y * row.length, row.length);
        }
        return result;
    }

    /** Every pixel that the mask touches, grown by half a latent. */
    private Mask modelHole(byte[] touched) {
        // The mask at latent size takes the top left pixel of each latent, which half a latent does not reach at the far edges.
        Mask grown = core.grow(stride / 2);
        int edge = resolution - stride / 2;
        Mask far = Mask.read(resolution, resolution, (y, into) -> {
            for (int x = 0; x < resolution; x++) {
                into[x] = x >= edge || y >= edge ? touched[y * resolution + x] : 0;
            }
        }).grow(stride - 1);
        Mask all = Mask.read(resolution, resolution, (y, into) -> {
            for (int x = 0; x < resolution; x++) {
                into[x] = (byte) (grown.at(x, y) || far.at(x, y) ? 1 : 0);
            }
        });
        if (all.isFull()) {
            throw new MoebiusException(
                    "the mask, with its dilation, leaves nothing around it to fill it from; mark a smaller part");
        }
        return all;
    }

    /**
     * The square of a second pass over the fill of this one (step 13); null: there is none, because this is it, it is not
     * wanted, or the fill is not coarse.
     */
    public Crop closer() {
        if (again || options.refine == 0) {
            return null;
        }
        return crop.closer(box(), photo.width(), photo.height(), resolution, options.feather);
    }

    /**
     * The second pass, over the photo with the fill of this one in its hole. Only where there is a closer square.
     *
     * @param decoded the decoder's picture, [1,3,R,R] in [0,1]
     * @throws MoebiusException as the first pass does
     */
    public Edit refined(Tensor decoded) {
        Photo filled = new FilledPhoto(photo, mask, crop, scaled(fill(decoded.data)));
        return new Edit(filled, mask, closer(), resolution, stride, options);
    }

    /** The picture as [1,3,R,R] in [-1,1] (step 6). */
    public Tensor image() {
        return tensor(false);
    }

    /** The same, mid-grey in the hole. */
    public Tensor maskedImage() {
        return tensor(true);
    }

    private Tensor tensor(boolean masked) {
        int plane = resolution * resolution;
        float[] data = new float[3 * plane];
        for (int i = 0; i < plane; i++) {
            float keep = masked && hole.at(i % resolution, i / resolution) ? 0f : 1f;
            for (int channel = 0; channel < 3; channel++) {
                data[channel * plane + i] = ((picture[3 * i + channel] & 0xFF) / 127.5f - 1f) * keep;
            }
        }
        return Tensor.of(data, 1, 3, resolution, resolution);
    }

    /** The hole at latent size, [h,w]: the top left pixel of each latent's square (step 6). */
    public Mask latentHole() {
        int size = resolution / stride;
        return Mask.read(size, size, (y, into) -> {
            for (int x = 0; x < size; x++) {
                into[x] = (byte) (hole.at(x * stride, y * stride) ? 1 : 0);
            }
        });
    }

    /** The same as the denoiser takes it, [1,1,h,w], 1 = hole. */
    public Tensor latentMask() {
        Mask latents = latentHole();
        float[] data = new float[latents.width * latents.height];
        for (int i = 0; i < data.length; i++) {
            data[i] = latents.at(i % latents.width, i / latents.width) ? 1f : 0f;
        }
        return Tensor.of(data, 1, 1, latents.height, latents.width);
    }

    /**
     * Steps 11 and 12: gives the rows of the crop, with the fill in the mask, to `sink`. Rows and columns that it does not
     * get stay as they are in the photo; the photo itself may be the sink.
     *
     * @param decoded the decoder's picture, [1,3,R,R] in [0,1]
     */
    public void finish(Tensor decoded, Photo.Sink sink) {
        paste(scaled(fill(decoded.data)), sink);
    }

    /** The fill [R,R,3] at the crop's size. */
    private Resized scaled(byte[] fill) {
        int rowBytes = 3 * resolution;
        return new Resized((y, into) -> System.arraycopy(fill, y * rowBytes, into, 0, rowBytes),
                resolution, resolution, 3, crop.side, crop.side, Resized.Filter.LANCZOS);
    }

    /** Step 12: the fill at the crop's size over the photo in the feathered mask. */
    private void paste(Resized scaled, Photo.Sink sink) {
        int[] inside = crop.inside(photo.width(), photo.height());
        int width = inside[2] - inside[0];
        int height = inside[3] - inside[1];
        Feather feather = new Feather(mask.part(inside[0], inside[1], width, height), options.feather);
        byte[] fresh = new byte[3 * crop.side];
        byte[] row = new byte[3 * width];
        float[] opacity = new float[width];
        int shift = 3 * (inside[0] - crop.left);
        for (int y = inside[1]; y < inside[3]; y++) {
            photo.readRow(inside[0], y, width, row);
            scaled.read(y - crop.top, fresh);
            feather.readNext(opacity);
            for (int i = 0; i < row.length; i++) {
                float o = opacity[i / 3];
                float blended = o * (fresh[shift + i] & 0xFF) + (1f - o) * (row[i] & 0xFF);
                row[i] = (byte) (int) Math.rint(blended);
            }
            sink.writeRow(inside[0], y, width, row);
        }
    }

    /** The decoder's picture as bytes [R,R,3], its colours fitted to those around the hole where `blend` says so. */
    private byte[] fill(float[] decoded) {
        int plane = resolution * resolution;
        boolean harmonic = options.blend == Options.Blend.HARMONIC;
        // The box filter sees a pixel's own area alone: nothing of what is removed in one outside the core.
        byte[] surround = harmonic ? square(crop.cut(photo), 3, Resized.Filter.BOX) : new byte[0];
        byte[] result = new byte[3 * plane];
        double[] fill = new double[plane];
        for (int channel = 0; channel < 3; channel++) {
            for (int i = 0; i < plane; i++) {
                fill[i] = decoded[channel * plane + i] * 255.0;
            }
            double[] added = harmonic ? Harmonic.correction(surround, channel, fill, core) : new double[plane];
            for (int i = 0; i < plane; i++) {
                result[3 * i + channel] = (byte) (int) Math.rint(Math.max(0, Math.min(255, fill[i] + added[i])));
            }
        }
        return result;
    }
}
