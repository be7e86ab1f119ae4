/// The edits of one photo, one for each of its holes: steps 1 to 5 and 12 of the loop (docs/loop.md of moebius-edge).
///
/// No square overlaps another, so no edit sees what another one pastes. There is one photo for all of them.
public struct Edits: Sendable {
    /// With the fills that are pasted so far.
    public private(set) var photo: Photo
    /// Of each hole, from top to bottom and left to right.
    public let first: [Edit]
    /// Grown by `dilate`.
    private let mask: Mask
    private let options: EditOptions

    static let minSide = 8  // pixels: one latent
    static let maxPixels = 128 << 20  // 134 million: room for a 108-megapixel photo

    /// Chooses the holes and their squares, and prepares what the model gets.
    ///
    /// Throws `InpaintError.input` for a photo below 8 x 8 pixels or above 134 million, a mask of another size, an
    /// empty one, one that covers everything, also after growing, or only what is clear.
    public init(photo: Photo, mask: Mask, resolution: Int, latentSize: Int, options: EditOptions) throws {
        try options.validate()
        let (width, height, feather) = (photo.rgb.width, photo.rgb.height, options.feather)
        try Edits.check(width, height, mask)
        let mask = try Edits.grown(mask, photo, options)
        let boxes = options.together
            ? [mask.box].compactMap { $0 }
            : mask.holes(resolution: resolution, margin: options.margin, feather: feather)
        first = try boxes.map { box in
            let crop = try Crop.choose(
                around: box, width: width, height: height, resolution: resolution, margin: options.margin,
                feather: feather)
            let closer = options.refine == 0 ? nil : crop.closer(
                around: box, width: width, height: height, resolution: resolution, feather: feather)
            return try Edit(
                photo, mask, crop, closer: closer, resolution: resolution, latentSize: latentSize, blend: options.blend)
        }
        (self.photo, self.mask, self.options) = (photo, mask, options)
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

    /// Step 1.
    private static func grown(_ mask: Mask, _ photo: Photo, _ options: EditOptions) throws -> Mask {
        let grown = mask.grow(options.dilate)
        guard !grown.isFull else {
            throw InpaintError.input("grown by \(options.dilate) pixels, the mask covers the whole photo; dilate less")
        }
        guard photo.alpha == nil || grown.pixels.indices.contains(where: { grown.pixels[$0] && !photo.isClear($0) })
        else {
            throw InpaintError.input(
                "the mask covers only pixels that are fully transparent: nothing would be seen of the fill")
        }
        return grown
    }

    /// Step 13: pastes the `fill` of a first pass without feather, and prepares the second one, in its `closer` square.
    ///
    /// Throws `InpaintError.input` when the hole covers all of that, or nothing else in it can be seen.
    public mutating func refine(_ edit: Edit, _ fill: Picture, _ closer: Crop) throws -> Edit {
        paste(fill, edit.crop, into: &photo, mask, feather: 0)
        return try Edit(
            photo, mask, closer, closer: nil, resolution: fill.width, latentSize: edit.latentSize,
            blend: options.blend, again: true)
    }

    /// Step 12: pastes the `fill` of a hole's last pass.
    public mutating func finish(_ edit: Edit, _ fill: Picture) {
        paste(fill, edit.crop, into: &photo, mask, feather: options.feather)
    }
}
