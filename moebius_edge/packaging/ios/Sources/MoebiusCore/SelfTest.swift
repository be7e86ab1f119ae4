import Foundation

/// The capsule, replayed: how close this device comes to the FP32 reference, in dB.
///
/// dB are 20 log10(peak / root of the mean squared error), peak the range of the reference tensor, of the
/// finished picture 255; at most 200. nil: not computed, because something failed before.
public struct SelfTestReport: Codable, Equatable, Sendable {
    public let encoder: Double?
    public let denoiser: Double?
    public let decoder: Double?
    public let hole: Double?
    /// All of them are there and at or above the thresholds.
    public let ok: Bool

    enum CodingKeys: String, CodingKey {
        case encoder = "encoder_db"
        case denoiser = "denoiser_db"
        case decoder = "decoder_db"
        case hole = "hole_db"
        case ok
    }

    /// Writes `null` where there is no number, as docs/devices.md wants it.
    public func encode(to encoder: Encoder) throws {
        var table = encoder.container(keyedBy: CodingKeys.self)
        try table.encode(self.encoder, forKey: .encoder)
        try table.encode(denoiser, forKey: .denoiser)
        try table.encode(decoder, forKey: .decoder)
        try table.encode(hole, forKey: .hole)
        try table.encode(ok, forKey: .ok)
    }

    /// What is below its threshold, as a sentence; empty when the test passed.
    public func failures(_ thresholds: AppDescription.Thresholds) -> String {
        let rows = [
            ("encoder", encoder, thresholds.encoder), ("denoiser", denoiser, thresholds.denoiser),
            ("decoder", decoder, thresholds.decoder), ("picture in the hole", hole, thresholds.hole),
        ]
        return rows.compactMap { name, found, threshold in
            guard let found = found else { return "the \(name) was not finite" }
            if found >= threshold { return nil }
            return String(format: "the \(name) is at %.1f dB, the threshold is %.1f", found, threshold)
        }.joined(separator: "; ")
    }
}

/// Replays the capsule: each graph on the reference's inputs (the denoiser's worst step), then the whole edit.
///
/// `progress` counts graph runs. Throws `InpaintError.engine` when a graph cannot run, `.cancelled`, and `.busy`;
/// wrong numbers are no error but a report that is not `ok`.
public func selfTest(
    _ capsule: Capsule, runner: any GraphRunner, shape: ModelShape, thresholds: AppDescription.Thresholds,
    progress: Progress? = nil
) async throws -> SelfTestReport {
    let steps = capsule.timesteps.count
    let total = steps + 2 + steps + 2  // replays, then the edit: an encode, the steps, a decode
    defer { Graph.allCases.forEach(runner.release) }
    var found: [Graph: Double] = [:]
    var done = 0
    for graph in Graph.allCases {
        for step in 0..<(graph == .denoiser ? steps : 1) {
            if Task.isCancelled { throw InpaintError.cancelled(done: done, total: total) }
            let outputs = try await runner.run(graph, capsule.inputs(graph, step: step))
            for (name, truth) in capsule.outputs(graph, step: step) {
                let output = try runner.output(name, of: graph, from: outputs, shape: truth.shape)
                found[graph] = min(found[graph] ?? maxDecibels, decibels(output.values, truth.values))
            }
            done += 1
            progress?(done, total)
        }
        runner.release(graph)
    }
    let hole = try await holeDecibels(capsule, runner, shape) { progress?(steps + 2 + $0, total) }
    let graphs = Graph.allCases.map { found[$0]! }
    let exact = zip(Graph.allCases, graphs).allSatisfy { thresholds.of($0) <= $1 }
    let ok = exact && (hole ?? -maxDecibels) >= thresholds.hole
    return SelfTestReport(encoder: graphs[0], denoiser: graphs[1], decoder: graphs[2], hole: hole, ok: ok)
}

/// The edit of the capsule by this device alone: errors add up as they do for a user. nil: it was not finite.
private func holeDecibels(
    _ capsule: Capsule, _ runner: any GraphRunner, _ shape: ModelShape, tick: @escaping @Sendable (Int) -> Void
) async throws -> Double? {
    // The capsule's loop is DDIM's, whatever the bundle's solver is.
    let ddim = ModelShape(resolution: shape.resolution, latentSize: shape.latentSize, noise: shape.noise)
    let inpainter = Inpainter(runner: runner, shape: ddim)
    do {
        let photo = Photo(rgb: capsule.photo)
        let edited = try await inpainter.inpaint(photo, mask: capsule.mask, options: capsule.options) { done, _ in
            tick(done)
        }
        let inside = capsule.result.bytes.indices.filter { capsule.mask.pixels[$0 / 3] }
        return decibels(
            inside.map { Float(edited.rgb.bytes[$0]) }, inside.map { Float(capsule.result.bytes[$0]) }, peak: 255)
    } catch InpaintError.notFinite {
        return nil
    }
}

let maxDecibels = 200.0

/// 20 log10(peak / root of the mean squared error) in -200 ... 200; `peak` nil: the range of `truth`, or 1 where it
/// is constant. -200 where a number is not finite.
public func decibels(_ found: [Float], _ truth: [Float], peak: Double? = nil) -> Double {
    guard found.allSatisfy(\.isFinite) else { return -maxDecibels }
    var squares = 0.0
    for (x, y) in zip(found, truth) { squares += (Double(x) - Double(y)) * (Double(x) - Double(y)) }
    let root = sqrt(squares / Double(max(truth.count, 1)))
    guard root > 0 else { return maxDecibels }
    let range = Double(truth.max() ?? 0) - Double(truth.min() ?? 0)
    let top = peak ?? (range == 0 ? 1 : range)
    return min(max(20 * log10(top / root), -maxDecibels), maxDecibels)
}
