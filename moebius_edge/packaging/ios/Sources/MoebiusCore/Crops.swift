/// A square in photo pixels around the hole: what the model sees. It may reach over the photo's edges, where the
/// photo is mirrored.
public struct Crop: Equatable, Sendable {
    public let left: Int
    public let top: Int
    public let side: Int

    /// A square above this would be gigabytes.
    static let maxSide = 16_384
    /// The least context on each side of the hole, in units of the hole: for less the square leaves the photo.
    static let tight = 0.5
    /// Margin of the second pass.
    static let close = 0.25

    public init(left: Int, top: Int, side: Int) { (self.left, self.top, self.side) = (left, top, side) }

    /// Step 3 of the loop: the square for a hole with this bounding box in a photo of width x height.
    ///
    /// Throws `InpaintError.input` when its side would exceed 16,384 pixels.
    public static func choose(
        around box: Box, width: Int, height: Int, resolution: Int, margin: Double, feather: Int
    ) throws -> Crop {
        let crop = square(
            around: box, width: width, height: height, resolution: resolution, margin: margin, feather: feather)
        guard crop.side <= Crop.maxSide else {
            throw InpaintError.input(
                "the mask spans \(max(box.width, box.height)) pixels and needs a square of \(crop.side) around it; at "
                    + "most \(Crop.maxSide) are allowed: fill its parts one after another, or make the photo smaller")
        }
        return crop
    }

    /// What `choose` chooses, of any side.
    static func square(
        around box: Box, width: Int, height: Int, resolution: Int, margin: Double, feather: Int
    ) -> Crop {
        let hole = max(box.width, box.height)
        let (short, long) = (min(width, height), max(width, height))
        let wished = margin * Double(max(hole, min(resolution, short)))
        let room = max(Int(wished.rounded(.toNearestOrEven)), feather)
        var side = max(hole + 2 * room, resolution)
        if side > short {
            let least = (min(margin, Crop.tight) * Double(hole)).rounded(.toNearestOrEven)
            side = max(short, min(hole + 2 * max(Int(least), feather), long))
        }
        return Crop(
            left: place(box.left, box.right, side, width), top: place(box.top, box.bottom, side, height), side: side)
    }

    /// Step 13 of the loop: the square of the second pass, tight around the same hole; nil where it is hardly smaller.
    ///
    /// The rest as for `choose`.
    public func closer(around box: Box, width: Int, height: Int, resolution: Int, feather: Int) -> Crop? {
        let closer = Crop.square(
            around: box, width: width, height: height, resolution: resolution, margin: Crop.close, feather: feather)
        return 5 * closer.side <= 4 * side ? closer : nil
    }

    /// Where the square starts along one axis: around the hole, in the photo, or around a shorter photo.
    private static func place(_ low: Int, _ high: Int, _ side: Int, _ length: Int) -> Int {
        if side >= length { return -((side - length) / 2) }
        // Shifted right, not divided: rounded down for negative numbers, too.
        return min(max((low + high - side) >> 1, 0), length - side)
    }

    /// The part that lies in a photo of this size.
    func inside(_ width: Int, _ height: Int) -> Box {
        Box(left: max(left, 0), top: max(top, 0), right: min(left + side, width), bottom: min(top + side, height))
    }

    /// The square of a picture, mirrored where it reaches over the edges.
    func cut(_ picture: Picture) -> Picture {
        let part = inside(picture.width, picture.height)
        let channels = picture.channels
        let columns = (0..<side).map { part.left + mirror(left + $0 - part.left, part.width) }
        let inner = max(left, 0)..<min(left + side, picture.width)
        var bytes = [UInt8](repeating: 0, count: side * side * channels)
        for y in 0..<side {
            let from = (part.top + mirror(top + y - part.top, part.height)) * picture.width
            let to = y * side
            for x in 0..<side where !inner.contains(left + x) {
                for c in 0..<channels {
                    bytes[(to + x) * channels + c] = picture.bytes[(from + columns[x]) * channels + c]
                }
            }
            let start = (to + inner.lowerBound - left) * channels
            let source = (from + inner.lowerBound) * channels..<(from + inner.upperBound) * channels
            bytes.replaceSubrange(start..<start + source.count, with: picture.bytes[source])
        }
        return Picture(width: side, height: side, channels: channels, bytes: bytes)
    }

    /// The square of a mask of the part of a photo that it covers, as bytes 0 and 255.
    func cut(_ mask: Mask, at part: Box) -> Picture {
        Crop(left: left - part.left, top: top - part.top, side: side).cut(mask.picture)
    }

    /// Index of the pixel that stands at `i`, inside 0 ..< length or not: … c b a | a b c | c b a …
    private func mirror(_ i: Int, _ length: Int) -> Int {
        let turn = 2 * length
        let at = (i % turn + turn) % turn
        return at < length ? at : turn - 1 - at
    }
}

/// Step 5: the mask at the model's resolution [R,R], every pixel that it touches.
func touched(_ crop: Crop, _ mask: Mask, resolution: Int) -> Mask {
    let part = crop.inside(mask.width, mask.height)
    let square = crop.cut(mask.part(part), at: part).resized(width: resolution, height: resolution, filter: .box)
    return Mask(width: resolution, height: resolution, pixels: square.bytes.map { $0 > 0 })
}

/// Step 5: the model's hole [R,R], what the mask touches, grown by half a latent.
///
/// Throws `InpaintError.input` when nothing but hole is left.
func modelHole(_ core: Mask, stride: Int) throws -> Mask {
    // Nearest takes the top left pixel of each latent: at the far edges half a latent does not reach it.
    var edge = core
    let inner = core.width - stride / 2
    for y in 0..<inner {
        for x in 0..<inner { edge.pixels[y * core.width + x] = false }
    }
    var hole = core.grow(stride / 2)
    let more = edge.grow(stride - 1)
    for i in hole.pixels.indices where more.pixels[i] { hole.pixels[i] = true }
    guard !hole.isFull else {
        throw InpaintError.input(
            "the mask, with its dilation, leaves nothing around it to fill it from; mark a smaller part")
    }
    return hole
}
