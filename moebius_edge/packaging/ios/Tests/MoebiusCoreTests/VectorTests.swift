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
        let dilate: Int; let feather: Int; let margin: Double; let blend: String; let refine: Double
    }
    struct Corrected: Decodable { let side: Int; let surround: Data; let fill: Data; let hole: Data; let correction: [Float] }
    struct Pass: Decodable {
        let crop: Square; let picture: Data; let tensor: [Float]; let hole: Data; let latent_mask: [Float]; let result: Data
    }
    struct Edited: Decodable {
        let size: [Int]; let resolution: Int; let latent_size: Int; let options: Options; let photo: Data; let mask: Data
        let crop: Square; let picture: Data; let tensor: [Float]; let hole: Data; let latent_mask: [Float]; let result: Data
        let again: Pass?
        var first: Pass {
            Pass(crop: crop, picture: picture, tensor: tensor, hole: hole, latent_mask: latent_mask, result: result)
        }
    }
    let format: String
    let philox: [Philox]; let draws: [Drawn]; let schedules: [Scheduled]; let updates: [Update]
    let refines: [Refined]; let encodes: [Encode]; let starts: [Continued]
    let crops: [Cropped]; let grows: [Grown]; let feathers: [Feathered]; let resizes: [Resized]
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
        XCTAssertEqual(found.format, "moebius-edge-vectors-3")
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

    func testCrops() throws {
        let all = try vectors().crops
        XCTAssertTrue(all.contains { $0.closer != nil }, "no square has a closer one")
        for vector in all {
            let box = Box(left: vector.box[0], top: vector.box[1], right: vector.box[2], bottom: vector.box[3])
            let (width, height) = (vector.size[0], vector.size[1])
            let found = try Crop.choose(
                around: box, width: width, height: height, resolution: vector.resolution, margin: vector.margin,
                feather: vector.feather)
            XCTAssertEqual(found, vector.crop.crop)
            let closer = found.closer(
                around: box, width: width, height: height, resolution: vector.resolution, feather: vector.feather)
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
        XCTAssertTrue(all.contains { $0.again != nil }, "no edit has a second pass")
        for vector in all {
            let (width, height, n) = (vector.size[0], vector.size[1], vector.resolution)
            var options = EditOptions()
            options.dilate = vector.options.dilate
            options.feather = vector.options.feather
            options.margin = vector.options.margin
            options.refine = vector.options.refine
            options.blend = try XCTUnwrap(EditOptions.Blend(rawValue: vector.options.blend))
            let photo = Photo(rgb: Picture(width: width, height: height, channels: 3, bytes: Array(vector.photo)))
            let edit = try Edit(
                photo: photo, mask: mask(vector.size, vector.mask), resolution: n, latentSize: vector.latent_size,
                options: options)
            let values: [Float] = (0..<3 * n * n).map { Float(37 * $0 % 101) / 100 }
            let decoded = Tensor([1, 3, n, n], values)
            check(edit, vector.first, decoded)
            let closer = edit.closer()
            XCTAssertEqual(closer, vector.again?.crop.crop)
            if let closer = closer, let truth = vector.again {
                let again = try edit.refined(decoded, closer)
                check(again, truth, decoded)
                XCTAssertNil(again.closer())
            }
        }
    }

    private func check(_ edit: Edit, _ truth: Vectors.Pass, _ decoded: Tensor) {
        let n = edit.picture.width
        XCTAssertEqual(edit.crop, truth.crop.crop)
        XCTAssertEqual(edit.picture.bytes, Array(truth.picture))
        XCTAssertEqual(edit.hole, mask([n, n], truth.hole))
        func rows(_ image: Tensor) -> [Float] { (0..<3).flatMap { image.values[$0 * n * n..<$0 * n * n + 8] } }
        equal(rows(edit.image), truth.tensor)
        equal(rows(edit.maskedImage), truth.tensor.indices.map { edit.hole.pixels[$0 % 8] ? 0 : truth.tensor[$0] })
        XCTAssertEqual(edit.latentMask.values, truth.latent_mask)
        XCTAssertEqual(edit.finish(decoded).rgb.bytes, Array(truth.result))
    }
}
