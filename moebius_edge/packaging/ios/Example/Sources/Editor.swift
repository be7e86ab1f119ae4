import MoebiusCore
import MoebiusInpaint
import SwiftUI

/// What the screen shows and does. All of it on the main thread; the model works elsewhere.
@MainActor
final class Editor: ObservableObject {
    enum Work: Equatable {
        case idle
        case running(String, done: Int, total: Int)
    }

    @Published private(set) var work = Work.idle
    @Published private(set) var about = "The model has not been tested on this device yet."
    @Published private(set) var photo: UIImage?
    @Published private(set) var result: UIImage?
    @Published private(set) var resultFile: URL?
    @Published var message: String?
    @Published var strokes: [Stroke] = []

    private var model: MoebiusModel?
    private var file: Data?
    private var task: Task<Void, Never>?

    private var documents: URL { FileManager.default.urls(for: .documentDirectory, in: .userDomainMask)[0] }

    var isBusy: Bool { work != .idle }
    var canRun: Bool { !isBusy && model != nil && file != nil && !strokes.isEmpty }

    /// Width and height of the photo as it is shown.
    var size: CGSize { photo?.size ?? .zero }

    /// `-profile runs edits` measures and writes Documents/profile.json; otherwise the model is opened.
    func start(_ arguments: [String]) async {
        guard model == nil, !isBusy else { return }
        do {
            if let options = try ProfileOptions.launch(arguments) { return profile(options, forProgram: true) }
        } catch {
            return leave(1, saying: "failed: \(sentence(error))")
        }
        run("Testing the model on this device") { progress in
            let model = try await MoebiusModel.open(progress: progress)
            self.model = model
            self.about = self.words(model)
        }
    }

    func open(_ data: Data) {
        guard let image = UIImage(data: data), let pixels = image.cgImage else {
            message = "This is not a photo that can be read; choose a JPEG, HEIC or PNG."
            return
        }
        // Points are pixels, whatever the scale of the screen.
        photo = UIImage(cgImage: pixels, scale: 1, orientation: image.imageOrientation)
        (file, strokes, result, resultFile) = (data, [], nil, nil)
    }

    func inpaint(seed: UInt64) {
        guard let model = model, let file = file else { return }
        let (width, height, strokes) = (Int(size.width), Int(size.height), self.strokes)
        run("Filling") { progress in
            var options = model.inpainter.defaults
            options.seed = seed
            let mask = await Task.detached { Mask(width: width, height: height, strokes: strokes) }.value
            let data = try await model.inpaint(file, mask: mask, options: options, progress: progress)
            self.result = UIImage(data: data)
            self.resultFile = try self.keep(data)
        }
    }

    /// `forProgram`: started by `moebius-edge profile`, which reads the console. docs/devices.md.
    func profile(_ options: ProfileOptions, forProgram: Bool = false) {
        let output = documents.appendingPathComponent("profile.json")
        UIApplication.shared.isIdleTimerDisabled = true  // a locked screen stops the measurement
        run("Measuring") { progress in
            do {
                try await DeviceProfile.run(options: options, output: output) { done, total in
                    if forProgram { speak("run \(done) of \(total)") }
                    progress(done, total)
                }
            } catch {
                if forProgram { self.leave(1, saying: "failed: \(sentence(error))") }
                throw error
            }
            if forProgram { self.leave(0, saying: "done") }
            self.message = "Wrote profile.json to this app's documents."
        }
    }

    /// End the app that a program has started and waits for.
    private func leave(_ code: Int32, saying words: String) {
        speak(words)
        exit(code)
    }

    func cancel() { task?.cancel() }

    /// One piece of work at a time; whatever ends it, the screen is usable again.
    private func run(_ name: String, _ body: @escaping @MainActor (@escaping Progress) async throws -> Void) {
        guard !isBusy else { return }
        work = .running(name, done: 0, total: 1)
        task = Task {
            do {
                try await body { done, total in
                    Task { @MainActor in
                        if self.isBusy { self.work = .running(name, done: done, total: total) }
                    }
                }
            } catch {
                message = sentence(error)
            }
            work = .idle
            UIApplication.shared.isIdleTimerDisabled = false
        }
    }

    private func keep(_ data: Data) throws -> URL {
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("filled.\(PhotoFile.suffix(of: data))")
        try data.write(to: file, options: .atomic)
        return file
    }

    private func words(_ model: MoebiusModel) -> String {
        let tested = model.choice.trials.map { trial in
            let hole = trial.report?.hole.map { String(format: "%.1f dB in the hole", $0) } ?? "could not run"
            return "\(trial.unit): \(trial.reason ?? hole)"
        }
        let licence = "\(model.app.model), \(model.app.precision), licence \(model.app.license)"
        return ([licence, "Runs on \(model.choice.unit)."] + tested).joined(separator: "\n")
    }
}

/// A line on the console, at once: a pipe would keep it back.
private func speak(_ words: String) {
    print("moebius-profile: \(words)")
    fflush(nil)
}
