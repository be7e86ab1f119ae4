/// One pass of a photo to the model and back: which square it works on, its tensors, and the paste.
///
/// Where the square is much wider than the hole its fill is coarse: then `refined` gives a second pass.
public struct Edit: Sendable {
    public let photo: Photo
    /// Grown by `dilate`.
    public let mask: Mask
    public let crop: Crop
    /// [R,R,3], the crop at the model's resolution.
    public let picture: Picture
    /// [R,R], what the mask touches of it.
    let core: Mask
    /// [R,R], what the model fills of it: a little more.
    public let hole: Mask
    public let options: EditOptions
    /// The second pass: the hole is filled already.
    public let again: Bool
    let latentSize: Int
    /// The mask's.
    private let box: Box

    static let minSide = 8  // pixels: one latent
    static let maxPixels = 128 << 20  // 134 million: room for a 108-megapixel photo

    /// Steps 1 to 5 of the loop (docs/loop.md of moebius-edge).
    ///
    /// Throws `InpaintError.input` for a photo below 8 x 8 pixels or above 134 million, a mask of another size,
    /// an empty one, and one that covers everything, also after growing.
    public init(photo: Photo, mask: Mask, resolution: Int, latentSize: Int, options: EditOptions) throws {
        try options.validate()
        let (width, height) = (photo.rgb.width, photo.rgb.height)
        try Edit.check(width, height, mask)
        let mask = mask.grow(options.dilate)
        guard !mask.isFull, let box = mask.box else {
            throw InpaintError.input("grown by \(options.dilate) pixels, the mask covers the whole photo; dilate less")
        }
        let crop = try Crop.choose(
            around: box, width: width, height: height, resolution: resolution, margin: options.margin,
            feather: options.feather)
        try self.init(photo, mask, box, crop, (resolution, latentSize), options, again: false)
    }

    private init(
        _ photo: Photo, _ mask: Mask, _ box: Box, _ crop: Crop, _ size: (resolution: Int, latents: Int),
        _ options: EditOptions, again: Bool
    ) throws {
        picture = crop.cut(photo.rgb).resized(width: size.resolution, height: size.resolution, filter: .lanczos)
        core = touched(crop, mask, resolution: size.resolution)
        hole = try modelHole(core, stride: size.resolution / size.latents)
        (self.photo, self.mask, self.box, self.crop) = (photo, mask, box, crop)
        (self.options, self.again, latentSize) = (options, again, size.latents)
    }

    private static func check(_ width: Int, _ height: Int, _ mask: Mask) throws {
        guard min(width, height) >= minSide else {
            throw InpaintError.input(
                "the photo is \(width)x\(height) pixels; at least \(minSide)x\(minSide) are needed")
        }
        guard width * height <= maxPixels else {
            throw InpaintError.input(
                "the photo is \(width)x\(height) pixels; at most \(maxPixels) pixels are allowed: make it smaller")
        }
        guard (mask.width, mask.height) == (width, height) else {
            throw InpaintError.input(
                "the mask is \(mask.width)x\(mask.height) pixels and the photo \(width)x\(height) (width x height, "
                    + "after any EXIF rotation); they must be equal")
        }
        guard !mask.isEmpty else { throw InpaintError.input("the mask is empty; paint over what is to go") }
        guard !mask.isFull else {
            throw InpaintError.input(
                "the mask covers the whole photo: nothing is left to fill it from; mark a smaller part")
        }
    }

    /// Step 13: the square of a second pass over the fill of this one. nil: there is none, because this is it, it is
    /// not wanted, or the fill is not coarse.
    public func closer() -> Crop? {
        if again || options.refine == 0 { return nil }
        return crop.closer(
            around: box, width: photo.rgb.width, height: photo.rgb.height, resolution: picture.width,
            feather: options.feather)
    }

    /// Step 13: the second pass, on the `closer` square of the photo with the decoder's picture [1,3,R,R] in [0,1] in
    /// its hole. Throws as the first pass does.
    public func refined(_ decoded: Tensor, _ closer: Crop) throws -> Edit {
        var filled = photo
        filled.rgb = paste(crop, photo.rgb, mask, fill: fill(decoded), feather: 0)
        return try Edit(filled, mask, box, closer, (picture.width, latentSize), options, again: true)
    }

    /// Step 6: the picture [1,3,R,R] in [-1,1].
    public var image: Tensor { tensor(masked: false) }

    /// The same, mid-grey in the hole.
    public var maskedImage: Tensor { tensor(masked: true) }

    private func tensor(masked: Bool) -> Tensor {
        let area = picture.width * picture.height
        var values = [Float](repeating: 0, count: 3 * area)
        for i in 0..<area {
            let keep: Float = masked && hole.pixels[i] ? 0 : 1
            for c in 0..<3 { values[c * area + i] = (Float(picture.bytes[i * 3 + c]) / 127.5 - 1) * keep }
        }
        return Tensor([1, 3, picture.height, picture.width], values)
    }

    /// Step 6: the hole [h,w] at latent size, the top left pixel of each latent's square.
    public var latentHole: Mask {
        let stride = hole.width / latentSize
        let pixels = (0..<latentSize * latentSize).map { i -> Bool in
            hole.pixels[i / latentSize * stride * hole.width + i % latentSize * stride]
        }
        return Mask(width: latentSize, height: latentSize, pixels: pixels)
    }

    /// The same as the denoiser takes it, [1,1,h,w]; 1 = hole.
    public var latentMask: Tensor {
        Tensor([1, 1, latentSize, latentSize], latentHole.pixels.map { $0 ? 1 : 0 })
    }

    /// Steps 11 and 12: the photo with the decoder's picture [1,3,R,R] in [0,1] in its hole.
    public func finish(_ decoded: Tensor) -> Photo {
        photo.with(paste(crop, photo.rgb, mask, fill: fill(decoded), feather: options.feather))
    }

    /// Step 11: the decoder's picture as bytes [R,R,3], its colours fitted to those around the hole where `blend` says.
    private func fill(_ decoded: Tensor) -> Picture {
        let (width, height) = (picture.width, picture.height)
        let area = width * height
        var fill = [Double](repeating: 0, count: 3 * area)
        for i in 0..<area {
            for c in 0..<3 { fill[i * 3 + c] = Double(decoded.values[c * area + i]) * 255 }
        }
        if options.blend == .harmonic {
            // The box filter sees a pixel's own area alone: nothing of what is removed in one outside the core.
            let surround = crop.cut(photo.rgb).resized(width: width, height: height, filter: .box)
            let added = correction(surround: surround, fill: fill, hole: core)
            for i in fill.indices { fill[i] += added[i] }
        }
        let bytes = fill.map { UInt8(min(max($0, 0), 255).rounded(.toNearestOrEven)) }
        return Picture(width: width, height: height, channels: 3, bytes: bytes)
    }
}
