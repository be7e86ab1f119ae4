import Foundation

extension Schedule {
    /// DDIM (Song et al., arXiv 2010.02502), eta = 0, in 64 bits; step 8 of the loop: the last
    /// floor(steps * strength) of `steps`, from the noisiest to 0.
    ///
    /// Throws `InpaintError.input` when `steps` is not 1 to the number of training steps, `strength` is not
    /// above 0 and at most 1, or no step is left to run.
    public static func ddim(_ noise: NoiseSchedule, steps: Int, strength: Double) throws -> Schedule {
        guard (1...noise.trainTimesteps).contains(steps) else {
            throw InpaintError.input("steps is \(steps); expected 1 to \(noise.trainTimesteps)")
        }
        guard strength > 0, strength <= 1 else {
            throw InpaintError.input("strength is \(strength); expected a number above 0 and at most 1")
        }
        let run = Int(Double(steps) * strength)
        guard run > 0 else {
            throw InpaintError.input(
                "\(steps) steps at strength \(strength) leave none to run; use more steps or strength 1")
        }
        let alphaBar = noise.alphaBar
        let ratio = noise.trainTimesteps / steps
        let rows = (0..<run).reversed().map { i -> Step in
            let t = i * ratio
            let previous = t >= ratio ? alphaBar[t - ratio] : 1
            let a = sqrt(previous / alphaBar[t])
            return Step(timestep: t, a: a, b: sqrt(1 - previous) - a * sqrt(1 - alphaBar[t]))
        }
        let first = (run - 1) * ratio
        let pure = strength == 1  // as published, although alpha is not quite 0 there
        let start = Start(
            timestep: first,
            sqrtAlphaBar: pure ? 0 : sqrt(alphaBar[first]),
            sqrtOneMinusAlphaBar: pure ? 1 : sqrt(1 - alphaBar[first]))
        return Schedule(start: start, steps: rows)
    }
}
