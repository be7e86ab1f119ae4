import Foundation

/// What the noise is for. The values are part of the specification (docs/noise.md of moebius-edge).
public struct Stream: RawRepresentable, Equatable, Sendable {
    public let rawValue: UInt32

    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// Sample of the masked picture's latent posterior. Stream 0 is the published mode's, in Python.
    public static let maskedImage = Stream(rawValue: 1)
    /// The noise that the loop starts from.
    public static let latents = Stream(rawValue: 2)
    /// Its offset, one number per channel.
    public static let offset = Stream(rawValue: 3)
}

/// Philox 4x32 with 10 rounds (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
///
/// `counter` and `key` are words, least significant first.
public func philox4x32(
    counter: (UInt32, UInt32, UInt32, UInt32), key: (UInt32, UInt32)
) -> (UInt32, UInt32, UInt32, UInt32) {
    var (c0, c1, c2, c3) = counter
    var (k0, k1) = key
    for _ in 0..<10 {
        let first = UInt32(0xD251_1F53).multipliedFullWidth(by: c0)
        let second = UInt32(0xCD9E_8D57).multipliedFullWidth(by: c2)
        (c0, c1, c2, c3) = (second.high ^ c1 ^ k0, second.low, first.high ^ c3 ^ k1, first.low)
        k0 &+= 0x9E37_79B9
        k1 &+= 0xBB67_AE85
    }
    return (c0, c1, c2, c3)
}

/// Seeded Gaussian noise that is the same in every language: number i of a stream depends on the seed, the
/// stream and i alone.
public struct PortableNoise: Sendable {
    public let seed: UInt64

    public init(seed: UInt64) { self.seed = seed }

    /// The four words of one block of a stream.
    public func words(_ stream: Stream, block: UInt32) -> (UInt32, UInt32, UInt32, UInt32) {
        let key = (UInt32(truncatingIfNeeded: seed), UInt32(truncatingIfNeeded: seed >> 32))
        return philox4x32(counter: (block, 0, stream.rawValue, 0), key: key)
    }

    /// The four standard normal numbers of one block of a stream, by Box and Muller (1958), in 64 bits.
    public func normal(_ stream: Stream, block: UInt32) -> (Float, Float, Float, Float) {
        let (x0, x1, x2, x3) = words(stream, block: block)
        func pair(_ length: UInt32, _ turn: UInt32) -> (Float, Float) {
            // (x + 1) / 2^32 is in (0, 1], so that the logarithm is finite.
            let radius = sqrt(-2 * log((Double(length) + 1) / 4_294_967_296))
            let angle = 2 * Double.pi * (Double(turn) / 4_294_967_296)
            return (Float(radius * cos(angle)), Float(radius * sin(angle)))
        }
        let (first, second) = (pair(x0, x1), pair(x2, x3))
        return (first.0, first.1, second.0, second.1)
    }

    /// Elements 0 ..< count of a stream.
    public func normal(_ stream: Stream, count: Int) -> [Float] {
        var numbers: [Float] = []
        numbers.reserveCapacity(count + 3)
        for block in 0..<UInt32((count + 3) / 4) {
            let (a, b, c, d) = normal(stream, block: block)
            numbers += [a, b, c, d]
        }
        return Array(numbers.prefix(count))
    }
}

/// The random numbers of one edit, each [1,4,h,w].
public struct Draws: Equatable, Sendable {
    /// Sample of the masked picture's posterior.
    public let maskedImage: Tensor
    /// Starting noise, offset included.
    public let latents: Tensor

    /// Step 7 of the loop. `noiseOffset` 0: none.
    public init(seed: UInt64, latentSize: Int, noiseOffset: Double) {
        let source = PortableNoise(seed: seed)
        let shape = [1, latentChannels, latentSize, latentSize]
        let area = latentSize * latentSize
        maskedImage = Tensor(shape, source.normal(.maskedImage, count: latentChannels * area))
        var noise = source.normal(.latents, count: latentChannels * area)
        if noiseOffset != 0 {
            let offset = source.normal(.offset, count: latentChannels)
            for i in noise.indices { noise[i] += Float(noiseOffset) * offset[i / area] }
        }
        latents = Tensor(shape, noise)
    }
}
