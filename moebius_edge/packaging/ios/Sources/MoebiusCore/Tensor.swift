/// Float32 numbers in row-major order.
public struct Tensor: Equatable, Sendable {
    public let shape: [Int]
    public var values: [Float]

    /// `values` has as many elements as `shape` says; anything else is a programming error.
    public init(_ shape: [Int], _ values: [Float]) {
        precondition(values.count == shape.reduce(1, *), "expected \(shape) numbers, got \(values.count)")
        (self.shape, self.values) = (shape, values)
    }

    var isFinite: Bool { values.allSatisfy(\.isFinite) }
}

/// The three graphs of a model (docs/graphs.md of moebius-edge).
public enum Graph: String, CaseIterable, Codable, Sendable {
    /// `image` [1,3,R,R] in [-1,1] -> `mean`, `std` [1,4,h,w].
    case encoder
    /// `latents`, `mask`, `masked_latents`, `timestep`, `guidance` -> `noise` [1,4,h,w], guided.
    case denoiser
    /// `latents` [1,4,h,w] -> `image` [1,3,R,R] in [0,1].
    case decoder

    /// Names and shapes of the inputs and outputs, for pictures of R x R pixels and latents of h x h.
    func interface(resolution: Int, latentSize: Int) -> (inputs: [String: [Int]], outputs: [String: [Int]]) {
        let image = [1, 3, resolution, resolution]
        let latents = [1, latentChannels, latentSize, latentSize]
        switch self {
        case .encoder: return (["image": image], ["mean": latents, "std": latents])
        case .denoiser:
            let mask = [1, 1, latentSize, latentSize]
            let inputs = ["latents": latents, "mask": mask, "masked_latents": latents, "timestep": [1], "guidance": [1]]
            return (inputs, ["noise": latents])
        case .decoder: return (["latents": latents], ["image": image])
        }
    }
}

let latentChannels = 4

/// What computes the graphs: Core ML in an app, anything else in a test.
///
/// Calls come one after another, never two at once.
public protocol GraphRunner: AnyObject {
    /// Loads a graph, so that the next run is a run alone. Throws `InpaintError.engine`.
    func prepare(_ graph: Graph) async throws
    /// Evaluates a graph, loading it at first use; names and shapes as in `Graph`. Throws `InpaintError.engine`.
    func run(_ graph: Graph, _ inputs: [String: Tensor]) async throws -> [String: Tensor]
    /// Frees the graph's memory; it loads again when it is run again.
    func release(_ graph: Graph)
}

extension GraphRunner {
    public func prepare(_ graph: Graph) async throws {}
    public func release(_ graph: Graph) {}

    /// One output of a run. Throws `InpaintError.engine` when the graph does not give it in this shape.
    func output(_ name: String, of graph: Graph, from outputs: [String: Tensor], shape: [Int]) throws -> Tensor {
        guard let found = outputs[name], found.shape == shape else {
            let what = outputs[name].map { "\(name) of shape \($0.shape)" } ?? "no \(name)"
            throw InpaintError.engine("the \(graph.rawValue) gave \(what); expected shape \(shape): \(repair)")
        }
        return found
    }
}
