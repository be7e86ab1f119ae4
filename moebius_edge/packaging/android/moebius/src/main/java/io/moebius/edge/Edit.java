package io.moebius.edge;

/**
 * One pass over one hole of a photo: which square of it the model works on, and the way back into the photo (docs/loop.md).
 * Where the square is much wider than the hole its fill is coarse: then {@link #refined} gives a second pass.
 */
public final class Edit {
    /** The square that the model sees. */
    public final Crop crop;
    /** The square at model resolution, [R,R,3]. */
    public final byte[] picture;
    /** What the model fills of it, [R,R]. */
    public final Mask hole;
    /** Whether this is the second pass: the hole is filled already. */
    public final boolean again;

    private final Mask core; // [R,R], what the mask touches of the square: a little less than the hole
    private final Unknown unknown; // null: every colour in the square means something
    private final Photo photo;
    private final Mask mask; // of this hole alone, grown by `dilate`
    private final Fill below; // of the first pass; null: this is it
    private final int resolution;
    private final int stride;
    private final Options options;

    /**
     * Steps 4 and 5, for a hole in its square.
     *
     * @param mask of this hole alone, grown, as large as the photo
     * @param below what the first pass filled it with; null: this is the first one
     * @param resolution R, the model's
     * @param stride R / latent size
     * @throws MoebiusException when the hole covers all of the square, or nothing else in it can be seen
     */
    Edit(Photo photo, Mask mask, Crop crop, Fill below, int resolution, int stride, Options options) {
        this.photo = photo;
        this.mask = mask;
        this.crop = crop;
        this.below = below;
        this.resolution = resolution;
        this.stride = stride;
        this.options = options;
        again = below != null;
        byte[] touched = resized(crop.cut(mask), 1, Resized.Filter.BOX);
        core = Mask.of(touched, resolution, resolution);
        hole = modelHole(touched);
        Resized.Rows where = unseen();
        unknown = where == null ? null : Unknown.find(crop.cut(seen()), where, crop.side, resolution);
        picture = square(Resized.Filter.LANCZOS);
    }

    /** The photo as this pass finds it. Computed anew each time, so that between uses a hole keeps the fill's pixels alone. */
    private Photo seen() {
        return below == null ? photo : new FilledPhoto(photo, mask, below);
    }

    /** Which pixels of the square have colours that mean nothing, [side,side]; null: there are none. */
    private Resized.Rows unseen() {
        Resized.Rows clear = photo.hasAlpha() ? crop.cutClear(photo) : null;
        // The filter reaches 3 pixels to each side, of the larger of the model's and the photo's, the hole half a latent.
        if (again || 6 * Math.max(resolution, crop.side) <= stride * crop.side) {
            return clear;
        }
        Resized.Rows removed = crop.cut(mask);
        if (clear == null) {
            return removed;
        }
        byte[] row = new byte[crop.side];
        return (y, into) -> {
            removed.read(y, into);
            clear.read(y, row);
            for (int x = 0; x < row.length; x++) {
                into[x] |= row[x];
            }
        };
    }

    /** The square of the photo at model resolution, [R,R,3], what is unknown replaced. */
    private byte[] square(Resized.Filter filter) {
        Resized.Rows pixels = crop.cut(seen());
        return resized(unknown == null ? pixels : unknown.replacedIn(pixels), 3, filter);
    }

    private byte[] resized(Resized.Rows source, int channels, Resized.Filter filter) {
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
        return crop.closer(mask.box(), photo.width(), photo.height(), resolution, options.feather);
    }

    /**
     * The second pass, over the photo with the fill of this one in its hole. Only where there is a closer square.
     *
     * @throws MoebiusException as the first pass does
     */
    Edit refined(Fill fill) {
        return new Edit(photo, mask, closer(), fill, resolution, stride, options);
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

    /** Step 12: gives the rows around the hole, with the fill in it, to `sink`; the photo itself may be it. */
    void finish(Fill fill, Photo.Sink sink) {
        fill.paste(seen(), mask, options.feather, sink);
    }

    /**
     * Step 11: its colours are fitted to those around the hole where `blend` says so.
     *
     * @param decoded the decoder's picture, [1,3,R,R] in [0,1]
     */
    Fill fill(Tensor decoded) {
        int plane = resolution * resolution;
        boolean harmonic = options.blend == Options.Blend.HARMONIC;
        // The box filter sees a pixel's own area alone: nothing of what is removed in one outside the core.
        byte[] surround = harmonic ? square(Resized.Filter.BOX) : new byte[0];
        byte[] result = new byte[3 * plane];
        double[] fill = new double[plane];
        for (int channel = 0; channel < 3; channel++) {
            for (int i = 0; i < plane; i++) {
                fill[i] = decoded.data[channel * plane + i] * 255.0;
            }
            double[] added = harmonic ? Harmonic.correction(surround, channel, fill, core) : new double[plane];
            for (int i = 0; i < plane; i++) {
                result[3 * i + channel] = (byte) (int) Math.rint(Math.max(0, Math.min(255, fill[i] + added[i])));
            }
        }
        return new Fill(crop, result, resolution);
    }
}
