import Foundation

/// A bundle whose files were what its manifest says at the time it was opened (docs/bundle.md of moebius-edge).
public struct ModelBundle: Sendable {
    public let folder: URL
    public let manifest: Manifest

    static let maxCapsuleBytes = 256 << 20

    /// Opens a bundle: the manifest, then that every listed file is there as a plain file of its size and nothing
    /// else is. No contents are read: `capsule` and `checkContents` compare SHA-256s when a file is used.
    ///
    /// Throws `InpaintError.bundle`, one sentence that names the file.
    public init(folder: URL) throws {
        self.folder = folder.resolvingSymlinksInPath()
        let file = self.folder.appendingPathComponent(Manifest.name)
        guard FileManager.default.fileExists(atPath: file.path) else {
            throw InpaintError.bundle(
                "\(folder.path) has no \(Manifest.name): it is not a model, or not all of it; \(repair)")
        }
        let size = try plainSize(file, Manifest.name)
        guard size <= Manifest.maxBytes else {
            throw InpaintError.bundle("\(Manifest.name) has \(size) bytes; at most \(Manifest.maxBytes) are allowed")
        }
        manifest = try Manifest(try contents(file))
        try checkListing()
    }

    /// Where the file, or the folder of files, of a graph lies.
    public func url(of graph: Graph) -> URL {
        folder.appendingPathComponent(manifest.graphs[graph.rawValue]!.file)
    }

    /// The self-test tensors. Throws `InpaintError.bundle` when they are not finite, well-formed and complete.
    public func capsule() throws -> Capsule {
        let size = manifest.files[manifest.capsule]!.size
        guard size <= ModelBundle.maxCapsuleBytes else {
            throw InpaintError.bundle("\(manifest.capsule) has \(size) bytes; at most \(ModelBundle.maxCapsuleBytes)")
        }
        let data = try contents(folder.appendingPathComponent(manifest.capsule))
        try check(manifest.capsule, FileHash.of(data))
        return try Capsule(TensorFile(data, name: manifest.capsule), shape: manifest.shape)
    }

    /// Reads every byte of a graph (nil: of all files) and compares SHA-256s. Throws `InpaintError.bundle`.
    public func checkContents(of graph: Graph? = nil) throws {
        let name = graph.map { manifest.graphs[$0.rawValue]!.file }
        // ONNX weights lie beside their graph, NAME.data; Core ML's in the package's folder.
        let files = manifest.files.keys.filter { file in name.map { file.hasPrefix($0) } ?? true }
        for file in files.sorted() { try check(file, try FileHash.of(file: folder.appendingPathComponent(file))) }
    }

    private func check(_ name: String, _ found: String) throws {
        let expected = manifest.files[name]!.sha256
        guard found == expected else {
            throw InpaintError.bundle(
                "\(name) is damaged or edited: its SHA-256 is \(found.prefix(16))..., expected "
                    + "\(expected.prefix(16))...; \(repair)")
        }
    }

    private func checkListing() throws {
        for (name, file) in manifest.files {
            let url = folder.appendingPathComponent(name)
            guard let kind = kind(url) else {
                throw InpaintError.bundle("\(name) is missing (\(file.size) bytes expected); \(repair)")
            }
            var parent = url.deletingLastPathComponent()
            while parent.path.count > folder.path.count {
                guard self.kind(parent) == .typeDirectory else {
                    throw InpaintError.bundle("\(parent.lastPathComponent) is a link; a bundle has none; \(repair)")
                }
                parent.deleteLastPathComponent()
            }
            guard kind == .typeRegular else { throw InpaintError.bundle("\(name) is not a plain file; \(repair)") }
            let size = try plainSize(url, name)
            guard size == file.size else {
                throw InpaintError.bundle(
                    "\(name) has \(size) bytes; expected \(file.size): it was cut off or edited; \(repair)")
            }
        }
        try checkNothingElse()
    }

    private func checkNothingElse() throws {
        guard let names = FileManager.default.enumerator(atPath: folder.path) else {
            throw InpaintError.bundle("\(folder.path) cannot be read; \(repair)")
        }
        for case let name as String in names {
            let last = (name as NSString).lastPathComponent
            if last.hasPrefix("._") || [".DS_Store", "Thumbs.db", "desktop.ini"].contains(last) { continue }
            if name == Manifest.name || manifest.files[name] != nil { continue }
            guard kind(folder.appendingPathComponent(name)) == .typeDirectory else {
                throw InpaintError.bundle("\(name) is in the model's folder but not in its manifest; \(repair)")
            }
        }
    }

    private func kind(_ url: URL) -> FileAttributeType? {
        (try? FileManager.default.attributesOfItem(atPath: url.path))?[.type] as? FileAttributeType
    }
}

/// Size of a plain file; links, pipes and devices are refused before anything opens them.
private func plainSize(_ url: URL, _ name: String) throws -> Int {
    let attributes = try? FileManager.default.attributesOfItem(atPath: url.path)
    guard attributes?[.type] as? FileAttributeType == .typeRegular, let size = attributes?[.size] as? NSNumber else {
        throw InpaintError.bundle("\(name) is not a plain file; \(repair)")
    }
    return size.intValue
}

private func contents(_ url: URL) throws -> Data {
    do {
        return try Data(contentsOf: url)
    } catch {
        throw InpaintError.bundle("\(url.lastPathComponent) cannot be read: \(error.localizedDescription)")
    }
}
