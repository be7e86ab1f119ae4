/// Step 12: pastes the model's picture [R,R,3] into the photo, where the mask [H,W] is True and fading out around it.
///
/// Beyond the feather the photo keeps its bytes, and where it is clear.
func paste(_ fill: Picture, _ crop: Crop, into photo: inout Photo, _ mask: Mask, feather: Int) {
    let width = photo.rgb.width
    let seen = crop.inside(width, photo.rgb.height)
    let part = mask.part(seen)
    guard let box = part.box else { return }
    // Only pixels near the mask can change; the row and the column more let the edge go on as it does in the whole.
    let near = box.grown(feather + 1, within: part.width, part.height)
    let opacity = part.part(near).feathered(feather)
    let scaled = fill.resized(width: crop.side, height: crop.side, filter: .lanczos)
    for y in 0..<near.height {
        let photoRow = (seen.top + near.top + y) * width + seen.left + near.left
        let fillRow = (seen.top + near.top + y - crop.top) * crop.side + seen.left + near.left - crop.left
        for x in 0..<near.width {
            let new = opacity[y * near.width + x]
            if new == 0 || photo.isClear(photoRow + x) { continue }
            for c in 0..<3 {
                let (from, to) = (3 * (fillRow + x) + c, 3 * (photoRow + x) + c)
                let mixed = new * Float(scaled.bytes[from]) + (1 - new) * Float(photo.rgb.bytes[to])
                photo.rgb.bytes[to] = UInt8(mixed.rounded(.toNearestOrEven))
            }
        }
    }
}
