/// A line that a finger drew, in pixels of the photo.
public struct Stroke: Equatable, Sendable {
    public struct Point: Equatable, Sendable {
        public let x: Double
        public let y: Double

        public init(x: Double, y: Double) { (self.x, self.y) = (x, y) }
    }

    public var points: [Point]
    public let radius: Double
    /// Takes away from the mask what strokes before it drew.
    public let erases: Bool

    public init(points: [Point], radius: Double, erases: Bool = false) {
        (self.points, self.radius, self.erases) = (points, radius, erases)
    }
}

extension Mask {
    /// The pixels whose centres lie within a stroke's radius of its line, strokes one after another.
    public init(width: Int, height: Int, strokes: [Stroke]) {
        self.init(width: width, height: height, pixels: [Bool](repeating: false, count: width * height))
        for stroke in strokes {
            let ends = stroke.points.count > 1 ? Array(stroke.points.dropFirst()) : stroke.points
            for (from, to) in zip(stroke.points, ends) { draw(from, to, stroke) }
        }
    }

    private mutating func draw(_ from: Stroke.Point, _ to: Stroke.Point, _ stroke: Stroke) {
        let radius = stroke.radius
        let (dx, dy) = (to.x - from.x, to.y - from.y)
        let length = dx * dx + dy * dy
        let rows = Mask.span(min(from.y, to.y) - radius, max(from.y, to.y) + radius, height)
        let columns = Mask.span(min(from.x, to.x) - radius, max(from.x, to.x) + radius, width)
        for y in rows {
            for x in columns {
                let (px, py) = (Double(x) + 0.5 - from.x, Double(y) + 0.5 - from.y)
                let along = length > 0 ? min(max((px * dx + py * dy) / length, 0), 1) : 0
                let (ex, ey) = (px - along * dx, py - along * dy)
                if ex * ex + ey * ey <= radius * radius { pixels[y * width + x] = !stroke.erases }
            }
        }
    }

    private static func span(_ low: Double, _ high: Double, _ length: Int) -> Range<Int> {
        guard low < Double(length), high > 0 else { return 0..<0 }
        return Int(max(low, 0))..<min(Int(high) + 1, length)
    }
}
