#if canImport(CoreML)
import Foundation
import MoebiusCore

/// A model that has passed its self-test on this device: what an app holds on to.
public final class MoebiusModel: Sendable {
    public let app: AppDescription
    public let bundle: ModelBundle
    /// The compute unit in use, what the self-test measured, and why the units before it were not taken.
    public let choice: UnitChoice
    public let inpainter: Inpainter

    private init(app: AppDescription, bundle: ModelBundle, choice: UnitChoice, inpainter: Inpainter) {
        (self.app, self.bundle, self.choice, self.inpainter) = (app, bundle, choice, inpainter)
    }

    /// The folder with `app.json` and the model that this package carries.
    public static var packaged: URL {
        let file = Bundle.module.url(forResource: "app", withExtension: "json")
        return file?.deletingLastPathComponent() ?? Bundle.module.bundleURL
    }

    /// Opens a folder that has `app.json` and the model: this package's own, or one that the app has downloaded.
    ///
    /// The first time, each graph is compiled and the capsule replayed, on the first of `units` and, when that does
    /// not reach the thresholds, on the next; afterwards the answer is remembered until the model or the system
    /// changes. `progress` counts the graph runs of one unit's self-test. Throws `InpaintError`.
    public static func open(
        _ folder: URL = packaged, units: [ComputeUnit] = ComputeUnit.preferred, progress: Progress? = nil
    ) async throws -> MoebiusModel {
        let (app, bundle) = try AppDescription.open(folder)
        let models = try CompiledModels(bundle: bundle)
        let system = ProcessInfo.processInfo.operatingSystemVersionString
        let key = [app.filesSHA256, system, units.map(\.rawValue).joined(separator: ",")].joined(separator: " ")
        let choice = try await chooseUnit(
            units.map(\.rawValue), key: key, memory: models.memory, thresholds: app.thresholds
        ) { name in
            let runner = CoreMLRunner(models: models, unit: ComputeUnit(rawValue: name)!)
            let shape = bundle.manifest.shape
            return try await selfTest(
                try bundle.capsule(), runner: runner, shape: shape, thresholds: app.thresholds, progress: progress)
        }
        let runner = CoreMLRunner(models: models, unit: ComputeUnit(rawValue: choice.unit)!)
        let inpainter = Inpainter(runner: runner, manifest: bundle.manifest)
        return MoebiusModel(app: app, bundle: bundle, choice: choice, inpainter: inpainter)
    }

    /// Fills the mask of a photo file: JPEG, HEIC, PNG, ... in; the same kind out, PNG where ImageIO cannot write it.
    ///
    /// `mask` is as large as the photo is shown. Throws as `Inpainter.inpaint`.
    public func inpaint(
        _ file: Data, mask: Mask, options: EditOptions? = nil, progress: Progress? = nil
    ) async throws -> Data {
        let source = try PhotoFile(file)
        let result = try await inpainter.inpaint(source.photo, mask: mask, options: options, progress: progress)
        return try source.data(of: result)
    }
}
#endif
