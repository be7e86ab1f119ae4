import MoebiusCore
import XCTest

final class PictureTests: XCTestCase {
    /// The eight orientations of a picture of 3 x 2 pixels a b c / d e f, by the words of EXIF: where row 0 and
    /// column 0 of the stored picture are when it is looked at.
    func testOrientations() {
        let stored = Picture(width: 3, height: 2, channels: 1, bytes: Array("abcdef".utf8))
        let upright = [
            1: "abc def", 2: "cba fed", 3: "fed cba", 4: "def abc",
            5: "ad be cf", 6: "da eb fc", 7: "fc eb da", 8: "cf be ad", 0: "abc def", 9: "abc def",
        ]
        for (orientation, text) in upright {
            let rows = text.split(separator: " ")
            let found = stored.upright(orientation)
            XCTAssertEqual([found.width, found.height], [rows[0].count, rows.count])
            XCTAssertEqual(found.bytes, Array(rows.joined().utf8), "orientation \(orientation)")
        }
    }

    func testStrokes() {
        func text(_ mask: Mask) -> [String] {
            (0..<mask.height).map { (y: Int) -> String in
                let row = mask.pixels[y * mask.width..<(y + 1) * mask.width]
                return row.map { $0 ? "#" : "." }.joined()
            }
        }
        let line = Stroke(points: [.init(x: 1.5, y: 1.5), .init(x: 4.5, y: 1.5)], radius: 1)
        XCTAssertEqual(text(Mask(width: 7, height: 4, strokes: [line])), [".####..", "######.", ".####..", "......."])
        let dot = Stroke(points: [.init(x: 3.5, y: 1.5)], radius: 0.6, erases: true)
        XCTAssertEqual(text(Mask(width: 7, height: 4, strokes: [line, dot]))[1], "###.##.")
        let outside = Stroke(points: [.init(x: -50, y: -50), .init(x: 900, y: -20)], radius: 3)
        XCTAssertNil(Mask(width: 7, height: 4, strokes: [outside]).box)
    }

    /// Growing by sums over windows is growing pixel by pixel.
    func testGrowing() {
        let noise = PortableNoise(seed: 3).normal(.latents, count: 30 * 20)
        let mask = Mask(width: 30, height: 20, pixels: noise.map { $0 > 2 })
        for radius in [1, 3, 40] {
            let grown = mask.grow(radius)
            for y in 0..<20 {
                for x in 0..<30 {
                    let near = mask.pixels.indices.contains { (i: Int) -> Bool in
                        let distance = max(abs(i % 30 - x), abs(i / 30 - y))
                        return mask.pixels[i] && distance <= radius
                    }
                    XCTAssertEqual(grown.pixels[y * 30 + x], near)
                }
            }
        }
    }
}
