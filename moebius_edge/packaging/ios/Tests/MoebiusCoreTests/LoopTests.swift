import MoebiusCore
import XCTest

final class LoopTests: XCTestCase {
    private func inpainter(_ runner: FakeRunner) -> Inpainter { Inpainter(runner: runner, shape: tiny) }

    func testAnEditChangesTheHoleAlone() async throws {
        let (photo, mask) = example()
        let runner = FakeRunner()
        let found = try await inpainter(runner).inpaint(photo, mask: mask)
        let near = mask.grow(8)
        let changed = mask.pixels.indices.filter { (i: Int) -> Bool in
            let bytes = 3 * i..<3 * i + 3
            return photo.rgb.bytes[bytes] != found.rgb.bytes[bytes]
        }
        XCTAssertGreaterThan(changed.count, 200)
        XCTAssertTrue(changed.allSatisfy { near.pixels[$0] })
        XCTAssertEqual(runner.calls, [.encoder] + [Graph](repeating: .denoiser, count: 19) + [.decoder])
        XCTAssertEqual(Array(runner.released.prefix(2)), [.encoder, .denoiser])
    }

    func testTheSeedDecides() async throws {
        let (photo, mask) = example()
        var other = EditOptions()
        other.seed = 1
        let first = try await inpainter(FakeRunner()).inpaint(photo, mask: mask)
        let again = try await inpainter(FakeRunner()).inpaint(photo, mask: mask)
        let second = try await inpainter(FakeRunner()).inpaint(photo, mask: mask, options: other)
        XCTAssertEqual(first, again)
        XCTAssertNotEqual(first, second)
    }

    func testFullStrengthEncodesTheMaskedPictureAlone() async throws {
        let (photo, mask) = example()
        var options = EditOptions()
        (options.steps, options.strength) = (2, 1)
        let runner = FakeRunner()
        _ = try await inpainter(runner).inpaint(photo, mask: mask, options: options)
        XCTAssertEqual(runner.calls, [.encoder, .denoiser, .denoiser, .decoder])
    }

    func testAlphaAndGreyAreKept() async throws {
        var (photo, mask) = example()
        let count = mask.pixels.count
        let alpha: [UInt8] = (0..<count).map { UInt8($0 & 255) }
        photo.alpha = Picture(width: mask.width, height: mask.height, channels: 1, bytes: alpha)
        photo.grey = true
        photo.rgb.bytes = alpha.flatMap { [UInt8](repeating: $0, count: 3) }
        let found = try await inpainter(FakeRunner()).inpaint(photo, mask: mask)
        XCTAssertEqual(found.alpha, photo.alpha)
        for i in 0..<count { XCTAssertEqual(found.rgb.bytes[3 * i], found.rgb.bytes[3 * i + 2]) }
        XCTAssertEqual(found.rgb.bytes[0..<300], photo.rgb.bytes[0..<300])
    }

    func testProgressCountsEveryRun() async throws {
        let (photo, mask) = example()
        let seen = Seen()
        _ = try await inpainter(FakeRunner()).inpaint(photo, mask: mask) { seen.add($0, $1) }
        XCTAssertEqual(seen.done, Array(1...21))
        XCTAssertEqual(Set(seen.totals), [21])
    }

    func testCancellingEndsTheEditBetweenTwoRuns() async throws {
        let (photo, mask) = example()
        let runner = FakeRunner()
        runner.change = { _, outputs in
            if runner.calls.count == 5 { withUnsafeCurrentTask { $0?.cancel() } }
            return outputs
        }
        let inpainter = inpainter(runner)
        let task = Task { try await inpainter.inpaint(photo, mask: mask) }
        let found = await message { _ = try await task.value }
        XCTAssertEqual(found, "stopped after 5 of 21 graph runs")
        XCTAssertEqual(runner.calls.count, 5)
        XCTAssertEqual(Set(runner.released), Set(Graph.allCases))
        runner.change = { $1 }
        _ = try await inpainter.inpaint(photo, mask: mask)  // and the next one runs
    }

    func testASecondEditAtTheSameTimeIsRefused() async throws {
        let (photo, mask) = example()
        let runner = FakeRunner()
        let inpainter = inpainter(runner)
        var second = ""
        runner.change = { _, outputs in
            if runner.calls.count == 1 {
                second = await message { _ = try await inpainter.inpaint(photo, mask: mask) }
            }
            return outputs
        }
        _ = try await inpainter.inpaint(photo, mask: mask)
        XCTAssertEqual(second, "another photo is being edited; wait for it, or cancel it")
    }

    func testNaNFromAGraphIsAnError() async throws {
        let (photo, mask) = example()
        let words: [Graph: String] = [
            .encoder: "the encoder's latents contain NaN", .denoiser: "the latents after step 1 of 19 contain NaN",
            .decoder: "the decoder's picture contain NaN",
        ]
        for graph in Graph.allCases {
            let runner = FakeRunner()
            runner.change = { name, outputs in
                guard name == graph else { return outputs }
                return outputs.mapValues { (tensor: Tensor) -> Tensor in
                    var broken = tensor
                    broken.values[0] = .nan
                    return broken
                }
            }
            let found = await message { _ = try await self.inpainter(runner).inpaint(photo, mask: mask) }
            XCTAssertTrue(found.hasPrefix(words[graph]!), found)
        }
    }

    func testAGraphOfAnotherShapeIsAnError() async throws {
        let (photo, mask) = example()
        let runner = FakeRunner()
        runner.change = { graph, outputs in graph == .denoiser ? ["noise": Tensor([1], [0])] : outputs }
        var found = await message { _ = try await self.inpainter(runner).inpaint(photo, mask: mask) }
        XCTAssertTrue(found.hasPrefix("the denoiser gave noise of shape [1]; expected shape [1, 4, 8, 8]"), found)
        runner.change = { _, _ in [:] }
        found = await message { _ = try await self.inpainter(runner).inpaint(photo, mask: mask) }
        XCTAssertTrue(found.hasPrefix("the encoder gave no mean"), found)
    }

    func testPhotosAndMasksThatCannotBeUsed() async throws {
        let (photo, mask) = example()
        func refused(_ photo: Photo, _ mask: Mask, _ options: EditOptions = EditOptions()) async -> String {
            let runner = FakeRunner()
            let found = await message { _ = try await self.inpainter(runner).inpaint(photo, mask: mask, options: options) }
            XCTAssertEqual(runner.calls, [])
            return found
        }
        func all(_ value: Bool) -> Mask { Mask(width: 80, height: 72, pixels: [Bool](repeating: value, count: 80 * 72)) }
        var found = await refused(photo, all(false))
        XCTAssertTrue(found.hasPrefix("the mask is empty"), found)
        found = await refused(photo, all(true))
        XCTAssertTrue(found.hasPrefix("the mask covers the whole photo"), found)
        found = await refused(example(82, 72).photo, mask)
        XCTAssertTrue(found.hasPrefix("the mask is 80x72 pixels and the photo 82x72"), found)
        let small = Picture(width: 7, height: 9, channels: 3, bytes: [UInt8](repeating: 0, count: 189))
        found = await refused(Photo(rgb: small), Mask(width: 7, height: 9, pixels: [true] + [Bool](repeating: false, count: 62)))
        XCTAssertEqual(found, "the photo is 7x9 pixels; at least 8x8 are needed")
        var options = EditOptions()
        options.dilate = 100
        found = await refused(photo, mask, options)
        XCTAssertEqual(found, "grown by 100 pixels, the mask covers the whole photo; dilate less")
        var most = all(true)
        for i in 0..<80 { most.pixels[i] = false }  // one row is left, and the model's hole grows over it
        found = await refused(photo, most)
        XCTAssertTrue(found.hasPrefix("the mask, with its dilation, leaves nothing around it"), found)
    }

    func testOptionsOutOfRange() async throws {
        let (photo, mask) = example()
        let changes: [(String, (inout EditOptions) -> Void)] = [
            ("steps is 0", { $0.steps = 0 }), ("steps is 1001", { $0.steps = 1001 }),
            ("strength is 0.0", { $0.strength = 0 }), ("strength is nan", { $0.strength = .nan }),
            ("1 steps at strength 0.5", { ($0.steps, $0.strength) = (1, 0.5) }),
            ("guidance is inf", { $0.guidance = .infinity }), ("margin is 5.0", { $0.margin = 5 }),
            ("feather is -1.0", { $0.feather = -1 }), ("dilate is 5000.0", { $0.dilate = 5000 }),
            ("noiseOffset is nan", { $0.noiseOffset = .nan }), ("refine is 1.5", { $0.refine = 1.5 }),
            ("refine is -0.1", { $0.refine = -0.1 }), ("refine is nan", { $0.refine = .nan }),
        ]
        for (start, change) in changes {
            var options = EditOptions()
            change(&options)
            let chosen = options
            let found = await message { _ = try await self.inpainter(FakeRunner()).inpaint(photo, mask: mask, options: chosen) }
            XCTAssertTrue(found.hasPrefix(start), found)
        }
    }

    func testALongThinMaskNeedsTooLargeASquare() async throws {
        let box = Box(left: 0, top: 0, right: 20_000, bottom: 10)
        let found = await message {
            _ = try Crop.choose(around: box, width: 20_000, height: 600, resolution: 512, margin: 0.25, feather: 8)
        }
        XCTAssertTrue(found.hasPrefix("the mask spans 20000 pixels and needs a square of 20000"), found)
    }
}

/// What a progress callback saw.
final class Seen: @unchecked Sendable {
    private(set) var done: [Int] = []
    private(set) var totals: [Int] = []

    func add(_ done: Int, _ total: Int) {
        self.done.append(done)
        totals.append(total)
    }
}
