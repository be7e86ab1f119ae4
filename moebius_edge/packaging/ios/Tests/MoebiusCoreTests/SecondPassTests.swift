import MoebiusCore
import XCTest

/// When a second, closer pass is made, what it runs, and what it shows of faults.
final class SecondPassTests: XCTestCase {
    /// In a photo of this size the square is 100 pixels wide, and the closer one 64.
    private let (photo, mask) = example(120, 100)
    /// DDIM's rows below half of the 1000 training steps: 450 to 0.
    private let once: [Graph] = [.encoder] + [Graph](repeating: .denoiser, count: 19) + [.decoder]
    private let again: [Graph] = [.encoder, .encoder] + [Graph](repeating: .denoiser, count: 10) + [.decoder]

    private func calls(_ change: (inout EditOptions) -> Void) async throws -> [Graph] {
        var options = EditOptions()
        change(&options)
        let runner = FakeRunner()
        _ = try await Inpainter(runner: runner, shape: tiny).inpaint(photo, mask: mask, options: options)
        return runner.calls
    }

    func testACoarseFillIsGoneOverOnceMore() async throws {
        var found = try await calls { _ in }
        XCTAssertEqual(found, once + again)
        found = try await calls { $0.refine = 0 }
        XCTAssertEqual(found, once, "not wanted")
        found = try await calls { $0.margin = 0.25 }
        XCTAssertEqual(found, once, "the fill is as fine as it can be")
        found = try await calls { $0.refine = 1e-9 }
        XCTAssertEqual(found, once + [.encoder, .encoder, .denoiser, .decoder], "only the row of timestep 0")
        found = try await calls { ($0.steps, $0.strength) = (2, 1) }
        XCTAssertEqual(found, [.encoder, .denoiser, .denoiser, .decoder, .encoder, .encoder, .denoiser, .decoder])
    }

    func testItChangesTheFillAndNothingElse() async throws {
        var options = EditOptions()
        let inpainter = Inpainter(runner: FakeRunner(), shape: tiny)
        let twice = try await inpainter.inpaint(photo, mask: mask)
        options.refine = 0
        let single = try await inpainter.inpaint(photo, mask: mask, options: options)
        XCTAssertNotEqual(twice, single)
        let near = mask.grow(8)
        for i in mask.pixels.indices where !near.pixels[i] {
            XCTAssertEqual(twice.rgb.bytes[3 * i..<3 * i + 3], photo.rgb.bytes[3 * i..<3 * i + 3])
        }
    }

    func testNoTwoGraphsAreLoadedAtOnce() async throws {
        let runner = FakeRunner()
        var loaded: Set<Graph> = []
        runner.change = { graph, outputs in
            loaded.insert(graph)
            loaded.subtract(runner.released)
            runner.released = []
            XCTAssertEqual(loaded, [graph])
            return outputs
        }
        _ = try await Inpainter(runner: runner, shape: tiny).inpaint(photo, mask: mask)
        XCTAssertEqual(Set(runner.released), Set(Graph.allCases))
    }

    func testProgressCountsBothPasses() async throws {
        let seen = Seen()
        _ = try await Inpainter(runner: FakeRunner(), shape: tiny).inpaint(photo, mask: mask) { seen.add($0, $1) }
        XCTAssertEqual(seen.done, Array(1...34))
        XCTAssertEqual(Set(seen.totals), [34])
    }

    func testCancellingInTheSecondPass() async throws {
        let (photo, mask) = (self.photo, self.mask)
        for stop in [21, 22, 30, 33] {
            let runner = FakeRunner()
            runner.change = { _, outputs in
                if runner.calls.count == stop { withUnsafeCurrentTask { $0?.cancel() } }
                return outputs
            }
            let inpainter = Inpainter(runner: runner, shape: tiny)
            let task = Task { try await inpainter.inpaint(photo, mask: mask) }
            let found = await message { _ = try await task.value }
            XCTAssertEqual(found, "stopped after \(stop) of 34 graph runs")
            XCTAssertEqual(runner.calls.count, stop)
            XCTAssertEqual(Set(runner.released), Set(Graph.allCases))
        }
    }

    func testNaNInTheSecondPassIsAnError() async throws {
        let words = [
            22: "the encoder's latents contain NaN", 24: "the latents after step 1 of 10 contain NaN",
            34: "the decoder's picture contain NaN",
        ]
        for (run, start) in words {
            let runner = FakeRunner()
            runner.change = { _, outputs in
                runner.calls.count < run ? outputs : outputs.mapValues { (tensor: Tensor) -> Tensor in
                    Tensor(tensor.shape, tensor.values.map { _ in Float.nan })
                }
            }
            let inpainter = Inpainter(runner: runner, shape: tiny)
            let found = await message { _ = try await inpainter.inpaint(self.photo, mask: self.mask) }
            XCTAssertTrue(found.hasPrefix(start), found)
        }
    }

    func testATableOfAnUnknownSolverIsCutToo() async throws {
        let ddim = try Schedule.ddim(tiny.noise, steps: 20, strength: 0.99)
        let solver = ListedSolver(name: "of-tomorrow", schedule: ddim, steps: 20, strength: 0.99)
        let shape = ModelShape(resolution: 64, latentSize: 8, solver: solver)
        let known = try await Inpainter(runner: FakeRunner(), shape: tiny).inpaint(photo, mask: mask)
        let runner = FakeRunner()
        let found = try await Inpainter(runner: runner, shape: shape).inpaint(photo, mask: mask)
        XCTAssertEqual(found, known, "by the numbers of its rows")
        XCTAssertEqual(runner.calls, once + again)
    }
}
