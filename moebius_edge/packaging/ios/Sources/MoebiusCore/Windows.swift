/// Sums over square windows of a mask: what growing and feathering are made of.
extension Mask {
    /// True if any pixel of the square of side 2 radius + 1 around it is.
    public func grow(_ radius: Int) -> Mask {
        guard radius > 0, let box = box else { return self }
        let around = box.grown(radius, within: width, height)
        var result = self
        part(around).windowCounts(radius, outside: .empty) { y, counts in
            let to = (around.top + y) * width + around.left
            for x in counts.indices { result.pixels[to + x] = counts[x] > 0 }
        }
        return result
    }

    /// Opacity, row by row: exactly 1 in the mask, exactly 0 farther than `feather` pixels from it.
    public func feathered(_ feather: Int) -> [Float] {
        let blur = feather / 2
        let area = Double((2 * blur + 1) * (2 * blur + 1))
        var opacity: [Float] = []
        opacity.reserveCapacity(pixels.count)
        grow(feather - blur).windowCounts(blur, outside: .edge) { _, counts in
            for count in counts { opacity.append(Float(Double(count) / area)) }
        }
        return opacity
    }

    enum Outside {
        case empty  // nothing is True beyond the mask
        case edge  // its edge goes on
    }

    /// For each row from the top, the number of True pixels in the square of side 2 radius + 1 around each pixel.
    func windowCounts(_ radius: Int, outside: Outside, row: (_ y: Int, _ counts: [Int32]) -> Void) {
        guard width > 0, height > 0 else { return }
        var counts = [Int32](repeating: 0, count: width)
        var line = counts
        // Rows come in at the bottom and go out at the top of the window; each is summed twice, none is kept.
        func add(_ y: Int, _ sign: Int32) {
            if outside == .empty && !(0..<height).contains(y) { return }
            sumRow(min(max(y, 0), height - 1), radius, outside, into: &line)
            for x in 0..<width { counts[x] &+= sign &* line[x] }
        }
        for y in -radius...radius { add(y, 1) }
        for y in 0..<height {
            row(y, counts)
            add(y + radius + 1, 1)
            add(y - radius, -1)
        }
    }

    private func sumRow(_ y: Int, _ radius: Int, _ outside: Outside, into line: inout [Int32]) {
        pixels.withUnsafeBufferPointer { all in
            func value(_ x: Int) -> Int32 {
                if outside == .empty && (x < 0 || x >= width) { return 0 }
                return all[y * width + min(max(x, 0), width - 1)] ? 1 : 0
            }
            var sum: Int32 = 0
            for x in -radius...radius { sum += value(x) }
            for x in 0..<width {
                line[x] = sum
                sum += value(x + radius + 1) - value(x - radius)
            }
        }
    }
}
