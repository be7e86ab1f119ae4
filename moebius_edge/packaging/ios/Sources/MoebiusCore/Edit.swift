/// One photo's way to the model and back: which square it works on, its tensors, and the paste.
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
    let latentSize: Int

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
        crop = try Crop.choose(
            around: box, width: width, height: height, resolution: resolution, margin: options.margin,
            feather: options.feather)
        picture = crop.cut(photo.rgb).resized(width: resolution, height: resolution, filter: .lanczos)
        core = touched(crop, mask, resolution: resolution)
        hole = try modelHole(core, stride: resolution / latentSize)
        (self.photo, self.mask, self.options, self.latentSize) = (photo, mask, options, latentSize)
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

    /// Step 6: the picture [1,3,R,R] in [-1,1], mid-grey in the hole.
    public var maskedImage: Tensor {
        let area = picture.width * picture.height
        var values = [Float](repeating: 0, count: 3 * area)
        for i in 0..<area {
            let keep: Float = hole.pixels[i] ? 0 : 1
            for c in 0..<3 { values[c * area + i] = (Float(picture.bytes[i * 3 + c]) / 127.5 - 1) * keep }
        }
        return Tensor([1, 3, picture.height, picture.width], values)
    }

    /// Step 6: the hole [1,1,h,w] at latent size, the top left pixel of each latent's square; 1 = hole.
    public var latentMask: Tensor {
        let stride = hole.width / latentSize
        let values = (0..<latentSize * latentSize).map { i -> Float in
            hole.pixels[i / latentSize * stride * hole.width + i % latentSize * stride] ? 1 : 0
        }
        return Tensor([1, 1, latentSize, latentSize], values)
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
