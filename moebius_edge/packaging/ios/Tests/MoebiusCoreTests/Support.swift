import Foundation
import MoebiusCore
import XCTest

/// The smallest model that the loop takes: 64 x 64 pixels, 8 x 8 latents.
let tiny = ModelShape(resolution: 64, latentSize: 8)

/// Three made-up graphs; `change` may replace their outputs, `calls` counts their runs.
final class FakeRunner: GraphRunner {
    var calls: [Graph] = []
    var released: [Graph] = []
    var recorded: [(graph: Graph, inputs: [String: Tensor], outputs: [String: Tensor])] = []
    var change: (Graph, [String: Tensor]) async throws -> [String: Tensor] = { $1 }

    func run(_ graph: Graph, _ inputs: [String: Tensor]) async throws -> [String: Tensor] {
        calls.append(graph)
        let outputs = try await change(graph, FakeRunner.compute(graph, inputs))
        recorded.append((graph, inputs, outputs))
        return outputs
    }

    func release(_ graph: Graph) { released.append(graph) }

    private static func compute(_ graph: Graph, _ inputs: [String: Tensor]) -> [String: Tensor] {
        let (n, latents) = (tiny.resolution, [1, 4, tiny.latentSize, tiny.latentSize])
        switch graph {
        case .encoder:
            let image = inputs["image"]!.values
            let mean: [Float] = (0..<256).map { image[$0 * 48 % image.count] }
            let std: [Float] = mean.map { (x: Float) -> Float in 0.1 + x * x }
            return ["mean": Tensor(latents, mean), "std": Tensor(latents, std)]
        case .denoiser:
            let (x, m) = (inputs["latents"]!.values, inputs["masked_latents"]!.values)
            let guidance = inputs["guidance"]!.values[0]
            let mask = inputs["mask"]!.values
            let noise = x.indices.map { (i: Int) -> Float in
                let both: Float = 0.2 * x[i] + 0.1 * guidance * m[i]
                return both + mask[i % 64]
            }
            return ["noise": Tensor(latents, noise)]
        case .decoder:
            let x = inputs["latents"]!.values
            let image = (0..<3 * n * n).map { (i: Int) -> Float in
                let value: Float = 0.5 + 0.1 * x[i / 48]
                return min(max(value, 0), 1)
            }
            return ["image": Tensor([1, 3, n, n], image)]
        }
    }
}

/// A smooth photo.
func smooth(_ width: Int, _ height: Int) -> Photo {
    let bytes = (0..<width * height * 3).map { (i: Int) -> UInt8 in
        let (x, y) = (i % width, i / width)
        return UInt8((3 * x + y) % 256)
    }
    return Photo(rgb: Picture(width: width, height: height, channels: 3, bytes: bytes))
}

/// A smooth photo with a square hole.
func example(_ width: Int = 80, _ height: Int = 72) -> (photo: Photo, mask: Mask) {
    (smooth(width, height), boxed(width, height, [Box(left: 30, top: 24, right: 50, bottom: 40)]))
}

/// A mask that is True in these boxes.
func boxed(_ width: Int, _ height: Int, _ boxes: [Box]) -> Mask {
    var mask = Mask(width: width, height: height, pixels: [Bool](repeating: false, count: width * height))
    for box in boxes {
        for y in box.top..<box.bottom { for x in box.left..<box.right { mask.pixels[y * width + x] = true } }
    }
    return mask
}

/// The message of what `body` throws; fails when it throws nothing, or an error of another type.
func message(_ body: () async throws -> Void, file: StaticString = #filePath, line: UInt = #line) async -> String {
    do {
        try await body()
        XCTFail("nothing was thrown", file: file, line: line)
    } catch let error as InpaintError {
        return error.description
    } catch {
        XCTFail("another error: \(error)", file: file, line: line)
    }
    return ""
}

/// A new, empty folder that is removed at the end of the test.
func temporaryFolder(_ test: XCTestCase) throws -> URL {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("moebius-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    test.addTeardownBlock { try? FileManager.default.removeItem(at: folder) }
    return folder.resolvingSymlinksInPath()
}

/// The bytes of a safetensors file.
func safetensors(_ tensors: [(name: String, dtype: String, shape: [Int], data: Data)]) -> Data {
    var offset = 0
    let entries = tensors.map { tensor -> String in
        defer { offset += tensor.data.count }
        return "\"\(tensor.name)\":{\"dtype\":\"\(tensor.dtype)\",\"shape\":\(tensor.shape),"
            + "\"data_offsets\":[\(offset),\(offset + tensor.data.count)]}"
    }
    let header = Data("{\(entries.joined(separator: ","))}".utf8)
    let length = withUnsafeBytes(of: UInt64(header.count).littleEndian) { Data($0) }
    return tensors.reduce(length + header) { $0 + $1.data }
}

func raw<Number>(_ numbers: [Number]) -> Data { numbers.withUnsafeBytes { Data($0) } }

/// A whole package in a folder: app.json, model/manifest.json, three graphs and the capsule of a `FakeRunner`.
struct FakePackage {
    let folder: URL
    var model: URL { folder.appendingPathComponent("model") }
    var manifest: [String: Any]
    var files: [String: Data]

    init(_ folder: URL) async throws {
        self.folder = folder
        let tensors = try await FakePackage.capsule()
        files = ["capsule.safetensors": safetensors(tensors)]
        for graph in Graph.allCases {
            files["\(graph.rawValue).mlpackage/Manifest.json"] = Data("{}".utf8)
            files["\(graph.rawValue).mlpackage/Data/model.mlmodel"] = Data(repeating: 7, count: 3_000)
        }
        let listed = try Schedule.ddim(tiny.noise, steps: 20, strength: 0.99)
        let start: [String: Any] = [
            "timestep": listed.start.timestep, "sqrt_alpha_bar": listed.start.sqrtAlphaBar,
            "sqrt_one_minus_alpha_bar": listed.start.sqrtOneMinusAlphaBar,
        ]
        let rows = listed.steps.map { step -> [String: Any] in
            ["timestep": step.timestep, "a": step.a, "b": step.b, "c": step.c, "p": step.p, "q": step.q]
        }
        let scheduler: [String: Any] = [
            "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "train_timesteps": 1000,
            "prediction": "epsilon", "solver": "ddim", "start": start, "coefficients": rows,
        ]
        let defaults: [String: Any] = ["steps": 20, "guidance": 2.0, "strength": 0.99, "noise_offset": 0.0357]
        let model: [String: Any] = ["name": "tiny", "license": "Apache-2.0"]
        manifest = [
            "format": "moebius-edge-bundle", "schema_version": 3, "target": "coreml", "precision": "fp16",
            "model": model, "resolution": tiny.resolution, "latent_size": tiny.latentSize,
            "graphs": FakePackage.graphs(), "capsule": "capsule.safetensors", "defaults": defaults,
            "scheduler": scheduler,
        ]
    }

    /// Writes everything; `listed` may change what the manifest says of the files.
    func write(_ listed: ([String: Any]) -> [String: Any] = { $0 }) throws {
        for (name, data) in files {
            let place = model.appendingPathComponent(name)
            let parent = place.deletingLastPathComponent()
            try FileManager.default.createDirectory(at: parent, withIntermediateDirectories: true)
            try data.write(to: place)
        }
        var table = manifest
        table["files"] = listed(files.mapValues { ["size": $0.count, "sha256": FileHash.of($0)] as [String: Any] })
        let body = try JSONSerialization.data(withJSONObject: table, options: [.sortedKeys])
        func text(_ digest: String) -> Data { Data("{\"manifest_sha256\": \"\(digest)\",".utf8) + body.dropFirst() }
        let blank = text(String(repeating: "0", count: 64))
        try text(FileHash.of(blank)).write(to: model.appendingPathComponent("manifest.json"))
        let lines = files.keys.sorted().map { "\($0) \(FileHash.of(files[$0]!))\n" }.joined()
        let thresholds: [String: Double] = ["encoder_db": 50, "denoiser_db": 55, "decoder_db": 55, "hole_db": 45]
        let app: [String: Any] = [
            "format": "moebius-edge-app-1", "model": "tiny", "license": "Apache-2.0", "precision": "fp16",
            "files_sha256": FileHash.of(Data(lines.utf8)), "model_folder": "model", "download_bytes": 1,
            "thresholds": thresholds,
        ]
        try JSONSerialization.data(withJSONObject: app).write(to: folder.appendingPathComponent("app.json"))
    }

    private static func graphs() -> [String: Any] {
        let (image, latents) = ([1, 3, 64, 64], [1, 4, 8, 8])
        func specs(_ shapes: [(String, [Int])]) -> [[String: Any]] {
            shapes.map { (name, shape) -> [String: Any] in ["name": name, "dtype": "float32", "shape": shape] }
        }
        func graph(_ name: String, _ inputs: [(String, [Int])], _ outputs: [(String, [Int])]) -> [String: Any] {
            let table: [String: Any] = ["file": "\(name).mlpackage", "inputs": specs(inputs), "outputs": specs(outputs)]
            return table
        }
        let loop = [("latents", latents), ("mask", [1, 1, 8, 8]), ("masked_latents", latents)]
        return [
            "encoder": graph("encoder", [("image", image)], [("mean", latents), ("std", latents)]),
            "denoiser": graph("denoiser", loop + [("timestep", [1]), ("guidance", [1])], [("noise", latents)]),
            "decoder": graph("decoder", [("latents", latents)], [("image", image)]),
        ]
    }

    /// What the reference, here a `FakeRunner`, computes in the capsule's edit.
    private static func capsule() async throws -> [(name: String, dtype: String, shape: [Int], data: Data)] {
        let (photo, mask) = example(64, 64)
        var options = EditOptions()
        options.steps = 5
        options.blend = .feather
        let runner = FakeRunner()
        let result = try await Inpainter(runner: runner, shape: tiny).inpaint(photo, mask: mask, options: options)
        let schedule = try Schedule.ddim(tiny.noise, steps: 5, strength: 0.99)
        let encodes = runner.recorded.filter { $0.graph == .encoder }
        let steps = runner.recorded.filter { $0.graph == .denoiser }
        let decode = runner.recorded.last!
        let latents = steps.dropFirst().map { $0.inputs["latents"]! } + [decode.inputs["latents"]!]
        func floats(_ name: String, _ tensor: Tensor) -> (String, String, [Int], Data) {
            (name, "F32", tensor.shape, raw(tensor.values))
        }
        func stacked(_ name: String, _ tensors: [Tensor]) -> (String, String, [Int], Data) {
            (name, "F32", [tensors.count, 4, 8, 8], raw(tensors.flatMap(\.values)))
        }
        let white: [UInt8] = mask.pixels.map { $0 ? 255 : 0 }
        let bytes: [(String, String, [Int], Data)] = [
            ("photo", "U8", [64, 64, 3], Data(photo.rgb.bytes)), ("mask", "U8", [64, 64], Data(white)),
            ("result", "U8", [64, 64, 3], Data(result.rgb.bytes)),
        ]
        let loop: [(String, String, [Int], Data)] = [
            ("loop.timesteps", "I32", [4], raw(schedule.steps.map { Int32($0.timestep) })),
            ("loop.a", "F32", [4], raw(schedule.steps.map { Float($0.a) })),
            ("loop.b", "F32", [4], raw(schedule.steps.map { Float($0.b) })),
        ]
        let graphs: [(String, String, [Int], Data)] = [
            floats("encoder.image", encodes[0].inputs["image"]!),
            floats("encoder.mean", encodes[0].outputs["mean"]!),
            floats("encoder.std", encodes[0].outputs["std"]!),
            floats("loop.start", steps[0].inputs["latents"]!),
            floats("loop.mask", steps[0].inputs["mask"]!),
            floats("loop.masked_latents", steps[0].inputs["masked_latents"]!),
            floats("loop.guidance", steps[0].inputs["guidance"]!),
            stacked("loop.noise", steps.map { $0.outputs["noise"]! }),
            stacked("loop.latents", latents),
            floats("decoder.latents", decode.inputs["latents"]!),
            floats("decoder.image", decode.outputs["image"]!),
        ]
        return (bytes + loop + graphs).map { (name: $0.0, dtype: $0.1, shape: $0.2, data: $0.3) }
    }
}
