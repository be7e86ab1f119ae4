import Foundation

/// The package's `app.json` (docs/devices.md of moebius-edge): which model this is and how close it must be.
public struct AppDescription: Codable, Equatable, Sendable {
    /// Bars in dB.
    public struct Thresholds: Codable, Equatable, Sendable {
        public let encoder: Double
        public let denoiser: Double
        public let decoder: Double
        public let hole: Double

        public init(encoder: Double, denoiser: Double, decoder: Double, hole: Double) {
            (self.encoder, self.denoiser, self.decoder, self.hole) = (encoder, denoiser, decoder, hole)
        }

        enum CodingKeys: String, CodingKey {
            case encoder = "encoder_db"
            case denoiser = "denoiser_db"
            case decoder = "decoder_db"
            case hole = "hole_db"
        }

        func of(_ graph: Graph) -> Double {
            switch graph {
            case .encoder: return encoder
            case .denoiser: return denoiser
            case .decoder: return decoder
            }
        }
    }

    public let format: String
    public let model: String
    public let license: String
    public let precision: String
    public let filesSHA256: String
    public let modelFolder: String
    public let downloadBytes: Int
    public let thresholds: Thresholds

    enum CodingKeys: String, CodingKey {
        case format, model, license, precision, thresholds
        case filesSHA256 = "files_sha256"
        case modelFolder = "model_folder"
        case downloadBytes = "download_bytes"
    }

    static let name = "app.json"
    static let format = "moebius-edge-app-1"

    /// Reads and checks the bytes of an `app.json`. Throws `InpaintError.bundle`.
    public init(_ data: Data) throws {
        do {
            self = try JSONDecoder().decode(AppDescription.self, from: data)
            guard format == AppDescription.format else {
                throw Wrong("its format is \(format.debugDescription); expected \(AppDescription.format)")
            }
            try checkName(modelFolder)
        } catch let error as Wrong {
            throw InpaintError.bundle("\(AppDescription.name): \(error.what); \(repair)")
        } catch {
            throw InpaintError.bundle("\(AppDescription.name): \(explained(error)); \(repair)")
        }
    }

    /// Opens the folder that has `app.json` and the model beside it.
    ///
    /// Throws `InpaintError.bundle`, also when the two do not belong together.
    public static func open(_ folder: URL) throws -> (app: AppDescription, bundle: ModelBundle) {
        let file = folder.appendingPathComponent(name)
        guard let data = try? Data(contentsOf: file), data.count <= Manifest.maxBytes else {
            throw InpaintError.bundle(
                "\(folder.path) has no readable \(name); add it and the model's folder to the app")
        }
        let app = try AppDescription(data)
        let bundle = try ModelBundle(folder: folder.appendingPathComponent(app.modelFolder))
        guard bundle.manifest.filesSHA256 == app.filesSHA256 else {
            throw InpaintError.bundle("\(name) is of another model than \(app.modelFolder): make the package again")
        }
        return (app, bundle)
    }
}
