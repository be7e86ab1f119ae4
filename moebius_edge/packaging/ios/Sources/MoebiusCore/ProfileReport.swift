import Foundation

/// What was measured on a device: the JSON that `moebius-edge profile` reads (docs/devices.md of moebius-edge).
/// Times are milliseconds of a monotonic clock.
public struct ProfileReport: Codable, Equatable, Sendable {
    public struct Device: Codable, Equatable, Sendable {
        /// `ios` or `macos`.
        public let platform: String
        public let model: String
        public let system: String
        /// Empty where the system does not say.
        public let chip: String

        public init(platform: String, model: String, system: String, chip: String) {
            (self.platform, self.model, self.system, self.chip) = (platform, model, system, chip)
        }
    }

    public struct Engine: Codable, Equatable, Sendable {
        public let name: String
        public let version: String
        public let unit: String

        public init(name: String, version: String, unit: String) {
            (self.name, self.version, self.unit) = (name, version, unit)
        }
    }

    public struct Files: Codable, Equatable, Sendable {
        public let model: String
        public let precision: String
        public let filesSHA256: String

        enum CodingKeys: String, CodingKey {
            case model, precision
            case filesSHA256 = "files_sha256"
        }
    }

    /// Opening a graph and its first run, less a usual run.
    public struct Load: Codable, Equatable, Sendable {
        public let cold: Double
        public let warm: Double
    }

    public struct Edit: Codable, Equatable, Sendable {
        public let total: Double
        public let steps: [Double]

        enum CodingKeys: String, CodingKey {
            case total = "total_ms"
            case steps = "steps_ms"
        }
    }

    public struct Temperature: Codable, Equatable, Sendable {
        public let after: Double
        public let celsius: Double?
        public let state: String?

        enum CodingKeys: String, CodingKey {
            case after = "after_ms"
            case celsius, state
        }

        public func encode(to encoder: Encoder) throws {
            var table = encoder.container(keyedBy: CodingKeys.self)
            try table.encode(after, forKey: .after)
            try table.encode(celsius, forKey: .celsius)
            try table.encode(state, forKey: .state)
        }
    }

    public let format: String
    public let device: Device
    public let engine: Engine
    public let threads: Int?
    public let bundle: Files
    public let load: [String: Load]
    public let graphs: [String: [Double]]
    public let edits: [Edit]
    public let temperature: [Temperature]
    public let peakMemoryBytes: Int?
    public let selftest: SelfTestReport

    static let format = "moebius-edge-device-profile-1"

    enum CodingKeys: String, CodingKey {
        case format, device, engine, threads, bundle, edits, temperature, selftest
        case load = "load_ms"
        case graphs = "graphs_ms"
        case peakMemoryBytes = "peak_memory_bytes"
    }

    /// Writes `null` where there is no number: every field is there.
    public func encode(to encoder: Encoder) throws {
        var table = encoder.container(keyedBy: CodingKeys.self)
        try table.encode(format, forKey: .format)
        try table.encode(device, forKey: .device)
        try table.encode(engine, forKey: .engine)
        try table.encode(threads, forKey: .threads)
        try table.encode(bundle, forKey: .bundle)
        try table.encode(load, forKey: .load)
        try table.encode(graphs, forKey: .graphs)
        try table.encode(edits, forKey: .edits)
        try table.encode(temperature, forKey: .temperature)
        try table.encode(peakMemoryBytes, forKey: .peakMemoryBytes)
        try table.encode(selftest, forKey: .selftest)
    }

    /// Writes the report whole or not at all. Throws `InpaintError.input` when the place cannot be written.
    public func write(to file: URL) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        do {
            try encoder.encode(self).write(to: file, options: .atomic)
        } catch {
            throw InpaintError.input("cannot write \(file.path): \(error.localizedDescription)")
        }
    }
}
