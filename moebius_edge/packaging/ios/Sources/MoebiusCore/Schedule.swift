import Foundation

/// One step of the loop: latents <- a * latents + b * noise, with noise predicted at `timestep`.
public struct Step: Codable, Equatable, Sendable {
    public let timestep: Int
    public let a: Double
    public let b: Double
}

/// How the loop starts: sqrt_alpha_bar * masked latents + sqrt_one_minus_alpha_bar * noise; (0, 1) is pure noise.
public struct Start: Codable, Equatable, Sendable {
    public let timestep: Int
    public let sqrtAlphaBar: Double
    public let sqrtOneMinusAlphaBar: Double

    enum CodingKeys: String, CodingKey {
        case timestep
        case sqrtAlphaBar = "sqrt_alpha_bar"
        case sqrtOneMinusAlphaBar = "sqrt_one_minus_alpha_bar"
    }
}

/// The training noise schedule. The defaults are the published model's.
public struct NoiseSchedule: Equatable, Sendable {
    public let betaStart: Double
    public let betaEnd: Double
    public let trainTimesteps: Int

    public init(betaStart: Double = 0.00085, betaEnd: Double = 0.012, trainTimesteps: Int = 1000) {
        (self.betaStart, self.betaEnd, self.trainTimesteps) = (betaStart, betaEnd, trainTimesteps)
    }

    /// alpha_t for every training step: the product over s <= t of 1 - beta_s, sqrt(beta) linear in t.
    var alphaBar: [Double] {
        let (low, high) = (sqrt(betaStart), sqrt(betaEnd))
        let step = trainTimesteps > 1 ? (high - low) / Double(trainTimesteps - 1) : 0
        var product = 1.0
        return (0..<trainTimesteps).map { t in
            let root = low + Double(t) * step
            product *= 1 - root * root
            return product
        }
    }
}

/// The numbers of one loop: DDIM (Song et al., arXiv 2010.02502), eta = 0, computed in 64 bits.
public struct Schedule: Equatable, Sendable {
    public let start: Start
    public let steps: [Step]

    /// Step 8 of the loop: the last floor(steps * strength) of `steps`, from the noisiest to 0.
    ///
    /// Throws `InpaintError.input` when `steps` is not 1 to the number of training steps, `strength` is not
    /// above 0 and at most 1, or no step is left to run.
    public init(_ noise: NoiseSchedule, steps: Int, strength: Double) throws {
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
        self.steps = (0..<run).reversed().map { i in
            let t = i * ratio
            let previous = t >= ratio ? alphaBar[t - ratio] : 1
            let a = sqrt(previous / alphaBar[t])
            return Step(timestep: t, a: a, b: sqrt(1 - previous) - a * sqrt(1 - alphaBar[t]))
        }
        let first = (run - 1) * ratio
        let pure = strength == 1  // as published, although alpha is not quite 0 there
        start = Start(
            timestep: first,
            sqrtAlphaBar: pure ? 0 : sqrt(alphaBar[first]),
            sqrtOneMinusAlphaBar: pure ? 1 : sqrt(1 - alphaBar[first]))
    }
}
