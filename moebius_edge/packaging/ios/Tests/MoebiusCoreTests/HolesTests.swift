import MoebiusCore
import XCTest

/// Several holes in one photo, and pixels whose colours mean nothing.
final class HolesTests: XCTestCase {
    private let photo = smooth(300, 80)
    /// The square of the first hole is coarse, so it has a second pass; that of the second one is not.
    private let boxes = [
        Box(left: 10, top: 20, right: 26, bottom: 36), Box(left: 240, top: 20, right: 280, bottom: 60),
    ]
    private var mask: Mask { boxed(300, 80, boxes) }

    private func filled(
        _ photo: Photo, _ mask: Mask, _ runner: FakeRunner = FakeRunner(),
        _ change: (inout EditOptions) -> Void = { _ in }
    ) async throws -> Photo {
        var options = EditOptions()
        change(&options)
        return try await Inpainter(runner: runner, shape: tiny).inpaint(photo, mask: mask, options: options)
    }

    func testEveryHoleIsFilledAsIfItWereAlone() async throws {
        let found = try await filled(photo, mask)
        var one = photo
        for box in boxes.reversed() { one = try await filled(one, boxed(300, 80, [box])) }
        XCTAssertNotEqual(found, photo)
        XCTAssertEqual(found, one)
    }

    func testAGraphIsLoadedOnceAPassForAllHoles() async throws {
        func runs(_ graph: Graph, _ count: Int) -> [Graph] { [Graph](repeating: graph, count: count) }
        var runner = FakeRunner()
        _ = try await filled(photo, mask, runner)
        let first = runs(.encoder, 2) + runs(.denoiser, 38) + runs(.decoder, 2)
        XCTAssertEqual(runner.calls, first + runs(.encoder, 2) + runs(.denoiser, 10) + runs(.decoder, 1))
        XCTAssertEqual(Array(runner.released.prefix(6)), Graph.allCases + Graph.allCases)
        runner = FakeRunner()
        let together = try await filled(photo, mask, runner) { $0.together = true }
        XCTAssertEqual(runner.calls, runs(.encoder, 1) + runs(.denoiser, 19) + runs(.decoder, 1))
        let apart = try await filled(photo, mask)
        XCTAssertNotEqual(together, apart)
    }

    func testProgressCountsTheRunsOfAllHoles() async throws {
        let seen = Seen()
        _ = try await Inpainter(runner: FakeRunner(), shape: tiny).inpaint(photo, mask: mask) { seen.add($0, $1) }
        XCTAssertEqual(seen.done, Array(1...55))
        XCTAssertEqual(Set(seen.totals), [55])
    }

    func testCancellingBetweenHoles() async throws {
        let (photo, mask) = (self.photo, self.mask)
        for stop in [1, 21, 41, 42, 54] {
            let runner = FakeRunner()
            runner.change = { _, outputs in
                if runner.calls.count == stop { withUnsafeCurrentTask { $0?.cancel() } }
                return outputs
            }
            let inpainter = Inpainter(runner: runner, shape: tiny)
            let task = Task { try await inpainter.inpaint(photo, mask: mask) }
            let found = await message { _ = try await task.value }
            XCTAssertEqual(found, "stopped after \(stop) of 55 graph runs")
            XCTAssertEqual(Set(runner.released), Set(Graph.allCases))
        }
    }

    /// Of scattered specks: the boxes hold them all, and what their squares cover of the photo never overlaps.
    func testHolesHoldEverySpeckAndNeverSeeEachOther() throws {
        let (width, height) = (420, 260)
        for seed in 0..<40 {
            let noise = PortableNoise(seed: UInt64(seed)).normal(.latents, count: width * height)
            let rare = Float(3.6 + 0.02 * Double(seed))
            let mask = Mask(width: width, height: height, pixels: noise.map { $0 > rare })
            let holes = mask.holes(resolution: 32, margin: 0.25, feather: 2)
            for i in mask.pixels.indices where mask.pixels[i] {
                let (x, y) = (i % width, i / width)
                let around = holes.filter { ($0.left..<$0.right).contains(x) && ($0.top..<$0.bottom).contains(y) }
                XCTAssertEqual(around.count, 1)
            }
            var taken = Set<Int>()
            for hole in holes {
                let crop = try Crop.choose(
                    around: hole, width: width, height: height, resolution: 32, margin: 0.25, feather: 2)
                for y in max(crop.top, 0)..<min(crop.top + crop.side, height) {
                    for x in max(crop.left, 0)..<min(crop.left + crop.side, width) {
                        XCTAssertTrue(taken.insert(y * width + x).inserted, "two squares overlap")
                    }
                }
            }
            XCTAssertEqual(holes.isEmpty, !mask.pixels.contains(true))
        }
    }

    /// `photo` with this alpha and other colours where `clear` says so.
    private func painted(_ photo: Photo, _ alpha: [UInt8], _ colour: UInt8, where clear: (Int) -> Bool) -> Photo {
        var result = photo
        result.alpha = Picture(width: photo.rgb.width, height: photo.rgb.height, channels: 1, bytes: alpha)
        for i in alpha.indices where clear(i) { for c in 0..<3 { result.rgb.bytes[3 * i + c] = colour } }
        return result
    }

    func testColoursUnderFullTransparencyAreNotSeenAndStay() async throws {
        let (photo, mask) = example(120, 100)
        let alpha: [UInt8] = (0..<120 * 100).map { $0 % 120 < 40 ? 0 : 1 }  // the hole reaches into what is clear
        let dark = try await filled(painted(photo, alpha, 0) { alpha[$0] == 0 }, mask)
        let light = try await filled(painted(photo, alpha, 255) { alpha[$0] == 0 }, mask)
        XCTAssertEqual(dark.alpha?.bytes, alpha)
        var changed = 0
        for i in alpha.indices {
            let (found, other) = (dark.rgb.bytes[3 * i..<3 * i + 3], light.rgb.bytes[3 * i..<3 * i + 3])
            XCTAssertEqual(Array(other), alpha[i] == 0 ? [255, 255, 255] : Array(found))
            if alpha[i] == 0 { XCTAssertEqual(Array(found), [0, 0, 0]) }
            if alpha[i] != 0 && found != photo.rgb.bytes[3 * i..<3 * i + 3] { changed += 1 }
        }
        XCTAssertGreaterThan(changed, 100)
    }

    func testInASmallPhotoNothingOfWhatIsRemovedIsSeen() async throws {
        let photo = smooth(40, 36)
        let mask = boxed(40, 36, [Box(left: 14, top: 12, right: 24, bottom: 20)])
        let alpha = [UInt8](repeating: 255, count: 40 * 36)
        let dark = try await filled(painted(photo, alpha, 0) { mask.pixels[$0] }, mask)
        let light = try await filled(painted(photo, alpha, 255) { mask.pixels[$0] }, mask)
        XCTAssertEqual(dark, light)
    }

    func testWhatCannotBeSeenIsRefused() async throws {
        let photo = smooth(40, 36)
        let mask = boxed(40, 36, [Box(left: 14, top: 12, right: 24, bottom: 20)])
        func refused(_ alpha: [UInt8]) async -> String {
            let runner = FakeRunner()
            let cutOut = painted(photo, alpha, 9) { _ in false }
            let found = await message { _ = try await self.filled(cutOut, mask, runner) }
            XCTAssertEqual(runner.calls, [])
            return found
        }
        var found = await refused(mask.pixels.map { $0 ? 0 : 255 })
        XCTAssertTrue(found.hasPrefix("the mask covers only pixels that are fully transparent"), found)
        found = await refused(mask.pixels.map { $0 ? 255 : 0 })
        XCTAssertTrue(found.hasPrefix("everything around the mask is fully transparent"), found)
    }
}
