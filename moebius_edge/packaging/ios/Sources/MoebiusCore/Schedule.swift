import Foundation

/// One row of a solver's table: with the noise predicted at `timestep`,
/// latents <- a * latents + b * noise + c * estimate, and estimate <- p * latents + q * noise with the latents from
/// before; at first the estimate is 0.
public struct Step: Codable, Equatable, Sendable {
    public let timestep: Int
    public let a: Double
    public let b: Double
    public let c: Double
    public let p: Double
    public let q: Double

    public init(timestep: Int, a: Double, b: Double, c: Double = 0, p: Double = 0, q: Double = 0) {
        (self.timestep, self.a, self.b, self.c, self.p, self.q) = (timestep, a, b, c, p, q)
    }

    /// This row where none was run before it: its own estimate, p * latents + q * noise, stands for the one before.
    var alone: Step { Step(timestep: timestep, a: a + c * p, b: b + c * q, p: p, q: q) }
}

/// How the loop starts: sqrt_alpha_bar * latents + sqrt_one_minus_alpha_bar * noise; (0, 1) is pure noise.
public struct Start: Codable, Equatable, Sendable {
    public let timestep: Int
    public let sqrtAlphaBar: Double
    public let sqrtOneMinusAlphaBar: Double

    public init(timestep: Int, sqrtAlphaBar: Double, sqrtOneMinusAlphaBar: Double) {
        (self.timestep, self.sqrtAlphaBar, self.sqrtOneMinusAlphaBar) = (timestep, sqrtAlphaBar, sqrtOneMinusAlphaBar)
    }

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

/// The numbers of one loop.
public struct Schedule: Equatable, Sendable {
    public let start: Start
    /// The rows in the order in which they are run.
    public let steps: [Step]

    public init(start: Start, steps: [Step]) { (self.start, self.steps) = (start, steps) }

    /// Step 13 of the loop: the part that goes over a picture once more, the rows below `strength` (0 to 1) of the
    /// training steps. The first of them has no estimate before it, so its own stands for that one.
    ///
    /// Whatever the solver is: what the start is mixed of follows from the noise schedule. nil: no row is left.
    public func refining(_ noise: NoiseSchedule, strength: Double) -> Schedule? {
        let rows = steps.filter { Double($0.timestep) < strength * Double(noise.trainTimesteps) }
        guard let first = rows.first else { return nil }
        let alpha = noise.alphaBar[first.timestep]
        let start = Start(timestep: first.timestep, sqrtAlphaBar: sqrt(alpha), sqrtOneMinusAlphaBar: sqrt(1 - alpha))
        return Schedule(start: start, steps: [first.alone] + rows.dropFirst())
    }
}

/// The solver of a bundle: its manifest lists one table, and names what computes others.
public struct ListedSolver: Equatable, Sendable {
    /// "ddim"; one that is not known here is run by its table alone.
    public let name: String
    public let schedule: Schedule
    /// What `schedule` is for.
    public let steps: Int
    public let strength: Double

    public init(name: String, schedule: Schedule, steps: Int, strength: Double) {
        (self.name, self.schedule, self.steps, self.strength) = (name, schedule, steps, strength)
    }

    /// The listed numbers for the steps and strength that they are for, else those of the named solver.
    ///
    /// Throws `InpaintError.input` when one of the two is out of range, and for others than the listed ones when
    /// the solver is not known.
    public func schedule(_ noise: NoiseSchedule, steps: Int, strength: Double) throws -> Schedule {
        if (steps, strength) == (self.steps, self.strength) { return schedule }
        guard name == "ddim" else {
            throw InpaintError.input(
                "the model's solver '\(name)' is not known here, only ddim: without it only \(self.steps) "
                    + "steps at strength \(self.strength) can be run; choose these, or update the app")
        }
        return try Schedule.ddim(noise, steps: steps, strength: strength)
    }
}
