/// 8-bit pixels, row by row, channels last: the byte of channel c at (x, y) is `bytes[(y * width + x) * channels + c]`.
public struct Picture: Equatable, Sendable {
    public let width: Int
    public let height: Int
    public let channels: Int
    public var bytes: [UInt8]

    /// `bytes` has width x height x channels elements; anything else is a programming error.
    public init(width: Int, height: Int, channels: Int, bytes: [UInt8]) {
        precondition(bytes.count == width * height * channels, "expected width x height x channels bytes")
        (self.width, self.height, self.channels, self.bytes) = (width, height, channels, bytes)
    }

    /// The picture as it is to be looked at. `orientation`: the EXIF tag, 1 to 8; other values mean 1.
    public func upright(_ orientation: Int) -> Picture {
        guard (2...8).contains(orientation) else { return self }
        let turned = orientation >= 5
        let (w, h) = turned ? (height, width) : (width, height)
        var result = [UInt8](repeating: 0, count: bytes.count)
        for y in 0..<h {
            for x in 0..<w {
                let (fromX, fromY) = source(x, y, orientation)
                let from = (fromY * width + fromX) * channels
                let to = (y * w + x) * channels
                for c in 0..<channels { result[to + c] = bytes[from + c] }
            }
        }
        return Picture(width: w, height: h, channels: channels, bytes: result)
    }

    /// Where the pixel (x, y) of the upright picture lies in this one (EXIF 2.32, tag 274).
    private func source(_ x: Int, _ y: Int, _ orientation: Int) -> (Int, Int) {
        let (right, bottom) = (width - 1, height - 1)
        switch orientation {
        case 2: return (right - x, y)
        case 3: return (right - x, bottom - y)
        case 4: return (x, bottom - y)
        case 5: return (y, x)
        case 6: return (y, bottom - x)
        case 7: return (right - y, bottom - x)
        case 8: return (right - y, x)
        default: return (x, y)
        }
    }
}

/// A photo as the loop sees it, and what is needed to give the result the photo's own form.
public struct Photo: Equatable, Sendable {
    /// [H,W,3], upright.
    public var rgb: Picture
    /// [H,W,1]; returned untouched. Where it is 0 the photo is *clear*: the model does not see the colour there, and
    /// it stays.
    public var alpha: Picture?
    /// The result is grey, too: its three channels are equal.
    public var grey: Bool

    /// `alpha` is as large as `rgb`; anything else is a programming error.
    public init(rgb: Picture, alpha: Picture? = nil, grey: Bool = false) {
        precondition(rgb.channels == 3, "expected three channels")
        precondition(alpha.map { ($0.width, $0.height, $0.channels) == (rgb.width, rgb.height, 1) } ?? true)
        (self.rgb, self.alpha, self.grey) = (rgb, alpha, grey)
    }

    /// Pixel `i` of all, row by row, is fully transparent: its colour means nothing.
    func isClear(_ i: Int) -> Bool { alpha.map { $0.bytes[i] == 0 } ?? false }

    /// Of a grey photo all channels made ITU-R 601 luma again, in Pillow's fixed-point numbers: equal channels give
    /// that same value, so untouched pixels stay untouched.
    var inItsColours: Photo {
        guard grey else { return self }
        var result = self
        for i in stride(from: 0, to: rgb.bytes.count, by: 3) {
            let (r, g, b) = (Int(rgb.bytes[i]), Int(rgb.bytes[i + 1]), Int(rgb.bytes[i + 2]))
            let luma = UInt8((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16)
            for c in 0..<3 { result.rgb.bytes[i + c] = luma }
        }
        return result
    }
}

/// True where the photo is to be filled, row by row.
public struct Mask: Equatable, Sendable {
    public let width: Int
    public let height: Int
    public var pixels: [Bool]

    /// `pixels` has width x height elements; anything else is a programming error.
    public init(width: Int, height: Int, pixels: [Bool]) {
        precondition(pixels.count == width * height, "expected width x height pixels")
        (self.width, self.height, self.pixels) = (width, height, pixels)
    }

    /// From a picture with one channel: brightness above 127 is True.
    public init(bright picture: Picture) {
        precondition(picture.channels == 1, "expected one channel")
        self.init(width: picture.width, height: picture.height, pixels: picture.bytes.map { $0 > 127 })
    }

    var isEmpty: Bool { !pixels.contains(true) }
    var isFull: Bool { !pixels.contains(false) }

    /// 0 and 255.
    var picture: Picture {
        Picture(width: width, height: height, channels: 1, bytes: pixels.map { $0 ? 255 : 0 })
    }

    /// The smallest box with all True pixels; nil where there is none.
    public var box: Box? {
        var found: Box?
        for y in 0..<height {
            let row = pixels[y * width..<(y + 1) * width]
            guard let first = row.firstIndex(of: true), let last = row.lastIndex(of: true) else { continue }
            let line = Box(left: first - row.startIndex, top: y, right: last - row.startIndex + 1, bottom: y + 1)
            found = found?.joined(line) ?? line
        }
        return found
    }

    /// The part of the mask in a box that lies inside it.
    func part(_ box: Box) -> Mask {
        var pixels: [Bool] = []
        pixels.reserveCapacity(box.width * box.height)
        for y in box.top..<box.bottom { pixels += self.pixels[y * width + box.left..<y * width + box.right] }
        return Mask(width: box.width, height: box.height, pixels: pixels)
    }
}

/// A box of pixels; right and bottom are outside.
public struct Box: Equatable, Sendable {
    public let left: Int
    public let top: Int
    public let right: Int
    public let bottom: Int

    public init(left: Int, top: Int, right: Int, bottom: Int) {
        (self.left, self.top, self.right, self.bottom) = (left, top, right, bottom)
    }

    var width: Int { right - left }
    var height: Int { bottom - top }
    var area: Int { width * height }

    func overlaps(_ other: Box) -> Bool {
        left < other.right && other.left < right && top < other.bottom && other.top < bottom
    }

    /// The box around both.
    func joined(_ other: Box) -> Box {
        Box(left: min(left, other.left), top: min(top, other.top),
            right: max(right, other.right), bottom: max(bottom, other.bottom))
    }

    /// Grown by `pixels` on each side and clipped to a width and a height.
    func grown(_ pixels: Int, within width: Int, _ height: Int) -> Box {
        Box(left: max(left - pixels, 0), top: max(top - pixels, 0),
            right: min(right + pixels, width), bottom: min(bottom + pixels, height))
    }
}
