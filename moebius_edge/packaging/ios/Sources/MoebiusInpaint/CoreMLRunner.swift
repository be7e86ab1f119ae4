#if canImport(CoreML)
import CoreML
import MoebiusCore

/// Runs the graphs through Core ML on one compute unit, one graph in memory at a time.
public final class CoreMLRunner: GraphRunner {
    private let models: CompiledModels
    private let unit: ComputeUnit
    private var loaded: (graph: Graph, model: MLModel)?

    /// Loads nothing yet.
    public init(models: CompiledModels, unit: ComputeUnit) { (self.models, self.unit) = (models, unit) }

    public func prepare(_ graph: Graph) async throws {
        if loaded?.graph == graph { return }
        loaded = nil
        do {
            loaded = (graph, try await load(graph))
        } catch InpaintError.engine {
            // What another version of the system compiled, or a full disk cut off, may not load: once more, anew.
            models.remove(graph)
            loaded = (graph, try await load(graph))
        }
    }

    public func run(_ graph: Graph, _ inputs: [String: Tensor]) async throws -> [String: Tensor] {
        try await prepare(graph)
        return try predict(graph, inputs)
    }

    public func release(_ graph: Graph) {
        if loaded?.graph == graph { loaded = nil }
    }

    private func load(_ graph: Graph) async throws -> MLModel {
        let configuration = MLModelConfiguration()
        configuration.computeUnits = unit.units
        let url = try await models.url(of: graph)
        do {
            return try await MLModel.load(contentsOf: url, configuration: configuration)
        } catch {
            throw InpaintError.engine(
                "Core ML cannot load the \(graph.rawValue) on \(unit.rawValue): \(error.localizedDescription)")
        }
    }

    /// Not async, so that Core ML's own call that waits is meant, which iOS 16 has as well.
    private func predict(_ graph: Graph, _ inputs: [String: Tensor]) throws -> [String: Tensor] {
        guard let model = loaded?.model else {
            throw InpaintError.engine("the \(graph.rawValue) is not loaded")
        }
        do {
            // Shaped arrays are copied whole, strides of the engine's own buffers included.
            let values = inputs.mapValues {
                MLFeatureValue(shapedArray: MLShapedArray<Float>(scalars: $0.values, shape: $0.shape))
            }
            let outputs = try model.prediction(from: MLDictionaryFeatureProvider(dictionary: values))
            var result: [String: Tensor] = [:]
            for name in outputs.featureNames {
                guard let array = outputs.featureValue(for: name)?.shapedArrayValue(of: Float.self) else {
                    throw InpaintError.engine("\(name) of the \(graph.rawValue) is not an array of float32 numbers")
                }
                result[name] = Tensor(array.shape, array.scalars)
            }
            return result
        } catch let error as InpaintError {
            throw error
        } catch {
            throw InpaintError.engine(
                "Core ML cannot run the \(graph.rawValue) on \(unit.rawValue): \(error.localizedDescription)")
        }
    }
}
#endif
