import Foundation
import MoebiusCore
import XCTest

/// vectors.json: what the Python code computes (docs/loop.md of moebius-edge).
private struct Vectors: Decodable {
    struct Philox: Decodable { let seed: String; let stream: UInt32; let block: UInt32; let words: [UInt32]; let numbers: [Float] }
    struct Drawn: Decodable {
        let seed: String; let latent_size: Int; let noise_offset: Double
        let masked_image: [Float]; let latents: [Float]
    }
    struct Scheduled: Decodable { let steps: Int; let strength: Double; let start: Start; let coefficients: [Step] }
    struct Update: Decodable { let coefficients: [Step]; let latents: [Float]; let noise: [Float]; let result: [Float] }
    struct Refined: Decodable { let coefficients: [Step]; let refine: Double; let start: Start; let result: [Step] }
    struct Continued: Decodable { let latent_size: Int; let hole: Data; let latents: [Float]; let result: [Float] }
    struct Encode: Decodable {
        let mean: [Float]; let std: [Float]; let noise: [Float]; let latents: [Float]; let start: [Float]
        let sqrt_alpha_bar: Double; let sqrt_one_minus_alpha_bar: Double
    }
    struct Square: Decodable {
        let left: Int; let top: Int; let side: Int
        var crop: Crop { Crop(left: left, top: top, side: side) }
    }
    struct Cropped: Decodable {
        let box: [Int]; let size: [Int]; let resolution: Int; let margin: Double; let feather: Int; let crop: Square
        let closer: Square?
    }
    struct Grown: Decodable { let size: [Int]; let mask: Data; let radius: Int; let grown: Data }
    struct Feathered: Decodable { let size: [Int]; let mask: Data; let feather: Int; let opacity: [Float] }
    struct Resized: Decodable {
        let size: [Int]; let to: [Int]; let filter: String; let channels: Int; let pixels: Data; let result: Data
    }
    struct Options: Decodable {
        let dilate: Int; let feather: Int; let margin: Double; let together: Bool; let blend: String; let refine: Double
        var options: EditOptions {
            var options = EditOptions()
            (options.dilate, options.feather, options.margin) = (dilate, feather, margin)
            (options.together, options.refine, options.blend) = (together, refine, EditOptions.Blend(rawValue: blend)!)
            return options
        }
    }
    struct Corrected: Decodable { let side: Int; let surround: Data; let fill: Data; let hole: Data; let correction: [Float] }
    struct Pass: Decodable {
        let crop: Square; let picture: Data; let tensor: [Float]; let hole: Data; let latent_mask: [Float]
    }
    struct Hole: Decodable {
        let crop: Square; let picture: Data; let tensor: [Float]; let hole: Data; let latent_mask: [Float]
        let again: Pass?
        var first: Pass { Pass(crop: crop, picture: picture, tensor: tensor, hole: hole, latent_mask: latent_mask) }
    }
    struct Edited: Decodable {
        let size: [Int]; let resolution: Int; let latent_size: Int; let options: Options
        let photo: Data; let alpha: Data?; let mask: Data; let holes: [Hole]; let once: Data; let result: Data
    }
    struct Grouped: Decodable {
        let size: [Int]; let boxes: [[Int]]; let resolution: Int; let margin: Double; let feather: Int; let holes: [[Int]]
    }
    let format: String
    let philox: [Philox]; let draws: [Drawn]; let schedules: [Scheduled]; let updates: [Update]
    let refines: [Refined]; let encodes: [Encode]; let starts: [Continued]
    let holes: [Grouped]; let crops: [Cropped]; let grows: [Grown]; let feathers: [Feathered]; let resizes: [Resized]
    let corrections: [Corrected]; let edits: [Edited]
}

final class VectorTests: XCTestCase {
    private static var loaded: Vectors?

    private func vectors() throws -> Vectors {
        if let known = VectorTests.loaded { return known }
        let file = try XCTUnwrap(
            Bundle.module.url(forResource: "vectors", withExtension: "json"),
            "vectors.json is not there: make the package with `moebius-edge package`")
        let found = try JSONDecoder().decode(Vectors.self, from: Data(contentsOf: file))
        XCTAssertEqual(found.format, "moebius-edge-vectors-4")
        VectorTests.loaded = found
        return found
    }

    private func equal(_ found: [Float], _ truth: [Float], line: UInt = #line) {
        XCTAssertEqual(found.count, truth.count, line: line)
        XCTAssertFalse(truth.isEmpty, line: line)
        let worst = zip(found, truth).map { abs($0 - $1) }.max() ?? 0
        XCTAssertLessThanOrEqual(worst, 1e-6, line: line)
    }

    /// The vectors of a part; there is at least one.
    private func some<Vector>(_ part: [Vector], line: UInt = #line) -> [Vector] {
        XCTAssertFalse(part.isEmpty, line: line)
        return part
    }

    private func seed(_ text: String) -> UInt64 { UInt64(text.dropFirst(2), radix: 16)! }

    private func mask(_ size: [Int], _ data: Data) -> Mask { Mask(width: size[0], height: size[1], pixels: data.map { $0 != 0 }) }

    func testPhilox() throws {
        let all = try vectors().philox
        XCTAssertGreaterThan(all.count, 50)
        for vector in all {
            let noise = PortableNoise(seed: seed(vector.seed))
            let words = noise.words(Stream(rawValue: vector.stream), block: vector.block)
            XCTAssertEqual([words.0, words.1, words.2, words.3], vector.words)
            let numbers = noise.normal(Stream(rawValue: vector.stream), block: vector.block)
            equal([numbers.0, numbers.1, numbers.2, numbers.3], vector.numbers)
        }
    }

    func testKnownAnswersOfRandom123() {
        let ones = UInt32.max
        let all = philox4x32(counter: (ones, ones, ones, ones), key: (ones, ones))
        XCTAssertEqual([all.0, all.1, all.2, all.3], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd])
    }

    func testDraws() throws {
        for vector in try some(vectors().draws) {
            let draws = Draws(seed: seed(vector.seed), latentSize: vector.latent_size, noiseOffset: vector.noise_offset)
            equal(draws.maskedImage.values, vector.masked_image)
            equal(draws.latents.values, vector.latents)
        }
    }

    func testSchedules() throws {
        for vector in try some(vectors().schedules) {
            let found = try Schedule.ddim(NoiseSchedule(), steps: vector.steps, strength: vector.strength)
            equal(found, vector.start, vector.coefficients)
        }
    }

    func testRefines() throws {
        let all = try vectors().refines
        XCTAssertTrue(all.contains { $0.coefficients[$0.coefficients.count - $0.result.count].c != 0 }, "no memory is cut")
        for vector in all {
            let whole = Schedule(start: vector.start, steps: vector.coefficients)
            let found = try XCTUnwrap(whole.refining(NoiseSchedule(), strength: vector.refine))
            equal(found, vector.start, vector.result)
        }
    }

    private func equal(_ found: Schedule, _ start: Start, _ rows: [Step], line: UInt = #line) {
        XCTAssertEqual(found.start.timestep, start.timestep, line: line)
        XCTAssertEqual(found.start.sqrtAlphaBar, start.sqrtAlphaBar, accuracy: 1e-12, line: line)
        XCTAssertEqual(found.start.sqrtOneMinusAlphaBar, start.sqrtOneMinusAlphaBar, accuracy: 1e-12, line: line)
        XCTAssertEqual(found.steps.map(\.timestep), rows.map(\.timestep), line: line)
        for (step, truth) in zip(found.steps, rows) {
            for number in [\Step.a, \.b, \.c, \.p, \.q] {
                XCTAssertEqual(step[keyPath: number], truth[keyPath: number], accuracy: 1e-12, line: line)
            }
        }
    }

    func testUpdatesAndEncodes() throws {
        func tensor(_ values: [Float]) -> Tensor { Tensor([values.count], values) }
        let tables = try vectors().updates
        XCTAssertTrue(tables.contains { $0.coefficients.filter { $0.c != 0 }.count > 1 }, "no table has memory")
        for vector in tables {
            let size = vector.latents.count
            var (latents, estimate) = (tensor(vector.latents), tensor([Float](repeating: 0, count: size)))
            XCTAssertEqual(vector.result.count, size * vector.coefficients.count)
            for (row, step) in vector.coefficients.enumerated() {
                let part = row * size..<(row + 1) * size
                (latents, estimate) = update(step, latents, noise: tensor(Array(vector.noise[part])), estimate: estimate)
                equal(latents.values, Array(vector.result[part]))
            }
        }
        for vector in try some(vectors().encodes) {
            let draw = tensor(vector.noise)
            let latents = sample(mean: tensor(vector.mean), std: tensor(vector.std), draw: draw)
            equal(latents.values, vector.latents)
            let start = Start(
                timestep: 0, sqrtAlphaBar: vector.sqrt_alpha_bar, sqrtOneMinusAlphaBar: vector.sqrt_one_minus_alpha_bar)
            equal(startLatents(start, noise: draw, under: latents).values, vector.start)
        }
    }

    func testStarts() throws {
        for vector in try some(vectors().starts) {
            let size = vector.latent_size
            let latents = Tensor([1, 4, size, size], vector.latents)
            equal(continued(latents, into: mask([size, size], vector.hole)).values, vector.result)
        }
    }

    private func box(_ sides: [Int]) -> Box { Box(left: sides[0], top: sides[1], right: sides[2], bottom: sides[3]) }

    func testHoles() throws {
        let all = try vectors().holes
        XCTAssertTrue(all.contains { $0.holes.count > 1 }, "no holes are far apart")
        for vector in all {
            let mask = boxed(vector.size[0], vector.size[1], vector.boxes.map(box))
            let found = mask.holes(resolution: vector.resolution, margin: vector.margin, feather: vector.feather)
            XCTAssertEqual(found, vector.holes.map(box))
        }
    }

    func testCrops() throws {
        let all = try vectors().crops
        XCTAssertTrue(all.contains { $0.closer != nil }, "no square has a closer one")
        for vector in all {
            let (width, height) = (vector.size[0], vector.size[1])
            let found = try Crop.choose(
                around: box(vector.box), width: width, height: height, resolution: vector.resolution, margin: vector.margin,
                feather: vector.feather)
            XCTAssertEqual(found, vector.crop.crop)
            let closer = found.closer(
                around: box(vector.box), width: width, height: height, resolution: vector.resolution, feather: vector.feather)
            XCTAssertEqual(closer, vector.closer?.crop)
        }
    }

    func testGrowsAndFeathers() throws {
        for vector in try some(vectors().grows) {
            XCTAssertEqual(mask(vector.size, vector.mask).grow(vector.radius), mask(vector.size, vector.grown))
        }
        for vector in try some(vectors().feathers) {
            equal(mask(vector.size, vector.mask).feathered(vector.feather), vector.opacity)
        }
    }

    func testResizes() throws {
        for vector in try some(vectors().resizes) {
            let picture = Picture(
                width: vector.size[0], height: vector.size[1], channels: vector.channels, bytes: Array(vector.pixels))
            let filter = try XCTUnwrap(ResizeFilter(rawValue: vector.filter))
            let found = picture.resized(width: vector.to[0], height: vector.to[1], filter: filter)
            XCTAssertEqual(found.bytes, Array(vector.result))
        }
    }

    func testCorrections() throws {
        for vector in try some(vectors().corrections) {
            let side = vector.side
            let surround = Picture(width: side, height: side, channels: 3, bytes: Array(vector.surround))
            let fill = vector.fill.map { Double($0) }
            let found = correction(surround: surround, fill: fill, hole: mask([side, side], vector.hole))
            XCTAssertEqual(found.count, vector.correction.count)
            let worst = zip(found, vector.correction).map { abs($0 - Double($1)) }.max() ?? 0
            XCTAssertLessThanOrEqual(worst, 1e-4)
        }
    }

    func testEdits() throws {
        let all = try vectors().edits
        XCTAssertTrue(all.contains { $0.holes.contains { $0.again != nil } }, "no edit has a second pass")
        XCTAssertTrue(all.contains { $0.holes.count > 1 }, "no edit has two holes")
        XCTAssertTrue(all.contains { $0.alpha != nil }, "no photo is transparent")
        for vector in all {
            let n = vector.resolution
            let decoded = Tensor([1, 3, n, n], (0..<3 * n * n).map { Float(37 * $0 % 101) / 100 })
            func picture(_ bytes: Data, _ channels: Int) -> Picture {
                Picture(width: vector.size[0], height: vector.size[1], channels: channels, bytes: Array(bytes))
            }
            let photo = Photo(rgb: picture(vector.photo, 3), alpha: vector.alpha.map { picture($0, 1) })
            var once = try Edits(
                photo: photo, mask: mask(vector.size, vector.mask), resolution: n, latentSize: vector.latent_size,
                options: vector.options.options)
            var twice = once
            XCTAssertEqual(once.first.count, vector.holes.count)
            for (edit, truth) in zip(once.first, vector.holes) {
                check(edit, truth.first)
                once.finish(edit, edit.fill(decoded))
                XCTAssertEqual(edit.closer, truth.again?.crop.crop)
                guard let closer = edit.closer, let second = truth.again else {
                    twice.finish(edit, edit.fill(decoded))
                    continue
                }
                let again = try twice.refine(edit, edit.fill(decoded), closer)
                check(again, second)
                XCTAssertNil(again.closer)
                twice.finish(again, again.fill(decoded))
            }
            XCTAssertEqual(once.photo, Photo(rgb: picture(vector.once, 3), alpha: photo.alpha))
            XCTAssertEqual(twice.photo, Photo(rgb: picture(vector.result, 3), alpha: photo.alpha))
        }
    }

    private func check(_ edit: Edit, _ truth: Vectors.Pass) {
        let n = edit.picture.width
        XCTAssertEqual(edit.crop, truth.crop.crop)
        XCTAssertEqual(edit.picture.bytes, Array(truth.picture))
        XCTAssertEqual(edit.hole, mask([n, n], truth.hole))
        func rows(_ image: Tensor) -> [Float] { (0..<3).flatMap { image.values[$0 * n * n..<$0 * n * n + 8] } }
        equal(rows(edit.image), truth.tensor)
        equal(rows(edit.maskedImage), truth.tensor.indices.map { edit.hole.pixels[$0 % 8] ? 0 : truth.tensor[$0] })
        XCTAssertEqual(edit.latentMask.values, truth.latent_mask)
    }
}
