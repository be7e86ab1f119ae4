import Foundation

/// Everything that can go wrong, as one sentence for the person who reads it: what was found, what was expected,
/// what to do.
public enum InpaintError: Error, Equatable, Sendable {
    /// A photo, a mask or an option cannot be used.
    case input(String)
    /// The model's files are missing, damaged, unsafe or of another version.
    case bundle(String)
    /// Core ML cannot load or run a graph, on any compute unit that was allowed.
    case engine(String)
    /// A graph gave NaN or Inf.
    case notFinite(String)
    /// The task was cancelled between two graph runs.
    case cancelled(done: Int, total: Int)
    /// The inpainter works on another photo: one edit at a time, because one graph is in memory at a time.
    case busy
}

extension InpaintError: LocalizedError, CustomStringConvertible {
    public var errorDescription: String? { description }

    public var description: String {
        switch self {
        case .input(let text), .bundle(let text), .engine(let text), .notFinite(let text): return text
        case .cancelled(let done, let total): return "stopped after \(done) of \(total) graph runs"
        case .busy: return "another photo is being edited; wait for it, or cancel it"
        }
    }
}

/// What to do about damaged files.
let repair = "install the app again, or make the package again with `moebius-edge package`"

/// The sentence of any error: ours as they are, the system's as it words them.
public func sentence(_ error: Error) -> String {
    (error as? InpaintError)?.description ?? error.localizedDescription
}
