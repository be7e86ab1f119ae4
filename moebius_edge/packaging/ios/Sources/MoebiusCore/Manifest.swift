import Foundation

/// What a bundle says about itself: the fields of `manifest.json` (docs/bundle.md of moebius-edge) that an app needs.
public struct Manifest: Decodable, Equatable, Sendable {
    public struct Model: Decodable, Equatable, Sendable {
        public let name: String
        public let license: String
    }

    public struct TensorSpec: Decodable, Equatable, Sendable {
        public let name: String
        public let dtype: String
        public let shape: [Int]
    }

    public struct GraphSpec: Decodable, Equatable, Sendable {
        /// The file, or the folder of files, that the engine opens.
        public let file: String
        public let inputs: [TensorSpec]
        public let outputs: [TensorSpec]
    }

    public struct Scheduler: Decodable, Equatable, Sendable {
        public let betaStart: Double
        public let betaEnd: Double
        public let betaSchedule: String
        public let trainTimesteps: Int
        public let prediction: String
        /// "ddim"; one that is not known here is run by its table alone.
        public let solver: String
        public let start: Start
        public let coefficients: [Step]

        enum CodingKeys: String, CodingKey {
            case betaStart = "beta_start"
            case betaEnd = "beta_end"
            case betaSchedule = "beta_schedule"
            case trainTimesteps = "train_timesteps"
            case prediction, solver, start, coefficients
        }
    }

    public struct Defaults: Decodable, Equatable, Sendable {
        public let steps: Int
        public let guidance: Double
        public let strength: Double
        public let noiseOffset: Double

        enum CodingKeys: String, CodingKey {
            case steps, guidance, strength
            case noiseOffset = "noise_offset"
        }
    }

    public struct File: Decodable, Equatable, Sendable {
        public let size: Int
        public let sha256: String
    }

    public let model: Model
    public let target: String
    public let precision: String
    public let resolution: Int
    public let latentSize: Int
    public let graphs: [String: GraphSpec]
    public let scheduler: Scheduler
    public let defaults: Defaults
    public let capsule: String
    public let files: [String: File]

    enum CodingKeys: String, CodingKey {
        case model, target, precision, resolution, graphs, scheduler, defaults, capsule, files
        case latentSize = "latent_size"
    }

    static let name = "manifest.json"
    static let schemaVersion = 3
    static let maxBytes = 1 << 20
    static let maxFiles = 4096
    static let maxFileBytes = 4 << 30

    /// Reads and checks the bytes of a `manifest.json`. Throws `InpaintError.bundle` that says what is wrong.
    public init(_ data: Data) throws {
        guard data.count <= Manifest.maxBytes else {
            throw InpaintError.bundle(
                "\(Manifest.name) has \(data.count) bytes; at most \(Manifest.maxBytes) are allowed")
        }
        do {
            // Which format and version this is comes first: another version may well have other fields.
            let head = try JSONDecoder().decode(Head.self, from: data)
            guard head.format == "moebius-edge-bundle" else {
                throw Wrong("it does not say \"format\": \"moebius-edge-bundle\"")
            }
            guard head.version == Manifest.schemaVersion else {
                throw Wrong("schema version \(head.version) is not known; this app reads \(Manifest.schemaVersion): "
                    + "another version made it")
            }
            guard Manifest.intact(data, head.digest ?? "") else {
                throw Wrong("it was damaged or edited: its own SHA-256 does not fit")
            }
            self = try JSONDecoder().decode(Manifest.self, from: data)
            try check()
        } catch let error as Wrong {
            throw InpaintError.bundle("\(Manifest.name): \(error.what); \(repair)")
        } catch {
            throw InpaintError.bundle("\(Manifest.name): \(explained(error)); \(repair)")
        }
    }

    public var shape: ModelShape {
        let noise = NoiseSchedule(
            betaStart: scheduler.betaStart, betaEnd: scheduler.betaEnd, trainTimesteps: scheduler.trainTimesteps)
        let listed = ListedSolver(
            name: scheduler.solver, schedule: Schedule(start: scheduler.start, steps: scheduler.coefficients),
            steps: defaults.steps, strength: defaults.strength)
        return ModelShape(resolution: resolution, latentSize: latentSize, noise: noise, solver: listed)
    }

    public var editDefaults: EditOptions {
        var options = EditOptions()
        options.steps = defaults.steps
        options.guidance = defaults.guidance
        options.strength = defaults.strength
        options.noiseOffset = defaults.noiseOffset
        return options
    }

    /// SHA-256 over the lines `NAME SHA256` of the files, sorted by name: which graphs these are.
    public var filesSHA256: String {
        let names = files.keys.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
        let lines = names.map { "\($0) \(files[$0]!.sha256)\n" }
        return FileHash.of(Data(lines.joined().utf8))
    }

    /// Whether the bytes have the SHA-256 that they say they have, with zeros in the place of its digits.
    private static func intact(_ data: Data, _ digest: String) -> Bool {
        guard isSHA256(digest) else { return false }
        let own = Data("\"manifest_sha256\": \"\(digest)\"".utf8)
        guard let place = data.range(of: own), data.range(of: own, in: place.upperBound..<data.endIndex) == nil else {
            return false
        }
        var blank = data
        blank.replaceSubrange(place, with: Data("\"manifest_sha256\": \"\(String(repeating: "0", count: 64))\"".utf8))
        return FileHash.of(blank) == digest
    }

    private struct Head: Decodable {
        let format: String?
        let version: Int
        let digest: String?

        enum CodingKeys: String, CodingKey {
            case format
            case version = "schema_version"
            case digest = "manifest_sha256"
        }
    }
}

/// What is wrong with a file, before it is known which file it is.
struct Wrong: Error {
    let what: String
    init(_ what: String) { self.what = what }
}

/// The words of a decoding error: where, and what.
func explained(_ error: Error) -> String {
    func path(_ context: DecodingError.Context) -> String {
        context.codingPath.map { $0.intValue.map(String.init) ?? $0.stringValue }.joined(separator: ".")
    }
    switch error as? DecodingError {
    case .keyNotFound(let key, let context)?:
        return "it lacks \(path(context).isEmpty ? "" : path(context) + ".")\(key.stringValue)"
    case .valueNotFound(_, let context)?: return "\(path(context)) is null"
    case .typeMismatch(let type, let context)?: return "\(path(context)) is not of type \(type)"
    case .dataCorrupted(let context)?:
        return context.codingPath.isEmpty ? "it is not JSON" : "\(path(context)): \(context.debugDescription)"
    default: return sentence(error)
    }
}

func isSHA256(_ text: String) -> Bool {
    text.utf8.count == 64 && text.utf8.allSatisfy { (48...57).contains($0) || (97...102).contains($0) }
}
