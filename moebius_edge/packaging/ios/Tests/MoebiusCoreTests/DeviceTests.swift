import Foundation
import MoebiusCore
import XCTest

/// A device with a clock that goes on by a millisecond each time it is read, and grows hot.
private final class FakeDevice: ProfiledDevice, @unchecked Sendable {
    private var time = 0.0
    let device = ProfileReport.Device(platform: "ios", model: "iPhone16,1", system: "iOS 17.4", chip: "")
    let engine = ProfileReport.Engine(name: "coreml", version: "1", unit: "cpuAndNeuralEngine")

    func milliseconds() -> Double {
        time += 1
        return time
    }
    func advance(_ milliseconds: Double) { time += milliseconds }
    func celsius() -> Double? { nil }
    func thermalState() -> String? { time < 1000 ? "nominal" : "serious" }
    func peakMemoryBytes() -> Int? { nil }
}

private func changed(_ tensor: Tensor, _ change: (Float) -> Float) -> Tensor {
    Tensor(tensor.shape, tensor.values.map(change))
}

final class DeviceTests: XCTestCase {
    private let thresholds = AppDescription.Thresholds(encoder: 50, denoiser: 55, decoder: 55, hole: 45)

    private func package() async throws -> (app: AppDescription, bundle: ModelBundle) {
        let package = try await FakePackage(try temporaryFolder(self))
        try package.write()
        return try AppDescription.open(package.folder)
    }

    private func test(_ runner: FakeRunner) async throws -> SelfTestReport {
        try await selfTest(try await package().bundle.capsule(), runner: runner, shape: tiny, thresholds: thresholds)
    }

    func testDecibels() {
        XCTAssertEqual(decibels([0, 1], [0, 1]), 200)
        XCTAssertEqual(decibels([0.1, 1.1], [0, 1]), 20, accuracy: 1e-5)
        XCTAssertEqual(decibels([30, 30], [5, 55], peak: 255), 20 * log10(255.0 / 25), accuracy: 1e-9)
        XCTAssertEqual(decibels([.nan, 1], [0, 1]), -200)
        XCTAssertEqual(decibels([2], [1]), 0)
    }

    func testTheReferenceItselfPasses() async throws {
        let runner = FakeRunner()
        let report = try await test(runner)
        XCTAssertEqual([report.encoder, report.denoiser, report.decoder, report.hole], [200, 200, 200, 200])
        XCTAssertTrue(report.ok)
        XCTAssertEqual(report.failures(thresholds), "")
        XCTAssertEqual(runner.calls.count, 1 + 4 + 1 + 1 + 4 + 1)
    }

    func testEachGraphIsJudgedAlone() async throws {
        for graph in Graph.allCases {
            let runner = FakeRunner()
            runner.change = { name, outputs in
                guard name == graph else { return outputs }
                return outputs.mapValues { changed($0) { $0 + 0.02 } }
            }
            let report = try await test(runner)
            XCTAssertFalse(report.ok)
            let found = [Graph.encoder: report.encoder!, .denoiser: report.denoiser!, .decoder: report.decoder!]
            XCTAssertEqual(Set(found.filter { $0.value == 200 }.keys), Set(Graph.allCases.filter { $0 != graph }))
            XCTAssertLessThan(found[graph]!, 50)
            XCTAssertGreaterThan(found[graph]!, 20)
            XCTAssertTrue(report.failures(thresholds).hasPrefix("the \(graph.rawValue) is at "), report.failures(thresholds))
        }
    }

    func testNaNIsNoCrash() async throws {
        let runner = FakeRunner()
        runner.change = { $0 == .denoiser ? $1.mapValues { changed($0) { _ in .nan } } : $1 }
        let report = try await test(runner)
        XCTAssertEqual(report.denoiser, -200)
        XCTAssertNil(report.hole)
        XCTAssertFalse(report.ok)
        XCTAssertTrue(report.failures(thresholds).hasSuffix("the picture in the hole was not finite"), report.failures(thresholds))
    }

    func testTheNextUnitIsTaken() async throws {
        let folder = try temporaryFolder(self)
        let memory = UnitMemory(file: folder.appendingPathComponent("more/selftest.json"))
        let good = try await test(FakeRunner())
        let runner = FakeRunner()
        runner.change = { $0 == .decoder ? $1.mapValues { changed($0) { 1 - $0 } } : $1 }
        let bad = try await test(runner)
        var tried: [String] = []
        func choose(_ key: String) async throws -> UnitChoice {
            try await chooseUnit(["ne", "gpu", "cpu"], key: key, memory: memory, thresholds: thresholds) { unit in
                tried.append(unit)
                if unit == "ne" { throw InpaintError.engine("it does not fit") }
                return unit == "gpu" ? bad : good
            }
        }
        let choice = try await choose("a")
        XCTAssertEqual(choice.unit, "cpu")
        XCTAssertEqual(choice.trials.map(\.unit), ["ne", "gpu", "cpu"])
        XCTAssertEqual(choice.trials[0].reason, "it does not fit")
        XCTAssertTrue(choice.trials[1].reason!.hasPrefix("the decoder is at "))
        XCTAssertNil(choice.trials[2].reason)
        let again = try await choose("a")
        XCTAssertEqual(again, choice)
        XCTAssertEqual(tried.count, 3, "the choice is remembered")
        _ = try await choose("b")
        XCTAssertEqual(tried.count, 6, "of this model on this system alone")
        try Data("{".utf8).write(to: folder.appendingPathComponent("more/selftest.json"))
        _ = try await choose("b")
        XCTAssertEqual(tried.count, 9, "a damaged memory is none")
    }

    func testNoUnitPasses() async throws {
        let memory = UnitMemory(file: try temporaryFolder(self).appendingPathComponent("selftest.json"))
        func choose(_ error: InpaintError) async -> String {
            await message {
                _ = try await chooseUnit(["ne", "cpu"], key: "", memory: memory, thresholds: self.thresholds) { _ in throw error }
            }
        }
        var found = await choose(.engine("no"))
        XCTAssertEqual(found, "this model does not pass its self-test on this device: ne: no; cpu: no")
        found = await choose(.cancelled(done: 1, total: 2))
        XCTAssertEqual(found, "stopped after 1 of 2 graph runs")
        found = await choose(.bundle("damaged"))
        XCTAssertEqual(found, "damaged")
    }

    func testAProfile() async throws {
        let (app, bundle) = try await package()
        let device = FakeDevice()
        let runner = FakeRunner()
        var fresh = Set(Graph.allCases)
        runner.change = { graph, outputs in
            device.advance(graph == .denoiser ? 20 : 5)
            if fresh.remove(graph) != nil { device.advance(500) }
            return outputs
        }
        let profiler = try Profiler(
            app: app, bundle: bundle, runner: runner, device: device, options: try ProfileOptions(runs: 3, edits: 2))
        let seen = Seen()
        let report = try await profiler.measure { seen.add($0, $1) }
        XCTAssertEqual(seen.done, [1, 2, 3, 4, 5, 6])
        let file = try temporaryFolder(self).appendingPathComponent("profile.json")
        try report.write(to: file)
        let data = try Data(contentsOf: file)
        XCTAssertEqual(try JSONDecoder().decode(ProfileReport.self, from: data), report)
        let table = try JSONSerialization.jsonObject(with: data) as! [String: Any]
        XCTAssertEqual(Set(table.keys), [
            "format", "device", "engine", "threads", "bundle", "load_ms", "graphs_ms", "edits", "temperature",
            "peak_memory_bytes", "selftest",
        ])
        XCTAssertTrue(table["threads"] is NSNull)
        XCTAssertTrue(table["peak_memory_bytes"] is NSNull)
        XCTAssertEqual(report.graphs, ["encoder": [6, 6, 6], "denoiser": [21, 21, 21], "decoder": [6, 6, 6]])
        XCTAssertEqual(report.load["denoiser"]!.cold, 500)
        XCTAssertEqual(report.load["denoiser"]!.warm, 0)
        XCTAssertEqual(report.edits.map(\.steps), [[Double]](repeating: [Double](repeating: 21, count: 19), count: 2))
        XCTAssertGreaterThan(report.edits[0].total, 19 * 21)
        XCTAssertEqual(report.temperature.count, 3)
        XCTAssertEqual(report.temperature.last!.state, "serious")
        XCTAssertEqual(report.bundle.filesSHA256, bundle.manifest.filesSHA256)
        XCTAssertTrue(report.selftest.ok)
        let first = (table["temperature"] as! [[String: Any]])[0]
        XCTAssertEqual(Set(first.keys), ["after_ms", "celsius", "state"])
        XCTAssertEqual(Set((table["selftest"] as! [String: Any]).keys), [
            "encoder_db", "denoiser_db", "decoder_db", "hole_db", "ok",
        ])
        let found = await message { try report.write(to: URL(fileURLWithPath: "/nowhere/at/all.json")) }
        XCTAssertTrue(found.hasPrefix("cannot write /nowhere/at/all.json"), found)
    }

    func testLaunchArguments() async throws {
        XCTAssertNil(try ProfileOptions.launch(["app", "-other"]))
        XCTAssertEqual(try ProfileOptions.launch(["app", "-profile"]), try ProfileOptions())
        XCTAssertEqual(try ProfileOptions.launch(["app", "-profile", "3", "4"]), try ProfileOptions(runs: 3, edits: 4))
        XCTAssertEqual(try ProfileOptions.launch(["-profile", "3", "-x"]), try ProfileOptions(runs: 3, edits: 20))
        let found = await message { _ = try ProfileOptions.launch(["app", "-profile", "0", "4"]) }
        XCTAssertTrue(found.hasPrefix("runs is 0 and edits 4"), found)
    }
}
