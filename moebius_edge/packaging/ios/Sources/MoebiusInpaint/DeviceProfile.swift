#if canImport(CoreML)
import Foundation
import MoebiusCore

/// This device: its names, clock, thermal state and memory.
struct AppleDevice: ProfiledDevice {
    let unit: ComputeUnit

    var device: ProfileReport.Device {
        let version = ProcessInfo.processInfo.operatingSystemVersion
        let number = "\(version.majorVersion).\(version.minorVersion).\(version.patchVersion)"
        #if os(macOS)
        return .init(
            platform: "macos", model: systemName("hw.model") ?? "a Mac", system: "macOS \(number)",
            chip: systemName("machdep.cpu.brand_string") ?? "")
        #else
        return .init(
            platform: "ios", model: systemName("hw.machine") ?? "an iPhone or iPad", system: "iOS \(number)", chip: "")
        #endif
    }

    var engine: ProfileReport.Engine {
        let framework = Bundle(identifier: "com.apple.CoreML")
        let version = framework?.object(forInfoDictionaryKey: "CFBundleVersion") as? String
        return .init(name: "coreml", version: version ?? device.system, unit: unit.reported)
    }

    func milliseconds() -> Double { ProcessInfo.processInfo.systemUptime * 1000 }

    /// Apple tells apps no degrees.
    func celsius() -> Double? { nil }

    func thermalState() -> String? {
        switch ProcessInfo.processInfo.thermalState {
        case .nominal: return "nominal"
        case .fair: return "fair"
        case .serious: return "serious"
        case .critical: return "critical"
        @unknown default: return nil
        }
    }

    /// The footprint that the system's limit is about, at its largest.
    func peakMemoryBytes() -> Int? {
        var info = task_vm_info_data_t()
        var count = mach_msg_type_number_t(MemoryLayout<task_vm_info_data_t>.size / MemoryLayout<natural_t>.size)
        let status = withUnsafeMutablePointer(to: &info) { pointer in
            pointer.withMemoryRebound(to: integer_t.self, capacity: Int(count)) {
                task_info(mach_task_self_, task_flavor_t(TASK_VM_INFO), $0, &count)
            }
        }
        return status == KERN_SUCCESS ? Int(info.ledger_phys_footprint_peak) : nil
    }

    private func systemName(_ key: String) -> String? {
        var size = 0
        guard sysctlbyname(key, nil, &size, nil, 0) == 0, size > 0 else { return nil }
        var name = [CChar](repeating: 0, count: size)
        return sysctlbyname(key, &name, &size, nil, 0) == 0 ? String(cString: name) : nil
    }
}

/// Measures a model on this device and writes the JSON that `moebius-edge profile` reads.
public enum DeviceProfile {
    /// `folder` as for `MoebiusModel.open`; `unit` nil: the one that passes the self-test.
    ///
    /// What was compiled before is removed first, so that the first load is a cold one. The file is written whole or
    /// not at all. Throws `InpaintError`.
    public static func run(
        _ folder: URL = MoebiusModel.packaged, unit: ComputeUnit? = nil, options: ProfileOptions, output: URL,
        progress: Progress? = nil
    ) async throws {
        let chosen: ComputeUnit
        if let unit = unit {
            chosen = unit
        } else {
            chosen = ComputeUnit(rawValue: try await MoebiusModel.open(folder).choice.unit)!
        }
        let (app, bundle) = try AppDescription.open(folder)
        let models = try CompiledModels(bundle: bundle)
        models.removeAll()
        let profiler = try Profiler(
            app: app, bundle: bundle, runner: CoreMLRunner(models: models, unit: chosen),
            device: AppleDevice(unit: chosen), options: options)
        try await profiler.measure(progress: progress).write(to: output)
    }
}
#endif
