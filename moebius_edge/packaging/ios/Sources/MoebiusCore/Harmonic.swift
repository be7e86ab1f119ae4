/// The paste in the gradient domain: the fill takes on the photo's colours along the rim of the hole, by the
/// difference beside it continued into it as a harmonic function. "The harmonic correction" of docs/loop.md of
/// moebius-edge, which fixes the order of every addition. The loop's start is continued into the hole by the same
/// function.

private let passes = 2  // of the 3 x 3 mean along the rim
private let cycles = 5  // V-cycles at each size
private let sweeps = 2  // of Jacobi's method before and after each smaller size
private let step = 0.2  // of a sweep
private let block = 16  // pixels

/// What to add to `fill` so that it meets `surround` at the rim of `hole`: [R,R,3].
///
/// `surround` [R,R,3], the photo at this size, with nothing of what is removed in a pixel outside the hole; `fill`
/// [R,R,3] in 0 to 255; `hole` [R,R], not all of it.
public func correction(surround: Picture, fill: [Double], hole: Mask) -> [Double] {
    let free = Plane(hole.width, hole.height, hole.pixels.map { $0 ? 1.0 : 0.0 })
    let known = Plane(hole.width, hole.height, hole.pixels.map { $0 ? 0.0 : 1.0 })
    let count = windowSum(known)
    var result = [Double](repeating: 0, count: fill.count)
    for c in 0..<3 {
        var values = Plane(hole.width, hole.height)
        for i in values.data.indices {
            values.data[i] = (Double(surround.bytes[3 * i + c]) - fill[3 * i + c]) * known.data[i]
        }
        for _ in 0..<passes {
            values = windowSum(values)
            for i in values.data.indices {
                values.data[i] = values.data[i] / max(count.data[i], 1) * known.data[i]
            }
        }
        if let box = hole.box { extend(&values, free, box) }
        for i in values.data.indices { result[3 * i + c] = values.data[i] }
    }
    return result
}

/// `values` [H,W] with, in `hole` [H,W], the harmonic function of those around it; `hole` is not all of it.
func extended(_ values: [Double], into hole: Mask) -> [Double] {
    guard let box = hole.box else { return values }
    var plane = Plane(hole.width, hole.height, values)
    extend(&plane, Plane(hole.width, hole.height, hole.pixels.map { $0 ? 1.0 : 0.0 }), box)
    return plane.data
}

/// Puts the harmonic function of the values around the hole into it: in its box with its rim, in whole blocks.
private func extend(_ values: inout Plane, _ free: Plane, _ box: Box) {
    let part = Box(
        left: max(box.left - 1, 0) / block * block,
        top: max(box.top - 1, 0) / block * block,
        right: min((box.right + block) / block * block, values.width),
        bottom: min((box.bottom + block) / block * block, values.height))
    let solution = solve(values.part(part), free.part(part))
    for y in 0..<solution.height {
        for x in 0..<solution.width {
            values.data[(part.top + y) * values.width + part.left + x] = solution.data[y * solution.width + x]
        }
    }
}

/// Sums over the 3 x 3 window around each pixel; outside is 0.
private func windowSum(_ plane: Plane) -> Plane {
    let width = plane.width
    let count = plane.data.count
    var rows = Plane(width, plane.height)
    var sums = rows
    for i in 0..<count {
        let x = i % width
        let before: Double = x > 0 ? plane.data[i - 1] : 0
        let after: Double = x < width - 1 ? plane.data[i + 1] : 0
        rows.data[i] = before + plane.data[i] + after
    }
    for i in 0..<count {
        let above: Double = i >= width ? rows.data[i - width] : 0
        let below: Double = i + width < count ? rows.data[i + width] : 0
        sums.data[i] = above + rows.data[i] + below
    }
    return sums
}

/// `values`, harmonic where `free` is 1: starts from the solution at half the size.
private func solve(_ values: Plane, _ free: Plane) -> Plane {
    guard free.data.contains(1) else { return values }
    var fixed = free
    var x = values
    for i in x.data.indices {
        fixed.data[i] = 1 - free.data[i]
        x.data[i] = values.data[i] * fixed.data[i]
    }
    var count = children(fixed)
    var coarse = children(x)
    for i in count.data.indices {
        coarse.data[i] = coarse.data[i] / max(count.data[i], 1)
        count.data[i] = count.data[i] == 0 ? 1 : 0
    }
    x.add(enlarged(solve(coarse, count), x.width, x.height), where: free)
    let zero = Plane(x.width, x.height)
    for _ in 0..<cycles { cycle(&x, zero, free) }
    return x
}

/// Moves `x` nearer to 4 x - (its four neighbours) = `target` where `free` is 1.
private func cycle(_ x: inout Plane, _ target: Plane, _ free: Plane) {
    relax(&x, target, free)
    var inner = children(free)
    for i in inner.data.indices { inner.data[i] = inner.data[i] == 4 ? 1 : 0 }
    if inner.data.contains(1) {
        var rest = children(residual(x, target, free))
        for i in rest.data.indices { rest.data[i] = rest.data[i] * inner.data[i] }
        var error = Plane(rest.width, rest.height)
        cycle(&error, rest, inner)
        x.add(enlarged(error, x.width, x.height), where: free)
    }
    relax(&x, target, free)
}

private func relax(_ x: inout Plane, _ target: Plane, _ free: Plane) {
    for _ in 0..<sweeps {
        let left = residual(x, target, free)
        for i in x.data.indices { x.data[i] = x.data[i] + step * left.data[i] }
    }
}

/// What is missing in each equation; beyond the edges are the edges' values.
private func residual(_ x: Plane, _ target: Plane, _ free: Plane) -> Plane {
    let width = x.width
    var result = Plane(width, x.height)
    var i = 0
    for row in 0..<x.height {
        let above = row > 0 ? width : 0
        let below = row < x.height - 1 ? width : 0
        for column in 0..<width {
            let before = column > 0 ? 1 : 0
            let after = column < width - 1 ? 1 : 0
            let vertical = x.data[i - above] + x.data[i + below]
            let horizontal = x.data[i - before] + x.data[i + after]
            let wanted = target.data[i] + (vertical + horizontal)
            result.data[i] = (wanted - 4 * x.data[i]) * free.data[i]
            i += 1
        }
    }
    return result
}

/// Sums of 2 x 2 pixels; what an odd last row or column lacks is 0.
private func children(_ plane: Plane) -> Plane {
    var sums = Plane((plane.width + 1) / 2, (plane.height + 1) / 2)
    for i in sums.data.indices {
        let x = i % sums.width * 2
        let y = i / sums.width * 2
        let left = plane.at(x, y) + plane.at(x, y + 1)
        let right = plane.at(x + 1, y) + plane.at(x + 1, y + 1)
        sums.data[i] = left + right
    }
    return sums
}

/// At twice the size, cut to width x height: linear between the centres of pixels.
private func enlarged(_ plane: Plane, _ width: Int, _ height: Int) -> Plane {
    var tall = Plane(plane.width, height)
    for i in tall.data.indices {
        let (x, y) = (i % plane.width, i / plane.width)
        tall.data[i] = 0.75 * plane.at(x, y / 2) + 0.25 * plane.at(x, neighbour(y, plane.height))
    }
    var result = Plane(width, height)
    for i in result.data.indices {
        let (x, y) = (i % width, i / width)
        result.data[i] = 0.75 * tall.at(x / 2, y) + 0.25 * tall.at(neighbour(x, plane.width), y)
    }
    return result
}

/// Of the smaller picture's `size` pixels, the second nearest to pixel `i` of the larger one.
private func neighbour(_ i: Int, _ size: Int) -> Int {
    i % 2 == 0 ? max(i / 2 - 1, 0) : min(i / 2 + 1, size - 1)
}

/// Numbers of one channel, row by row.
private struct Plane {
    let width: Int
    let height: Int
    var data: [Double]

    init(_ width: Int, _ height: Int) {
        self.init(width, height, [Double](repeating: 0, count: width * height))
    }

    init(_ width: Int, _ height: Int, _ data: [Double]) {
        (self.width, self.height, self.data) = (width, height, data)
    }

    /// 0 beyond the right and the lower edge.
    func at(_ x: Int, _ y: Int) -> Double { x < width && y < height ? data[y * width + x] : 0 }

    func part(_ box: Box) -> Plane {
        var part = Plane(box.width, box.height)
        for y in 0..<box.height {
            for x in 0..<box.width {
                part.data[y * box.width + x] = data[(box.top + y) * width + box.left + x]
            }
        }
        return part
    }

    /// Adds `change` where `free` is 1.
    mutating func add(_ change: Plane, where free: Plane) {
        for i in data.indices { data[i] = data[i] + change.data[i] * free.data[i] }
    }
}
