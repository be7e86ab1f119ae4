/// Values that have the right type and are still impossible.
extension Manifest {
    func check() throws {
        try require(latentSize > 0 && resolution > 0 && resolution <= 8192 && resolution % latentSize == 0,
                    "resolution is \(resolution) and latent_size \(latentSize); expected a multiple, at most 8192")
        try checkGraphs()
        try checkScheduler()
        try checkFiles()
    }

    private func checkGraphs() throws {
        try require(Set(graphs.keys) == Set(Graph.allCases.map(\.rawValue)),
                    "graphs must be exactly encoder, denoiser, decoder")
        for graph in Graph.allCases {
            let spec = graphs[graph.rawValue]!
            let expected = graph.interface(resolution: resolution, latentSize: latentSize)
            for (side, found, wanted) in [
                ("inputs", spec.inputs, expected.inputs), ("outputs", spec.outputs, expected.outputs),
            ] {
                let shapes = Dictionary(found.map { ($0.name, $0.shape) }, uniquingKeysWith: { first, _ in first })
                try require(shapes == wanted && found.count == wanted.count,
                            "graphs.\(graph.rawValue).\(side) is \(shapes); expected \(wanted)")
                for tensor in found {
                    try require(["float32", "float16"].contains(tensor.dtype),
                                "graphs.\(graph.rawValue).\(tensor.name) is \(tensor.dtype)")
                }
            }
        }
    }

    private func checkScheduler() throws {
        try require(scheduler.betaSchedule == "scaled_linear" && scheduler.prediction == "epsilon",
                    "scheduler: only scaled_linear and epsilon are known")
        try require(0 < scheduler.betaStart && scheduler.betaStart <= scheduler.betaEnd && scheduler.betaEnd < 1,
                    "scheduler: expected 0 < beta_start <= beta_end < 1")
        try require((1...100_000).contains(scheduler.trainTimesteps), "scheduler.train_timesteps is out of range")
        try require(isIdentifier(scheduler.solver), "scheduler.solver must be a lower-case identifier")
        let steps = scheduler.coefficients.map(\.timestep)
        try require(!steps.isEmpty && steps.count <= defaults.steps && defaults.steps <= 1000,
                    "scheduler.coefficients must have 1 to `steps` entries")
        try require(zip(steps, steps.dropFirst()).allSatisfy { $0 > $1 } && steps.last! >= 0
                        && steps[0] < scheduler.trainTimesteps && scheduler.start.timestep == steps[0],
                    "scheduler.coefficients must have falling timesteps within the training timesteps")
        try require(defaults.strength > 0 && defaults.strength <= 1 && defaults.guidance >= 0
                        && defaults.noiseOffset >= 0,
                    "defaults are out of range")
    }

    private func checkFiles() throws {
        try require(files.count <= Manifest.maxFiles, "it lists more than \(Manifest.maxFiles) files")
        for (name, file) in files {
            try checkName(name)
            try require((0...Manifest.maxFileBytes).contains(file.size), "\(name) claims \(file.size) bytes")
            try require(isSHA256(file.sha256), "\(name) has no SHA-256 of 64 hex digits")
        }
        let lowered = Set(files.keys.map { $0.lowercased() })
        try require(lowered.count == files.count, "it lists two files whose names differ only in case")
        try require(files[capsule] != nil, "the capsule \(shown(capsule)) is not among its files")
        for spec in graphs.values {
            try checkName(spec.file)
            let inside = files[spec.file] != nil || files.keys.contains { $0.hasPrefix(spec.file + "/") }
            try require(inside, "the graph \(shown(spec.file)) is not among its files")
        }
    }
}

/// A relative path that means the same, harmless thing on every system.
func checkName(_ name: String) throws {
    let segments = name.split(separator: "/", omittingEmptySubsequences: false)
    let fine = segments.allSatisfy { segment in
        guard let first = segment.utf8.first, segment.utf8.count <= 127, !segment.hasSuffix(".") else { return false }
        return (isLetterOrDigit(first) || first == 95)
            && segment.utf8.allSatisfy { isLetterOrDigit($0) || [45, 46, 95].contains($0) }  // - . _
    }
    try require(fine, "the file name \(shown(name)) is not allowed: names are relative, of letters, digits, "
                    + "'.', '_' and '-', and stay inside the bundle")
    try require(segments.count <= 8 && name.utf8.count <= 200, "the file name \(shown(name)) is too long")
    try require(name.lowercased() != Manifest.name, "\(Manifest.name) cannot list itself")
}

private func isIdentifier(_ word: String) -> Bool {
    let lower = word.utf8.allSatisfy { (48...57).contains($0) || (97...122).contains($0) || [45, 46, 95].contains($0) }
    return lower && (1...64).contains(word.utf8.count) && isLetterOrDigit(word.utf8.first!)
}

private func isLetterOrDigit(_ byte: UInt8) -> Bool {
    (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte)
}

private func shown(_ name: String) -> String { "\(String(name.prefix(120)).debugDescription)" }

private func require(_ condition: Bool, _ what: @autoclosure () -> String) throws {
    if !condition { throw Wrong(what()) }
}
