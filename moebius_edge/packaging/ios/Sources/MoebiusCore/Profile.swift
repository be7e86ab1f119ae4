import Foundation

/// The device that a profile is taken on: its names, clock, temperature and memory.
public protocol ProfiledDevice: Sendable {
    var device: ProfileReport.Device { get }
    var engine: ProfileReport.Engine { get }
    /// Of a monotonic clock.
    func milliseconds() -> Double
    /// nil where the system does not say.
    func celsius() -> Double?
    /// The system's own word: `nominal`, `fair`, `serious`, `critical`.
    func thermalState() -> String?
    /// Largest memory of the process so far.
    func peakMemoryBytes() -> Int?
}

/// How much to measure.
public struct ProfileOptions: Equatable, Sendable {
    /// Timed runs of each graph, after one that is not counted; 1 to 10,000.
    public let runs: Int
    /// Timed whole edits, 0 to 10,000.
    public let edits: Int

    /// Throws `InpaintError.input` when a number is out of range.
    public init(runs: Int = 10, edits: Int = 20) throws {
        guard (1...10_000).contains(runs), (0...10_000).contains(edits) else {
            throw InpaintError.input(
                "runs is \(runs) and edits \(edits); expected 1 to 10000 runs and 0 to 10000 edits")
        }
        (self.runs, self.edits) = (runs, edits)
    }

    /// From a launch argument: what follows `-profile`, as in `-profile 10 20`; nil without it.
    ///
    /// Numbers that are left out keep their defaults. Throws `InpaintError.input` for impossible ones.
    public static func launch(_ arguments: [String]) throws -> ProfileOptions? {
        guard let flag = arguments.firstIndex(of: "-profile") else { return nil }
        let given = arguments[(flag + 1)...].prefix(2).map { Int($0) }
        let numbers = given.prefix { $0 != nil }.map { $0! }
        return try ProfileOptions(
            runs: numbers.first ?? 10, edits: numbers.count > 1 ? numbers[1] : 20)
    }
}

/// Measures the graphs one by one, then whole edits one after the other, then the self-test.
public struct Profiler {
    let app: AppDescription
    let shape: ModelShape
    let defaults: EditOptions
    let capsule: Capsule
    let runner: any GraphRunner
    let device: any ProfiledDevice
    let options: ProfileOptions

    /// `runner` has loaded nothing yet, and nothing of this model is cached: the first load is the cold one.
    ///
    /// Throws `InpaintError.bundle` when the capsule cannot be used.
    public init(
        app: AppDescription, bundle: ModelBundle, runner: any GraphRunner, device: any ProfiledDevice,
        options: ProfileOptions
    ) throws {
        (self.app, self.runner, self.device, self.options) = (app, runner, device, options)
        (shape, defaults, capsule) = (bundle.manifest.shape, bundle.manifest.editDefaults, try bundle.capsule())
    }

    /// Everything. `progress` counts graphs, edits and the self-test. Throws as `Inpainter.inpaint` and `selfTest` do.
    public func measure(progress: Progress? = nil) async throws -> ProfileReport {
        let total = Graph.allCases.count + options.edits + 1
        var load: [String: ProfileReport.Load] = [:]
        var graphs: [String: [Double]] = [:]
        for (index, graph) in Graph.allCases.enumerated() {
            (load[graph.rawValue], graphs[graph.rawValue]) = try await time(graph)
            progress?(index + 1, total)
        }
        let (edits, temperature) = try await timeEdits { progress?(Graph.allCases.count + $0, total) }
        let report = try await selfTest(capsule, runner: runner, shape: shape, thresholds: app.thresholds)
        progress?(total, total)
        return ProfileReport(
            format: ProfileReport.format, device: device.device, engine: device.engine, threads: nil,
            bundle: .init(model: app.model, precision: app.precision, filesSHA256: app.filesSHA256),
            load: load, graphs: graphs, edits: edits, temperature: temperature,
            peakMemoryBytes: device.peakMemoryBytes(), selftest: report)
    }

    /// A cold start, the timed runs, and a warm start.
    private func time(_ graph: Graph) async throws -> (ProfileReport.Load, [Double]) {
        let inputs = capsule.inputs(graph)
        func run() async throws -> Double {
            if Task.isCancelled { throw InpaintError.cancelled(done: 0, total: options.runs) }
            let start = device.milliseconds()
            _ = try await runner.run(graph, inputs)
            return device.milliseconds() - start
        }
        let cold = try await run()
        _ = try await run()
        var times: [Double] = []
        for _ in 0..<options.runs { times.append(try await run()) }
        runner.release(graph)
        let warm = try await run()
        runner.release(graph)
        let usual = median(times)
        return (ProfileReport.Load(cold: max(cold - usual, 0), warm: max(warm - usual, 0)), times)
    }

    private func timeEdits(
        _ tick: (Int) -> Void
    ) async throws -> ([ProfileReport.Edit], [ProfileReport.Temperature]) {
        let timed = TimedRunner(runner, device)
        let inpainter = Inpainter(runner: timed, shape: shape, defaults: defaults)
        var edits: [ProfileReport.Edit] = []
        let begin = device.milliseconds()
        var temperature = [reading(begin)]
        for index in 0..<options.edits {
            timed.steps = []
            let start = device.milliseconds()
            _ = try await inpainter.inpaint(Photo(rgb: capsule.photo), mask: capsule.mask)
            edits.append(ProfileReport.Edit(total: device.milliseconds() - start, steps: timed.steps))
            temperature.append(reading(begin))
            tick(index + 1)
        }
        return (edits, temperature)
    }

    private func reading(_ begin: Double) -> ProfileReport.Temperature {
        ProfileReport.Temperature(
            after: device.milliseconds() - begin, celsius: device.celsius(), state: device.thermalState())
    }
}

/// Times each run of the denoiser, its loading left out.
private final class TimedRunner: GraphRunner {
    private let runner: any GraphRunner
    private let device: any ProfiledDevice
    var steps: [Double] = []

    init(_ runner: any GraphRunner, _ device: any ProfiledDevice) { (self.runner, self.device) = (runner, device) }

    func prepare(_ graph: Graph) async throws { try await runner.prepare(graph) }

    func release(_ graph: Graph) { runner.release(graph) }

    func run(_ graph: Graph, _ inputs: [String: Tensor]) async throws -> [String: Tensor] {
        let start = device.milliseconds()
        let outputs = try await runner.run(graph, inputs)
        if graph == .denoiser { steps.append(device.milliseconds() - start) }
        return outputs
    }
}

private func median(_ values: [Double]) -> Double {
    let sorted = values.sorted()
    let middle = sorted.count / 2
    return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}
