import Foundation

/// The two filters that the loop resizes with.
public enum ResizeFilter: String, Sendable {
    case lanczos
    case box

    var support: Double { self == .lanczos ? 3 : 0.5 }

    func weight(_ x: Double) -> Double {
        switch self {
        case .box: return x > -0.5 && x <= 0.5 ? 1 : 0
        case .lanczos: return x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0
        }
    }

    private func sinc(_ x: Double) -> Double { x == 0 ? 1 : sin(x * .pi) / (x * .pi) }
}

/// Pillow's resampling of bytes, in its fixed-point numbers, so that bytes are equal everywhere (docs/loop.md).
extension Picture {
    /// The picture with another size: rows first, then columns; a size that stays is left out.
    public func resized(width newWidth: Int, height newHeight: Int, filter: ResizeFilter) -> Picture {
        var result = self
        if newWidth != width {
            let bytes = pass(result.bytes, outer: height, from: width, inner: channels, to: newWidth, filter)
            result = Picture(width: newWidth, height: height, channels: channels, bytes: bytes)
        }
        if newHeight != height {
            let bytes = pass(result.bytes, outer: 1, from: height, inner: newWidth * channels, to: newHeight, filter)
            result = Picture(width: newWidth, height: newHeight, channels: channels, bytes: bytes)
        }
        return result
    }
}

private let precision = 22  // bits after the point: 32 less 8 of the pixel and 2 for weights above 1

/// What one output pixel is made of.
private struct Taps {
    let first: Int
    let weights: [Int32]
}

private func taps(from n: Int, to m: Int, _ filter: ResizeFilter) -> [Taps] {
    let scale = Double(n) / Double(m)
    let width = max(scale, 1)
    let support = filter.support * width
    return (0..<m).map { x in
        let centre = (Double(x) + 0.5) * scale
        let first = max(Int(centre - support + 0.5), 0)
        let last = min(Int(centre + support + 0.5), n)
        let weights = (first..<last).map { filter.weight((Double($0) - centre + 0.5) * (1 / width)) }
        let sum = weights.reduce(0, +)
        return Taps(first: first, weights: weights.map { weight in
            let scaled = weight / sum * Double(1 << precision)
            return Int32(scaled + (weight < 0 ? -0.5 : 0.5))  // towards zero, as C converts
        })
    }
}

/// Resamples the middle axis of bytes [outer, n, inner] to m.
private func pass(
    _ bytes: [UInt8], outer: Int, from n: Int, inner: Int, to m: Int, _ filter: ResizeFilter
) -> [UInt8] {
    let taps = taps(from: n, to: m, filter)
    var sums = [Int32](repeating: 0, count: inner)
    return [UInt8](unsafeUninitializedCapacity: outer * m * inner) { result, count in
        bytes.withUnsafeBufferPointer { source in
            sums.withUnsafeMutableBufferPointer { sums in
                for row in 0..<outer {
                    for x in 0..<m {
                        sums.update(repeating: 1 << (precision - 1))
                        var at = (row * n + taps[x].first) * inner
                        for weight in taps[x].weights {
                            for i in 0..<inner { sums[i] &+= weight &* Int32(source[at + i]) }
                            at += inner
                        }
                        let to = (row * m + x) * inner
                        for i in 0..<inner { result[to + i] = UInt8(min(max(sums[i] >> Int32(precision), 0), 255)) }
                    }
                }
            }
        }
        count = outer * m * inner
    }
}
