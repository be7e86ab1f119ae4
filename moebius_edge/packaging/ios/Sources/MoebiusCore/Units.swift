import Foundation

/// What one compute unit did in the self-test.
public struct UnitTrial: Codable, Equatable, Sendable {
    public let unit: String
    /// nil: the unit could not run the graphs.
    public let report: SelfTestReport?
    /// Why the unit was not taken; nil for the one that was.
    public let reason: String?
}

/// Which compute unit an app uses, and why not the ones before it.
public struct UnitChoice: Codable, Equatable, Sendable {
    /// What the choice was made for: the files, the system and the units that were allowed.
    public let key: String
    public let unit: String
    /// In the order they were tried; the last passed.
    public let trials: [UnitTrial]
}

/// Remembers a choice in a file, so that the self-test runs once per model and system, not at each start.
public struct UnitMemory: Sendable {
    let file: URL

    public init(file: URL) { self.file = file }

    /// The choice for this key; nil when there is none, or the file cannot be used: then the test runs again.
    func choice(for key: String) -> UnitChoice? {
        guard let data = try? Data(contentsOf: file),
            let found = try? JSONDecoder().decode(UnitChoice.self, from: data), found.key == key
        else { return nil }
        return found
    }

    /// Keeps a choice. A full disk is no reason to fail: the test runs again next time.
    func keep(_ choice: UnitChoice) {
        let folder = file.deletingLastPathComponent()
        try? FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        try? JSONEncoder().encode(choice).write(to: file, options: .atomic)
    }
}

/// The first unit that passes the self-test; what an earlier call found is taken without a test.
///
/// `test` replays the capsule on one unit. Throws `InpaintError.engine` with every unit's reason when none passes,
/// and whatever else `test` throws: damaged files and a cancelled task are no fault of the unit.
public func chooseUnit(
    _ units: [String], key: String, memory: UnitMemory, thresholds: AppDescription.Thresholds,
    test: (String) async throws -> SelfTestReport
) async throws -> UnitChoice {
    if let known = memory.choice(for: key), units.contains(known.unit) { return known }
    var trials: [UnitTrial] = []
    for unit in units {
        do {
            let report = try await test(unit)
            let reason = report.ok ? nil : report.failures(thresholds)
            trials.append(UnitTrial(unit: unit, report: report, reason: reason))
            if report.ok {
                let choice = UnitChoice(key: key, unit: unit, trials: trials)
                memory.keep(choice)
                return choice
            }
        } catch InpaintError.engine(let reason) {
            trials.append(UnitTrial(unit: unit, report: nil, reason: reason))
        }
    }
    let reasons = trials.map { "\($0.unit): \($0.reason ?? "")" }.joined(separator: "; ")
    throw InpaintError.engine("this model does not pass its self-test on this device: \(reasons)")
}
