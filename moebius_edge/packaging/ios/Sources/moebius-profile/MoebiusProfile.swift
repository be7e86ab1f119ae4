import Foundation
import MoebiusCore
import MoebiusInpaint

/// `swift run -c release moebius-profile [FOLDER] [--unit UNIT] [--runs N] [--edits N] [--output FILE]`, on a Mac.
///
/// Without FOLDER the model that this package carries.
@main
struct MoebiusProfile {
    static func main() async {
        do {
            try await run(Array(CommandLine.arguments.dropFirst()))
        } catch {
            FileHandle.standardError.write(Data("moebius-profile: \(sentence(error))\n".utf8))
            exit(2)
        }
    }

    private static func run(_ arguments: [String]) async throws {
        #if canImport(CoreML)
        let given = try Arguments(arguments)
        try await DeviceProfile.run(given.folder, unit: given.unit, options: given.options, output: given.output) {
            FileHandle.standardError.write(Data("\r\($0) of \($1)".utf8))
        }
        print("\nwrote \(given.output.path)")
        #else
        throw InpaintError.engine("Core ML is on Macs alone; run this there")
        #endif
    }
}

#if canImport(CoreML)
/// What the command line says.
private struct Arguments {
    let folder: URL
    let unit: ComputeUnit?
    let options: ProfileOptions
    let output: URL

    init(_ arguments: [String]) throws {
        var given = ["--runs": "10", "--edits": "20", "--output": "profile.json"]
        var places: [String] = []
        var rest = arguments[...]
        while let word = rest.popFirst() {
            if !word.hasPrefix("--") { places.append(word); continue }
            guard ["--unit", "--runs", "--edits", "--output"].contains(word), let value = rest.popFirst() else {
                throw InpaintError.input("\(word) is not known, or lacks its value; \(Arguments.usage)")
            }
            given[word] = value
        }
        guard places.count <= 1, let runs = Int(given["--runs"]!), let edits = Int(given["--edits"]!) else {
            throw InpaintError.input(Arguments.usage)
        }
        unit = try given["--unit"].map { name in
            guard let unit = ComputeUnit(rawValue: name) else {
                let known = ComputeUnit.allCases.map(\.rawValue).joined(separator: ", ")
                throw InpaintError.input("there is no unit \(name); expected one of \(known)")
            }
            return unit
        }
        options = try ProfileOptions(runs: runs, edits: edits)
        folder = places.first.map { URL(fileURLWithPath: $0, isDirectory: true) } ?? MoebiusModel.packaged
        output = URL(fileURLWithPath: given["--output"]!)
    }

    private static let usage = "expected [a folder with app.json] [--unit UNIT] [--runs N] [--edits N] [--output FILE]"
}
#endif
