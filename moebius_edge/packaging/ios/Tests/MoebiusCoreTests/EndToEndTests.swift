import Foundation
import MoebiusCore
import XCTest

/// Graphs that another process computes: names and tensors over two pipes, in a form that both sides read easily.
///
/// A message is a line `GRAPH COUNT`, then per tensor a line `NAME SIZE SIZE ...` and its float32 numbers.
private final class PipedRunner: GraphRunner {
    private let requests: FileHandle
    private let answers: FileHandle

    init(_ folder: URL) throws {
        requests = try FileHandle(forWritingTo: folder.appendingPathComponent("requests"))
        answers = try FileHandle(forReadingFrom: folder.appendingPathComponent("answers"))
    }

    func run(_ graph: Graph, _ inputs: [String: Tensor]) async throws -> [String: Tensor] {
        var data = Data("\(graph.rawValue) \(inputs.count)\n".utf8)
        for (name, tensor) in inputs {
            data += Data("\(name) \(tensor.shape.map(String.init).joined(separator: " "))\n".utf8) + raw(tensor.values)
        }
        try requests.write(contentsOf: data)
        let count = Int(try line().split(separator: " ")[1])!
        var outputs: [String: Tensor] = [:]
        for _ in 0..<count {
            let words = try line().split(separator: " ")
            let shape = words.dropFirst().map { Int($0)! }
            let bytes = try read(4 * shape.reduce(1, *))
            let values = [Float](unsafeUninitializedCapacity: bytes.count / 4) { buffer, filled in
                filled = bytes.copyBytes(to: buffer) / 4
            }
            outputs[String(words[0])] = Tensor(shape, values)
        }
        return outputs
    }

    func end() throws { try requests.close() }

    private func line() throws -> String {
        var text = Data()
        while true {
            let byte = try read(1)
            if byte[byte.startIndex] == 10 { return String(decoding: text, as: UTF8.self) }
            text += byte
        }
    }

    private func read(_ count: Int) throws -> Data {
        var data = Data()
        while data.count < count {
            guard let more = try answers.read(upToCount: count - data.count), !more.isEmpty else {
                throw InpaintError.engine("the other process ended")
            }
            data += more
        }
        return data
    }
}

/// A whole edit with real graphs equals Python's. Runs when MOEBIUS_EDIT names a folder with a package (`app.json`,
/// `model/`), the pipes `requests` and `answers`, and `edit.safetensors`: `photo`, `alpha`, `mask`, `result` as bytes.
final class EndToEndTests: XCTestCase {
    func testAnEditEqualsPythons() async throws {
        guard let path = ProcessInfo.processInfo.environment["MOEBIUS_EDIT"] else {
            throw XCTSkip("MOEBIUS_EDIT names no folder; tests/packaging/test_ios.py of moebius-edge sets it")
        }
        let folder = URL(fileURLWithPath: path, isDirectory: true)
        let (app, bundle) = try AppDescription.open(folder)
        try bundle.checkContents()
        let file = try TensorFile(Data(contentsOf: folder.appendingPathComponent("edit.safetensors")), name: "edit")
        let (width, height) = (320, 288)
        func picture(_ name: String, _ channels: Int) throws -> Picture {
            let bytes = try file.bytes(name, [height, width] + (channels == 1 ? [] : [channels]))
            return Picture(width: width, height: height, channels: channels, bytes: bytes)
        }
        let photo = Photo(rgb: try picture("photo", 3), alpha: try picture("alpha", 1))
        let mask = Mask(bright: try picture("mask", 1))
        let truth = try picture("result", 3).bytes

        let runner = try PipedRunner(folder)
        defer { try? runner.end() }
        let inpainter = Inpainter(runner: runner, manifest: bundle.manifest)
        var options = inpainter.defaults
        (options.steps, options.seed, options.dilate, options.margin) = (4, 7, 3, 0.5)
        let found = try await inpainter.inpaint(photo, mask: mask, options: options).rgb.bytes
        let worst: Int = zip(found, truth).map { abs(Int($0) - Int($1)) }.max()!
        XCTAssertLessThanOrEqual(worst, 1)
        let differ: Int = zip(found, truth).filter { $0 != $1 }.count
        XCTAssertLessThan(differ, 100)
        let touched: Int = zip(photo.rgb.bytes, truth).filter { $0 != $1 }.count
        XCTAssertGreaterThan(touched, 5_000)

        let report = try await selfTest(
            try bundle.capsule(), runner: runner, shape: bundle.manifest.shape, thresholds: app.thresholds)
        print("differing bytes: \(differ), largest difference: \(worst)")
        print("self-test: \(report)")
        XCTAssertTrue(report.ok, report.failures(app.thresholds))
    }
}
