/// Graph runs done, graph runs in all.
public typealias Progress = @Sendable (_ done: Int, _ total: Int) -> Void

/// What of a model the loop must know; a manifest has it.
public struct ModelShape: Equatable, Sendable {
    /// H = W of the picture that the model sees.
    public let resolution: Int
    /// h = w of its latents.
    public let latentSize: Int
    public let noise: NoiseSchedule
    /// nil: DDIM, computed here.
    public let solver: ListedSolver?

    public init(
        resolution: Int, latentSize: Int, noise: NoiseSchedule = NoiseSchedule(), solver: ListedSolver? = nil
    ) {
        (self.resolution, self.latentSize, self.noise, self.solver) = (resolution, latentSize, noise, solver)
    }

    /// The numbers of a loop. Throws `InpaintError.input` for steps and strengths that cannot be run.
    func schedule(steps: Int, strength: Double) throws -> Schedule {
        guard let solver = solver else { return try Schedule.ddim(noise, steps: steps, strength: strength) }
        return try solver.schedule(noise, steps: steps, strength: strength)
    }

    var latents: [Int] { [1, latentChannels, latentSize, latentSize] }
}

/// A photo and a mask in, the photo with its holes filled out: steps 1 to 13 of the loop around the three graphs.
///
/// One edit at a time, away from the main thread. Cancelling the task that awaits an edit ends it after the graph
/// run that is under way.
public actor Inpainter {
    public nonisolated let shape: ModelShape
    /// What an edit uses when the caller does not say.
    public nonisolated let defaults: EditOptions

    private let runner: any GraphRunner
    private let keepsGraphs: Bool
    private var busy = false

    /// `keepsGraphs`: leave a graph in memory when it has done its work; the runner may still free it for the next.
    public init(
        runner: any GraphRunner, shape: ModelShape, defaults: EditOptions = EditOptions(), keepsGraphs: Bool = false
    ) {
        (self.runner, self.shape, self.defaults, self.keepsGraphs) = (runner, shape, defaults, keepsGraphs)
    }

    /// The inpainter of a bundle, with its noise schedule and its default options.
    public init(runner: any GraphRunner, manifest: Manifest) {
        self.init(runner: runner, shape: manifest.shape, defaults: manifest.editDefaults)
    }

    /// Fills the holes of one photo, each in two passes where the fill of one would be coarse. `options` nil:
    /// `defaults`.
    ///
    /// Returns a photo of the same size and kind. Throws `InpaintError`: `.input`, `.engine`, `.notFinite`,
    /// `.cancelled`, `.busy`.
    public func inpaint(
        _ photo: Photo, mask: Mask, options: EditOptions? = nil, progress: Progress? = nil
    ) async throws -> Photo {
        guard !busy else { throw InpaintError.busy }
        busy = true
        defer {
            if !keepsGraphs { Graph.allCases.forEach(runner.release) }
            busy = false
        }
        let chosen = options ?? defaults
        let first = try shape.schedule(steps: chosen.steps, strength: chosen.strength)
        let second = first.refining(shape.noise, strength: chosen.refine)
        var edits = try Edits(
            photo: photo, mask: mask, resolution: shape.resolution, latentSize: shape.latentSize, options: chosen)
        let coarse = edits.first.filter { $0.closer != nil }.count
        let again = second.map { coarse * runs($0, encodes: 2) } ?? 0
        let counter = Counter(total: edits.first.count * runs(first, encodes: 1) + again, progress: progress)
        let draws = Draws(seed: chosen.seed, latentSize: shape.latentSize, noiseOffset: chosen.noiseOffset)
        let settings = Settings(draws: draws, guidance: chosen.guidance)
        var finer: [Edit] = []
        for (edit, fill) in zip(edits.first, try await pass(edits.first, first, settings, counter)) {
            if second != nil, let closer = edit.closer {
                finer.append(try edits.refine(edit, fill, closer))
            } else {
                edits.finish(edit, fill)
            }
        }
        if let second = second, !finer.isEmpty {
            let fills = try await pass(finer, second, settings, counter)
            for (edit, fill) in zip(finer, fills) { edits.finish(edit, fill) }
        }
        return edits.photo.inItsColours
    }

    /// What is the same in all passes over all holes.
    private struct Settings {
        let draws: Draws
        let guidance: Double
    }

    /// How many graphs a pass over a hole runs: the encodes, the steps, a decode.
    private func runs(_ schedule: Schedule, encodes: Int) -> Int { encodes + schedule.steps.count + 1 }

    /// Steps 9 to 11, over some holes: their fills. Each graph is loaded once for all of them.
    private func pass(
        _ edits: [Edit], _ schedule: Schedule, _ settings: Settings, _ counter: Counter
    ) async throws -> [Picture] {
        var latents: [Tensor] = []
        var conditions: [[String: Tensor]] = []
        for edit in edits {
            let (start, masked) = try await encoded(edit, settings.draws, schedule.start, counter)
            latents.append(start)
            conditions.append(["mask": edit.latentMask, "masked_latents": masked])
        }
        finish(.encoder)
        for i in edits.indices {
            latents[i] = try await denoised(latents[i], conditions[i], schedule.steps, settings.guidance, counter)
        }
        finish(.denoiser)
        var fills: [Picture] = []
        for (edit, latents) in zip(edits, latents) { fills.append(edit.fill(try await decode(latents, counter))) }
        finish(.decoder)
        return fills
    }

    /// Step 9: the latents that the loop starts from, and those of the masked picture.
    private func encoded(
        _ edit: Edit, _ draws: Draws, _ start: Start, _ counter: Counter
    ) async throws -> (start: Tensor, masked: Tensor) {
        let whole = try await edit.again ? encode(edit.image, draws.maskedImage, counter) : nil
        let masked = try await encode(edit.maskedImage, draws.maskedImage, counter)
        let under = whole ?? continued(masked, into: edit.latentHole)
        return (startLatents(start, noise: draws.latents, under: under), masked)
    }

    /// A sample of the latent posterior: mean + std * draw.
    private func encode(_ image: Tensor, _ draw: Tensor, _ counter: Counter) async throws -> Tensor {
        let posterior = try await run(.encoder, ["image": image], counter)
        let mean = try runner.output("mean", of: .encoder, from: posterior, shape: shape.latents)
        let std = try runner.output("std", of: .encoder, from: posterior, shape: shape.latents)
        return try finite(sample(mean: mean, std: std, draw: draw), "the encoder's latents")
    }

    /// Step 10: `update` over the rows of the solver's table.
    private func denoised(
        _ start: Tensor, _ conditions: [String: Tensor], _ steps: [Step], _ guidance: Double, _ counter: Counter
    ) async throws -> Tensor {
        var latents = start
        var estimate = Tensor(start.shape, [Float](repeating: 0, count: start.values.count))
        for (index, step) in steps.enumerated() {
            var inputs = conditions
            inputs["latents"] = latents
            inputs["timestep"] = Tensor([1], [Float(step.timestep)])
            inputs["guidance"] = Tensor([1], [Float(guidance)])
            let outputs = try await run(.denoiser, inputs, counter)
            let noise = try runner.output("noise", of: .denoiser, from: outputs, shape: shape.latents)
            (latents, estimate) = update(step, latents, noise: noise, estimate: estimate)
            latents = try finite(latents, "the latents after step \(index + 1) of \(steps.count)")
        }
        return latents
    }

    private func decode(_ latents: Tensor, _ counter: Counter) async throws -> Tensor {
        let decoded = try await run(.decoder, ["latents": latents], counter)
        let size = [1, 3, shape.resolution, shape.resolution]
        let image = try runner.output("image", of: .decoder, from: decoded, shape: size)
        return try finite(image, "the decoder's picture")
    }

    private func run(_ graph: Graph, _ inputs: [String: Tensor], _ counter: Counter) async throws -> [String: Tensor] {
        try counter.checkCancelled()
        try await runner.prepare(graph)
        try counter.checkCancelled()
        let outputs = try await runner.run(graph, inputs)
        counter.tick()
        return outputs
    }

    private func finish(_ graph: Graph) {
        if !keepsGraphs { runner.release(graph) }
    }
}

/// Step 10, one row of a solver's table: (a * latents + b * noise) + c * estimate, and the next estimate of the clean
/// latents, p * latents + q * noise; every product and sum a 32-bit float.
public func update(
    _ step: Step, _ latents: Tensor, noise: Tensor, estimate: Tensor
) -> (latents: Tensor, estimate: Tensor) {
    var moved = weighted(step.a, latents, step.b, noise)
    let c = Float(step.c)
    if c != 0 {  // adding 0 would change no number, but the sign of a zero
        moved = Tensor(moved.shape, zip(moved.values, estimate.values).map { $0 + c * $1 })
    }
    let forgets = step.p == 0 && step.q == 0
    let zero = Tensor(latents.shape, [Float](repeating: 0, count: latents.values.count))
    return (moved, forgets ? zero : weighted(step.p, latents, step.q, noise))
}

/// Step 9: what is around a hole continued into it, so that a weak model begins with the colours of the surroundings.
///
/// `latents` [1,C,h,w], of the masked picture; `hole` [h,w] grows by 1. Where that leaves nothing around it, the
/// latents stay as they are.
public func continued(_ latents: Tensor, into hole: Mask) -> Tensor {
    let greyed = hole.grow(greyedLatents)
    if greyed.isFull { return latents }
    let area = hole.width * hole.height
    let values = stride(from: 0, to: latents.values.count, by: area).flatMap { first -> [Float] in
        extended(latents.values[first..<first + area].map(Double.init), into: greyed).map(Float.init)
    }
    return Tensor(latents.shape, values)
}

private let greyedLatents = 1  // beside the hole: the encoder has mixed its grey into them

/// Step 9: where the loop starts, latents under noise; at strength 1 noise alone.
public func startLatents(_ start: Start, noise: Tensor, under: Tensor) -> Tensor {
    weighted(start.sqrtOneMinusAlphaBar, noise, start.sqrtAlphaBar, under)
}

/// a x + b y, each product and the sum a 32-bit float.
private func weighted(_ a: Double, _ x: Tensor, _ b: Double, _ y: Tensor) -> Tensor {
    let (ofX, ofY) = (Float(a), Float(b))
    return Tensor(x.shape, zip(x.values, y.values).map { ofX * $0 + ofY * $1 })
}

/// mean + std * draw, each product and the sum a 32-bit float.
public func sample(mean: Tensor, std: Tensor, draw: Tensor) -> Tensor {
    Tensor(mean.shape, mean.values.indices.map { mean.values[$0] + std.values[$0] * draw.values[$0] })
}

private func finite(_ tensor: Tensor, _ what: String) throws -> Tensor {
    guard tensor.isFinite else {
        throw InpaintError.notFinite(
            "\(what) contain NaN or Inf; use a moderate guidance, and run the self-test of this model")
    }
    return tensor
}

/// Counts graph runs, tells the caller, and stops where the task was cancelled.
private final class Counter {
    private let total: Int
    private let progress: Progress?
    private var done = 0

    init(total: Int, progress: Progress?) { (self.total, self.progress) = (total, progress) }

    func checkCancelled() throws {
        if Task.isCancelled { throw InpaintError.cancelled(done: done, total: total) }
    }

    func tick() {
        done += 1
        progress?(done, total)
    }
}
