/// One pass over one hole: the square that the model fills, and its tensors. All of the model's size: there may be
/// many holes.
public struct Edit: Sendable {
    public let crop: Crop
    /// Step 13: the square of a second pass. nil: there is none, because this is it, it is not wanted, or the fill is
    /// not coarse.
    public let closer: Crop?
    /// [R,R,3], the square at the model's resolution.
    public let picture: Picture
    /// [R,R], what the model fills of it: a little more than the mask touches.
    public let hole: Mask
    /// The second pass: the hole is filled already.
    public let again: Bool
    let latentSize: Int
    /// [R,R], what the mask touches.
    private let core: Mask
    /// [R,R,3], what the fill's colours are fitted to; nil: they stay as they are.
    private let surround: Picture?

    /// Steps 4 and 5 of the loop (docs/loop.md of moebius-edge), `mask` grown already.
    ///
    /// Throws `InpaintError.input` when the hole covers all of the square, or nothing else in it can be seen.
    init(
        _ photo: Photo, _ mask: Mask, _ crop: Crop, closer: Crop?, resolution: Int, latentSize: Int,
        blend: EditOptions.Blend, again: Bool = false
    ) throws {
        let stride = resolution / latentSize
        core = touched(crop, mask, resolution: resolution)
        hole = try modelHole(core, stride: stride)
        // Lanczos sees 3 pixels to each side, of the larger of the model's and the photo's: in a small square that is
        // further than the hole is grown, by half a latent.
        let far = !again && 6 * max(resolution, crop.side) > stride * crop.side
        let square = try completed(crop, photo, without: far ? mask : nil, resolution: resolution)
        picture = square.resized(width: resolution, height: resolution, filter: .lanczos)
        // The box filter sees a pixel's own area alone: nothing of what is removed in one outside the core.
        surround = blend == .feather ? nil : square.resized(width: resolution, height: resolution, filter: .box)
        (self.crop, self.closer, self.again, self.latentSize) = (crop, closer, again, latentSize)
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

    /// Step 11: the decoder's picture [1,3,R,R] in [0,1] as bytes [R,R,3], its colours fitted to those around the hole
    /// where `blend` says so.
    public func fill(_ decoded: Tensor) -> Picture {
        let (width, height) = (picture.width, picture.height)
        let area = width * height
        var fill = [Double](repeating: 0, count: 3 * area)
        for i in 0..<area {
            for c in 0..<3 { fill[i * 3 + c] = Double(decoded.values[c * area + i]) * 255 }
        }
        if let surround = surround {
            let added = correction(surround: surround, fill: fill, hole: core)
            for i in fill.indices { fill[i] += added[i] }
        }
        return Picture(width: width, height: height, channels: 3, bytes: fill.map(byte))
    }
}
