/// What a caller can choose about one edit. `moebius-edge inpaint --help` has the same words.
public struct EditOptions: Equatable, Sendable {
    /// Steps of the solver, 1 to 1000; DDIM runs floor(steps * strength) of them.
    public var steps = 20
    /// Guidance scale, -100 to 100; 1 is none.
    public var guidance = 2.0
    /// Above 0, at most 1: how much noise the loop starts with.
    public var strength = 0.99
    /// Another seed gives another fill.
    public var seed: UInt64 = 0
    /// Standard deviation of the starting noise's offset per channel, 0 to 1.
    public var noiseOffset = 0.0357
    /// Pixels by which the mask grows on each side, 0 to 4096.
    public var dilate = 0
    /// Pixels around the mask over which the fill fades into the photo, 0 to 4096.
    public var feather = 8
    /// Context on each side of the hole, in units of the larger of hole and model size, 0 to 4.
    public var margin = 1.0
    /// Strength of a second, closer pass over a coarse fill, 0 to 1; 0: none.
    public var refine = 0.5
    /// Fill holes that are far apart in one square, all at one scale, instead of one after another.
    public var together = false
    /// How the fill meets the photo.
    public var blend = Blend.harmonic

    /// What is done to the fill's colours before it is pasted.
    public enum Blend: String, Sendable {
        /// Fitted to the photo's along the rim of the hole, without a step.
        case harmonic
        /// Left as the model made them.
        case feather
    }

    public init() {}

    /// Throws `InpaintError.input` when a value is out of range; steps and strength are `Schedule`'s.
    public func validate() throws {
        try check("guidance", guidance, -100...100)
        try check("noiseOffset", noiseOffset, 0...1)
        try check("margin", margin, 0...4)
        try check("refine", refine, 0...1)
        try check("dilate", Double(dilate), 0...4096)
        try check("feather", Double(feather), 0...4096)
    }

    private func check(_ name: String, _ value: Double, _ range: ClosedRange<Double>) throws {
        guard range.contains(value) else {
            let (low, high) = (range.lowerBound, range.upperBound)
            throw InpaintError.input("\(name) is \(value); expected a number from \(low) to \(high)")
        }
    }
}
