#if canImport(CoreML)
import CoreML

/// What computes the graphs.
public enum ComputeUnit: String, CaseIterable, Codable, Sendable {
    case cpuAndNeuralEngine
    case cpuAndGPU
    case cpuOnly
    case all

    /// The order in which an app tries them.
    public static let preferred: [ComputeUnit] = [.cpuAndNeuralEngine, .cpuAndGPU, .cpuOnly]

    var units: MLComputeUnits {
        switch self {
        case .cpuAndNeuralEngine: return .cpuAndNeuralEngine
        case .cpuAndGPU: return .cpuAndGPU
        case .cpuOnly: return .cpuOnly
        case .all: return .all
        }
    }

    /// The name in a device profile (docs/devices.md of moebius-edge).
    var reported: String { self == .cpuOnly ? "cpu" : rawValue }
}
#endif
