/// Step 2 of the loop: the parts of a mask that are far apart are holes, which are edited one after another, each in
/// a square of its own scale.
///
/// Parts whose squares overlap would see each other, so they are one hole. What is joined may need a larger square,
/// which may overlap the next: joining is repeated until none overlap. In a round all that overlap are joined at
/// once, so the result does not depend on an order.
extension Mask {
    /// The box of each hole, from top to bottom and left to right; none for an empty mask.
    ///
    /// Together they hold all True pixels. `resolution`: the model's; `margin` and `feather` as in `EditOptions`.
    public func holes(resolution: Int, margin: Double, feather: Int) -> [Box] {
        var boxes = parts(cell: max(resolution / cellsPerModel, 1))
        while true {
            let joined = overlapping(boxes, boxes.map { box in
                Crop.square(
                    around: box, width: width, height: height, resolution: resolution, margin: margin, feather: feather
                ).inside(width, height)
            })
            if joined.count == boxes.count { break }
            boxes = joined
        }
        return boxes.sorted { ($0.top, $0.left) < ($1.top, $1.left) }
    }

    /// The boxes of the parts: True pixels in cells of a grid that touch, also at a corner.
    private func parts(cell: Int) -> [Box] {
        let across = (width + cell - 1) / cell
        var cells = [Box?](repeating: nil, count: across * ((height + cell - 1) / cell))
        for y in 0..<height {
            let row = y * width
            for x in 0..<across {
                let line = pixels[row + x * cell..<row + min((x + 1) * cell, width)]
                guard let first = line.firstIndex(of: true), let last = line.lastIndex(of: true) else { continue }
                let found = Box(left: first - row, top: y, right: last + 1 - row, bottom: y + 1)
                let place = y / cell * across + x
                cells[place] = cells[place]?.joined(found) ?? found
            }
        }
        var groups = Groups(cells.count)
        for (place, box) in cells.enumerated() where box != nil {
            // To the right and below; from the other four this one is found.
            for (right, down) in [(1, 0), (-1, 1), (0, 1), (1, 1)] {
                let beside = place + down * across + right
                guard (0..<across).contains(place % across + right), beside < cells.count else { continue }
                if cells[beside] != nil { groups.join(place, beside) }
            }
        }
        return groups.boxes(around: cells)
    }
}

private let cellsPerModel = 4  // along the model's side: parts in touching cells are one hole from the start

/// The boxes around those whose squares overlap, directly or through others.
private func overlapping(_ boxes: [Box], _ squares: [Box]) -> [Box] {
    var groups = Groups(boxes.count)
    for i in squares.indices {
        for j in squares.indices.dropFirst(i + 1) where squares[i].overlaps(squares[j]) { groups.join(i, j) }
    }
    return groups.boxes(around: boxes)
}

/// Which things belong together, directly or through others.
private struct Groups {
    /// Another one of the same group, or itself.
    private var other: [Int]

    init(_ count: Int) { other = Array(0..<count) }

    mutating func join(_ i: Int, _ j: Int) { other[root(i)] = root(j) }

    /// In no order.
    mutating func boxes(around boxes: [Box?]) -> [Box] {
        var found: [Int: Box] = [:]
        for (i, box) in boxes.enumerated() {
            guard let box = box else { continue }
            let group = root(i)
            found[group] = found[group]?.joined(box) ?? box
        }
        return Array(found.values)
    }

    private mutating func root(_ thing: Int) -> Int {
        var i = thing
        while other[i] != i {
            other[i] = other[other[i]]
            i = other[i]
        }
        return i
    }
}
