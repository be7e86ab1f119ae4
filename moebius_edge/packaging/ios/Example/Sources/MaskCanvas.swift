import MoebiusCore
import SwiftUI

/// The photo with the mask over it, painted with a finger. Strokes are kept in pixels of the photo.
struct MaskCanvas: View {
    let photo: UIImage
    @Binding var strokes: [Stroke]
    /// In units of the photo's longer side.
    let radius: Double
    let erases: Bool
    @State private var isDrawing = false

    var body: some View {
        GeometryReader { place in
            let scale = min(place.size.width / photo.size.width, place.size.height / photo.size.height)
            let size = CGSize(width: photo.size.width * scale, height: photo.size.height * scale)
            ZStack {
                Image(uiImage: photo).resizable()
                Canvas { context, _ in
                    context.drawLayer { layer in
                        for stroke in strokes { draw(stroke, in: &layer, scale) }
                    }
                }
                .opacity(0.6)
            }
            .frame(width: size.width, height: size.height)
            .gesture(drag(scale))
            .frame(maxWidth: .infinity, maxHeight: .infinity)
            .accessibilityLabel("The photo; drag to paint over what is to go")
        }
    }

    private func draw(_ stroke: Stroke, in layer: inout GraphicsContext, _ scale: Double) {
        var path = Path()
        for (index, point) in stroke.points.enumerated() {
            let place = CGPoint(x: point.x * scale, y: point.y * scale)
            if index == 0 { path.move(to: place) }
            path.addLine(to: place)  // also to the first: a tap is a dot
        }
        layer.blendMode = stroke.erases ? .destinationOut : .normal
        let style = StrokeStyle(lineWidth: 2 * stroke.radius * scale, lineCap: .round, lineJoin: .round)
        layer.stroke(path, with: .color(.red), style: style)
    }

    private func drag(_ scale: Double) -> some Gesture {
        DragGesture(minimumDistance: 0)
            .onChanged { value in
                let point = Stroke.Point(x: value.location.x / scale, y: value.location.y / scale)
                if isDrawing, !strokes.isEmpty {
                    strokes[strokes.count - 1].points.append(point)
                } else {
                    let pixels = radius * max(photo.size.width, photo.size.height)
                    strokes.append(Stroke(points: [point], radius: pixels, erases: erases))
                    isDrawing = true
                }
            }
            .onEnded { _ in isDrawing = false }
    }
}
