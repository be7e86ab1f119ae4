#if canImport(CoreML)
import CoreML
import Foundation
import MoebiusCore

/// Where the compiled graphs of one bundle lie: Application Support/MoebiusInpaint/SHA-256 of its files.
///
/// Core ML compiles a package on the device; that is done once. The folder is left out of backups, and what other
/// versions of the model left behind is removed.
public struct CompiledModels: Sendable {
    let bundle: ModelBundle
    let folder: URL

    /// Throws `InpaintError.engine` when the folder cannot be made.
    public init(bundle: ModelBundle) throws {
        self.bundle = bundle
        do {
            let support = try FileManager.default.url(
                for: .applicationSupportDirectory, in: .userDomainMask, appropriateFor: nil, create: true)
            let root = support.appendingPathComponent("MoebiusInpaint", isDirectory: true)
            let name = bundle.manifest.filesSHA256
            var folder = root.appendingPathComponent(name, isDirectory: true)
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            var values = URLResourceValues()
            values.isExcludedFromBackup = true
            try folder.setResourceValues(values)
            for other in try FileManager.default.contentsOfDirectory(atPath: root.path) where other != name {
                try? FileManager.default.removeItem(at: root.appendingPathComponent(other))
            }
            self.folder = folder
        } catch {
            throw InpaintError.engine("the compiled model cannot be stored: \(error.localizedDescription)")
        }
    }

    /// Which compute unit passed the self-test.
    var memory: UnitMemory { UnitMemory(file: folder.appendingPathComponent("selftest.json")) }

    /// The compiled graph, compiled now if it has not been before.
    ///
    /// Throws `InpaintError.bundle` when the package is damaged and `.engine` when it cannot be compiled or stored.
    func url(of graph: Graph) async throws -> URL {
        let place = self.place(graph)
        if FileManager.default.fileExists(atPath: place.path) { return place }
        try bundle.checkContents(of: graph)
        do {
            let compiled = try await MLModel.compileModel(at: bundle.url(of: graph))
            defer { try? FileManager.default.removeItem(at: compiled) }
            try FileManager.default.moveItem(at: compiled, to: place)
            return place
        } catch {
            throw InpaintError.engine("Core ML cannot compile the \(graph.rawValue): \(error.localizedDescription)")
        }
    }

    /// Removes one compiled graph, or all of them: the next load compiles again.
    func remove(_ graph: Graph) { try? FileManager.default.removeItem(at: place(graph)) }

    func removeAll() { Graph.allCases.forEach(remove) }

    private func place(_ graph: Graph) -> URL {
        folder.appendingPathComponent("\(graph.rawValue).mlmodelc", isDirectory: true)
    }
}
#endif
