/// Step 4: the square of the photo [side,side,3], mirrored over its edges, without the colours that mean nothing.
///
/// Unknown are clear pixels, for under full transparency most editors save black; and those of `mask`, unless it is
/// nil: what is to be removed. The resizing filter would mix either into its neighbours. The square is divided into
/// the model's pixels, or the photo's where these are larger. An unknown pixel gets the mean of its cell's known ones,
/// or, where there are none, the harmonic function of the cells around.
///
/// Throws `InpaintError.input` when nothing in the square is known.
func completed(_ crop: Crop, _ photo: Photo, without mask: Mask?, resolution: Int) throws -> Picture {
    var square = crop.cut(photo.rgb)
    guard let unknown = unknownPixels(crop, photo, mask) else { return square }
    let n = min(crop.side, resolution)
    let place = (0..<crop.side).map { $0 * n / crop.side }  // the cell of each row and column
    let cells = try coloursOfCells(square, unknown, n, place)
    for y in 0..<crop.side {
        for x in 0..<crop.side where unknown.bytes[y * crop.side + x] != 0 {
            let (to, from) = (3 * (y * crop.side + x), 3 * (place[y] * n + place[x]))
            for c in 0..<3 { square.bytes[to + c] = cells.bytes[from + c] }
        }
    }
    return square
}

/// Which pixels of the square [side,side] are unknown: bytes above 0; nil: none.
private func unknownPixels(_ crop: Crop, _ photo: Photo, _ mask: Mask?) -> Picture? {
    guard photo.alpha != nil || mask != nil else { return nil }
    let part = crop.inside(photo.rgb.width, photo.rgb.height)
    var hidden = mask?.part(part)
        ?? Mask(width: part.width, height: part.height, pixels: [Bool](repeating: false, count: part.area))
    if let alpha = photo.alpha {
        for y in 0..<part.height {
            let from = (part.top + y) * alpha.width + part.left
            for x in 0..<part.width where alpha.bytes[from + x] == 0 { hidden.pixels[y * part.width + x] = true }
        }
    }
    return hidden.isEmpty ? nil : crop.cut(hidden, at: part)
}

/// The colour of each cell [n,n,3].
private func coloursOfCells(_ square: Picture, _ unknown: Picture, _ n: Int, _ place: [Int]) throws -> Picture {
    let side = square.width
    var sums = [Int](repeating: 0, count: 3 * n * n)
    var counts = [Int](repeating: 0, count: n * n)
    for y in 0..<side {
        for x in 0..<side where unknown.bytes[y * side + x] == 0 {
            let (from, to) = (y * side + x, place[y] * n + place[x])
            counts[to] += 1
            for c in 0..<3 { sums[3 * to + c] += Int(square.bytes[3 * from + c]) }
        }
    }
    let empty = Mask(width: n, height: n, pixels: counts.map { $0 == 0 })
    guard !empty.isFull else {
        throw InpaintError.input(
            "everything around the mask is fully transparent: nothing is left to fill it from; mark a part that can "
                + "be seen, or remove the transparency")
    }
    var colours = Picture(width: n, height: n, channels: 3, bytes: [UInt8](repeating: 0, count: 3 * n * n))
    for c in 0..<3 {
        let means = counts.indices.map { Double(sums[3 * $0 + c]) / Double(max(counts[$0], 1)) }
        for (i, value) in extended(means, into: empty).enumerated() { colours.bytes[3 * i + c] = byte(value) }
    }
    return colours
}

/// The nearest byte; of two, the even one.
func byte(_ value: Double) -> UInt8 { UInt8(min(max(value, 0), 255).rounded(.toNearestOrEven)) }
