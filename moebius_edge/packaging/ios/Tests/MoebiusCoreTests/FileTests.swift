import Foundation
import MoebiusCore
import XCTest

/// Files that were cut off, changed or made to do harm: each is one sentence.
final class FileTests: XCTestCase {
    private func open(_ package: FakePackage) throws -> (app: AppDescription, bundle: ModelBundle) {
        try AppDescription.open(package.folder)
    }

    private func package() async throws -> FakePackage { try await FakePackage(try temporaryFolder(self)) }

    func testAWholePackageOpens() async throws {
        let package = try await package()
        try package.write()
        try Data().write(to: package.model.appendingPathComponent(".DS_Store"))
        let (app, bundle) = try open(package)
        XCTAssertEqual(app.thresholds.hole, 45)
        let (shape, defaults) = (bundle.manifest.shape, EditOptions())
        XCTAssertEqual([shape.resolution, shape.latentSize], [tiny.resolution, tiny.latentSize])
        XCTAssertEqual(shape.noise, tiny.noise)
        let listed = try Schedule.ddim(tiny.noise, steps: defaults.steps, strength: defaults.strength)
        let solver = ListedSolver(name: "ddim", schedule: listed, steps: defaults.steps, strength: defaults.strength)
        XCTAssertEqual(shape.solver, solver)
        XCTAssertEqual(bundle.manifest.editDefaults, EditOptions())
        XCTAssertEqual(bundle.url(of: .decoder).lastPathComponent, "decoder.mlpackage")
        try bundle.checkContents()
        XCTAssertEqual(try bundle.capsule().photo.width, 64)
    }

    func testAFlippedByte() async throws {
        var package = try await package()
        try package.write()
        let name = "denoiser.mlpackage/Data/model.mlmodel"
        var data = package.files[name]!
        data[1234] ^= 1
        try data.write(to: package.model.appendingPathComponent(name))
        let bundle = try open(package).bundle
        try bundle.checkContents(of: .encoder)
        for graph in [Graph.denoiser, nil] {
            let found = await message { try bundle.checkContents(of: graph) }
            XCTAssertTrue(found.hasPrefix("\(name) is damaged or edited: its SHA-256 is"), found)
        }
        package.files["capsule.safetensors"]![90_000] ^= 1
        try package.files["capsule.safetensors"]!.write(to: package.model.appendingPathComponent("capsule.safetensors"))
        let found = await message { _ = try bundle.capsule() }
        XCTAssertTrue(found.hasPrefix("capsule.safetensors is damaged or edited"), found)
    }

    func testFilesThatAreCutOffOrMissingOrTooMany() async throws {
        let package = try await package()
        try package.write()
        let file = package.model.appendingPathComponent("encoder.mlpackage/Data/model.mlmodel")
        try Data(repeating: 7, count: 2_999).write(to: file)
        var found = await message { _ = try self.open(package) }
        XCTAssertTrue(found.hasPrefix("encoder.mlpackage/Data/model.mlmodel has 2999 bytes; expected 3000"), found)
        try FileManager.default.removeItem(at: file)
        found = await message { _ = try self.open(package) }
        XCTAssertTrue(found.hasPrefix("encoder.mlpackage/Data/model.mlmodel is missing (3000 bytes expected)"), found)
        try FileManager.default.createSymbolicLink(
            at: file, withDestinationURL: package.model.appendingPathComponent("decoder.mlpackage/Data/model.mlmodel"))
        found = await message { _ = try self.open(package) }
        XCTAssertTrue(found.hasPrefix("encoder.mlpackage/Data/model.mlmodel is not a plain file"), found)
        try FileManager.default.removeItem(at: file)  // not to write through the link
        try package.write()
        try Data().write(to: package.model.appendingPathComponent("more.bin"))
        found = await message { _ = try self.open(package) }
        XCTAssertTrue(found.hasPrefix("more.bin is in the model's folder but not in its manifest"), found)
    }

    func testALinkOnTheWay() async throws {
        let package = try await package()
        try package.write()
        let folder = package.model.appendingPathComponent("encoder.mlpackage/Data")
        let elsewhere = package.folder.appendingPathComponent("elsewhere")
        try FileManager.default.moveItem(at: folder, to: elsewhere)
        try FileManager.default.createSymbolicLink(at: folder, withDestinationURL: elsewhere)
        let found = await message { _ = try self.open(package) }
        XCTAssertTrue(found.hasPrefix("Data is a link; a bundle has none"), found)
    }

    func testNamesThatLeaveTheFolder() async throws {
        let names = [
            "../secret", "/etc/passwd", "a/../../b", "a//b", "a\\b", ".hidden", "a.", "a/", "C:b", "a b", "é",
            "a/b/c/d/e/f/g/h/i", "manifest.json",
        ]
        for name in names {
            let package = try await package()
            try package.write { files in
                var files = files
                files[name] = ["size": 0, "sha256": String(repeating: "0", count: 64)] as [String: Any]
                return files
            }
            let found = await message { _ = try self.open(package) }
            XCTAssertTrue(found.hasPrefix("manifest.json: "), found)
            XCTAssertTrue(found.contains("the file name") || found.contains("cannot list itself"), found)
        }
    }

    func testManifestsThatAreWrong() async throws {
        let changes: [(String, (inout [String: Any]) -> Void)] = [
            ("it does not say \"format\"", { $0["format"] = "zip" }),
            ("schema version 1 is not known", { $0["schema_version"] = 1 }),
            ("it lacks schema_version", { $0["schema_version"] = nil }),
            ("it lacks resolution", { $0["resolution"] = nil }),
            ("resolution is 0", { $0["resolution"] = 0 }),
            ("resolution is -64", { $0["resolution"] = -64 }),
            ("resolution is 63", { $0["resolution"] = 63 }),
            ("latent_size is not of type Int", { $0["latent_size"] = "8" }),
            ("the capsule \"none\" is not among its files", { $0["capsule"] = "none" }),
            ("graphs must be exactly", { $0["graphs"] = [String: Any]() }),
            ("scheduler: only", scheduler("prediction", "v")),
            ("it lacks scheduler.solver", scheduler("solver", nil)),
            ("scheduler.solver must be", scheduler("solver", "DDIM\n")),
            ("scheduler.coefficients must have 1", scheduler("coefficients", [Any]())),
            ("it lacks scheduler.coefficients", scheduler("coefficients", [["timestep": 900, "a": 1, "b": 0]])),
        ]
        for (words, change) in changes {
            var package = try await package()
            change(&package.manifest)
            try package.write()
            let found = await message { _ = try self.open(package) }
            XCTAssertTrue(found.hasPrefix("manifest.json: \(words)"), found)
        }
    }

    private func scheduler(_ key: String, _ value: Any?) -> (inout [String: Any]) -> Void {
        { table in
            var scheduler = table["scheduler"] as! [String: Any]
            scheduler[key] = value
            table["scheduler"] = scheduler
        }
    }

    func testASolverThatIsNotKnownRunsItsOwnTableAlone() async throws {
        var package = try await package()
        scheduler("solver", "of-tomorrow")(&package.manifest)
        try package.write()
        let (app, bundle) = try open(package)
        let (photo, mask) = example()
        let runner = FakeRunner()
        let inpainter = Inpainter(runner: runner, manifest: bundle.manifest)
        _ = try await inpainter.inpaint(photo, mask: mask)
        XCTAssertEqual(runner.calls.filter { $0 == .denoiser }.count, 19)
        for (steps, strength) in [(10, 0.99), (20, 1.0)] {
            var options = EditOptions()
            (options.steps, options.strength) = (steps, strength)
            let other = options
            let found = await message { _ = try await inpainter.inpaint(photo, mask: mask, options: other) }
            XCTAssertEqual(
                found, "the model's solver 'of-tomorrow' is not known here, only ddim: without it only 20 steps at "
                    + "strength 0.99 can be run; choose these, or update the app")
        }
        let report = try await selfTest(
            try bundle.capsule(), runner: FakeRunner(), shape: bundle.manifest.shape, thresholds: app.thresholds)
        XCTAssertTrue(report.ok, "the self-test's loop is DDIM's")
    }

    func testAManifestThatWasEdited() async throws {
        let package = try await package()
        try package.write()
        let file = package.model.appendingPathComponent("manifest.json")
        let text = try String(contentsOf: file, encoding: .utf8)
        try text.replacingOccurrences(of: "0.0357", with: "0.0358").write(to: file, atomically: true, encoding: .utf8)
        var found = await message { _ = try self.open(package) }
        XCTAssertTrue(found.hasPrefix("manifest.json: it was damaged or edited"), found)
        try String(text.dropLast(50)).write(to: file, atomically: true, encoding: .utf8)
        found = await message { _ = try self.open(package) }
        XCTAssertTrue(found.hasPrefix("manifest.json: it is not JSON"), found)
        try Data(repeating: 32, count: 1 << 21).write(to: file)
        found = await message { _ = try self.open(package) }
        XCTAssertTrue(found.hasPrefix("manifest.json has 2097152 bytes"), found)
        try FileManager.default.removeItem(at: file)
        found = await message { _ = try self.open(package) }
        XCTAssertTrue(found.contains("has no manifest.json"), found)
    }

    func testAnAppOfAnotherModel() async throws {
        let package = try await package()
        try package.write()
        let file = package.folder.appendingPathComponent("app.json")
        var app = try JSONSerialization.jsonObject(with: Data(contentsOf: file)) as! [String: Any]
        func write(_ key: String, _ value: Any) throws {
            app[key] = value
            try JSONSerialization.data(withJSONObject: app).write(to: file)
        }
        try write("files_sha256", String(repeating: "a", count: 64))
        var found = await message { _ = try self.open(package) }
        XCTAssertTrue(found.hasPrefix("app.json is of another model than model"), found)
        try write("model_folder", "../model")
        found = await message { _ = try self.open(package) }
        XCTAssertTrue(found.hasPrefix("app.json: the file name \"../model\" is not allowed"), found)
        try write("format", "other")
        found = await message { _ = try self.open(package) }
        XCTAssertTrue(found.hasPrefix("app.json: its format is \"other\""), found)
        try FileManager.default.removeItem(at: file)
        found = await message { _ = try self.open(package) }
        XCTAssertTrue(found.contains("has no readable app.json"), found)
    }

    func testTensorFiles() async throws {
        let good = safetensors([
            ("a", "F32", [2, 2], raw([1, 2, 3, 4] as [Float])), ("b", "U8", [3], Data([7, 8, 9])),
            ("c", "I32", [1], raw([Int32(-5)])),
        ])
        let file = try TensorFile(good, name: "f")
        XCTAssertEqual(try file.floats("a", [2, 2]).values, [1, 2, 3, 4])
        XCTAssertEqual(try file.bytes("b", [3]), [7, 8, 9])
        XCTAssertEqual(try file.integers("c", [1]), [-5])
        let four = raw([1] as [Float])
        func header(_ text: String) -> Data {
            withUnsafeBytes(of: UInt64(text.utf8.count).littleEndian) { Data($0) } + Data(text.utf8)
        }
        let wrong: [(String, Data)] = [
            ("it has only 3 bytes", good.prefix(3)),
            ("it has \(good.count - 1) bytes; its header describes \(good.count): cut off", good.dropLast()),
            ("it has \(good.count + 1) bytes; its header describes", good + [0]),
            ("it claims a header of 18446744073709551615 bytes", Data(repeating: 255, count: 20)),
            ("its header is not readable: it is not JSON", header("{]")),
            ("its header is not readable: it lacks a.shape", header("{\"a\":{\"dtype\":\"F32\"}}")),
            ("a is F64; expected one of F32, I32, U8", safetensors([("a", "F64", [1], Data(count: 8))])),
            ("a has 4 bytes of data, not those of its shape", safetensors([("a", "F32", [2], four)])),
            ("a has a malformed shape", safetensors([("a", "F32", [-1], four)])),
            ("a has an impossible shape", safetensors([("a", "F32", [1 << 40, 1 << 40], four)])),
            ("the data of b overlaps", header(
                "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
                    + "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[2,6]}}") + Data(count: 6)),
        ]
        for (words, data) in wrong {
            let found = await message { _ = try TensorFile(data, name: "f") }
            XCTAssertTrue(found.hasPrefix("f: \(words)"), found)
        }
        var found = await message { _ = try file.floats("a", [4]) }
        XCTAssertTrue(found.hasPrefix("f: a is F32 [2, 2]; expected F32 [4]"), found)
        found = await message { _ = try file.floats("d", [4]) }
        XCTAssertTrue(found.hasPrefix("f has no tensor d"), found)
        let infinite = safetensors([("a", "F32", [1], raw([Float.infinity]))])
        found = await message { _ = try TensorFile(infinite, name: "f").floats("a", [1]) }
        XCTAssertTrue(found.hasPrefix("f: a contains NaN or Inf"), found)
    }

    func testACapsuleOfAnotherModel() async throws {
        let package = try await package()
        try package.write()
        let data = package.files["capsule.safetensors"]!
        let file = try TensorFile(data, name: "capsule.safetensors")
        let found = await message { _ = try Capsule(file, shape: ModelShape(resolution: 128, latentSize: 16)) }
        XCTAssertTrue(found.hasPrefix("capsule.safetensors: photo is U8 [64, 64, 3]; expected U8 [128, 128, 3]"), found)
    }
}

final class HashTests: XCTestCase {
    /// FIPS 180-4's examples, the empty message, and lengths around the block.
    func testKnownAnswers() {
        let known: [(Data, String)] = [
            (Data(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (Data("abc".utf8), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (Data("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq".utf8),
             "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"),
            (Data(repeating: 97, count: 1_000_000), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
        ]
        for (data, digest) in known {
            XCTAssertEqual(FileHash.of(data), digest)
            XCTAssertEqual(portable(data, parts: data.count), digest)
            XCTAssertEqual(portable(data, parts: 7_001), digest)
        }
        for count in 54...130 {
            let data = Data((0..<count).map { UInt8($0) })
            XCTAssertEqual(portable(data, parts: 1), portable(data, parts: count))
            XCTAssertEqual(portable(data, parts: 63), FileHash.of(data))
        }
    }

    private func portable(_ data: Data, parts: Int) -> String {
        var hash = PortableSHA256()
        var rest = data[...]
        while !rest.isEmpty {
            rest.prefix(parts).withUnsafeBytes { hash.update($0) }
            rest = rest.dropFirst(parts)
        }
        return hash.finalize().map { String(format: "%02x", $0) }.joined()
    }
}
