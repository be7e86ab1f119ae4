#if canImport(ImageIO) && canImport(Accelerate)
import Accelerate
import Foundation
import ImageIO
import MoebiusCore
import UniformTypeIdentifiers

/// A photo as the loop sees it, and the way back into a file of its kind and colour space.
///
/// Pixels are taken as they are, in the photo's own RGB or grey colour space (Display P3 stays Display P3); other
/// spaces become sRGB. Alpha is not premultiplied and is returned untouched; where it is 0 the loop leaves the photo as
/// it is. Deeper photos are rounded to 8 bits.
public struct PhotoFile: @unchecked Sendable {
    /// Upright, whatever the EXIF orientation is.
    public let photo: Photo
    private let space: CGColorSpace
    private let type: UTType

    /// Reads whatever ImageIO reads: JPEG, HEIC, PNG, ... Throws `InpaintError.input`.
    public init(_ data: Data) throws {
        guard let source = CGImageSourceCreateWithData(data as CFData, nil), CGImageSourceGetCount(source) > 0 else {
            throw InpaintError.input("this is not a photo that can be read; choose a JPEG, HEIC or PNG")
        }
        let index = CGImageSourceGetPrimaryImageIndex(source)
        let properties = CGImageSourceCopyPropertiesAtIndex(source, index, nil) as? [CFString: Any] ?? [:]
        let (width, height) = (properties[kCGImagePropertyPixelWidth], properties[kCGImagePropertyPixelHeight])
        // Before pixels are decoded: the loop would refuse it afterwards, and memory may not last until then.
        if let width = width as? Int, let height = height as? Int, Double(width) * Double(height) > Double(128 << 20) {
            throw InpaintError.input("the photo is \(width)x\(height) pixels; at most 134 million pixels are allowed")
        }
        guard let image = CGImageSourceCreateImageAtIndex(source, index, nil),
            CGImageSourceGetStatusAtIndex(source, index) == .statusComplete
        else { throw InpaintError.input("the photo cannot be decoded: it is damaged or cut off") }
        let orientation = properties[kCGImagePropertyOrientation] as? Int ?? 1
        let type = CGImageSourceGetType(source).flatMap { UTType($0 as String) }
        try self.init(image, orientation: orientation, type: type ?? .png)
    }

    /// From a decoded image. `orientation`: EXIF, 1 to 8; `type`: what `data` writes. Throws `InpaintError.input`.
    public init(_ image: CGImage, orientation: Int = 1, type: UTType = .png) throws {
        var space = image.colorSpace ?? CGColorSpace(name: CGColorSpace.sRGB)!
        if space.model == .indexed, let base = space.baseColorSpace { space = base }
        let grey = space.model == .monochrome
        if !grey && space.model != .rgb { space = CGColorSpace(name: CGColorSpace.sRGB)! }
        let without: [CGImageAlphaInfo] = [.none, .noneSkipFirst, .noneSkipLast]
        let opaque = without.contains(image.alphaInfo)
        let pixels = try PhotoFile.pixels(image, space, grey: grey, opaque: opaque).upright(orientation)
        let count = pixels.width * pixels.height
        var rgb = [UInt8](repeating: 0, count: count * 3)
        var alpha = [UInt8](repeating: 0, count: opaque ? 0 : count)
        for i in 0..<count {
            for c in 0..<3 { rgb[i * 3 + c] = pixels.bytes[i * pixels.channels + (grey ? 0 : c)] }
            if !opaque { alpha[i] = pixels.bytes[i * pixels.channels + pixels.channels - 1] }
        }
        let size = (width: pixels.width, height: pixels.height)
        photo = Photo(
            rgb: Picture(width: size.width, height: size.height, channels: 3, bytes: rgb),
            alpha: opaque ? nil : Picture(width: size.width, height: size.height, channels: 1, bytes: alpha),
            grey: grey)
        (self.space, self.type) = (space, type)
    }

    /// The edited photo as an image in the photo's colour space. Throws `InpaintError.input`.
    public func image(of edited: Photo) throws -> CGImage {
        let (width, height) = (edited.rgb.width, edited.rgb.height)
        let colours = edited.grey ? 1 : 3
        let channels = colours + (edited.alpha == nil ? 0 : 1)
        var bytes = [UInt8](repeating: 0, count: width * height * channels)
        for i in 0..<width * height {
            for c in 0..<colours { bytes[i * channels + c] = edited.rgb.bytes[i * 3 + c] }
            if let alpha = edited.alpha { bytes[i * channels + colours] = alpha.bytes[i] }
        }
        let info: CGImageAlphaInfo = edited.alpha == nil ? .none : .last
        guard let provider = CGDataProvider(data: Data(bytes) as CFData),
            let image = CGImage(
                width: width, height: height, bitsPerComponent: 8, bitsPerPixel: 8 * channels,
                bytesPerRow: width * channels, space: space, bitmapInfo: CGBitmapInfo(rawValue: info.rawValue),
                provider: provider, decode: nil, shouldInterpolate: false, intent: .defaultIntent)
        else { throw InpaintError.input("the result cannot be made into an image; there is too little memory") }
        return image
    }

    /// The edited photo as a file of the photo's kind, or PNG where ImageIO cannot write that; JPEG and HEIC with
    /// quality 0.95. Throws `InpaintError.input`.
    public func data(of edited: Photo) throws -> Data {
        let image = try self.image(of: edited)
        for kind in type == .png ? [.png] : [type, .png] {
            let data = NSMutableData()
            let name = kind.identifier as CFString
            guard let destination = CGImageDestinationCreateWithData(data, name, 1, nil) else { continue }
            let quality = [kCGImageDestinationLossyCompressionQuality: 0.95] as CFDictionary
            CGImageDestinationAddImage(destination, image, quality)
            if CGImageDestinationFinalize(destination) { return data as Data }
        }
        throw InpaintError.input("the result cannot be written as an image; there is too little memory")
    }

    /// How the name of a file with this content ends: `jpg`, `heic`, `png`, ...
    public static func suffix(of file: Data) -> String {
        let source = CGImageSourceCreateWithData(file as CFData, nil)
        let type = source.flatMap { CGImageSourceGetType($0) }.flatMap { UTType($0 as String) }
        return type?.preferredFilenameExtension ?? "png"
    }

    /// Grey or RGB with a fourth byte, alpha last where there is one.
    private static func pixels(_ image: CGImage, _ space: CGColorSpace, grey: Bool, opaque: Bool) throws -> Picture {
        let channels = grey ? (opaque ? 1 : 2) : 4
        let info: CGImageAlphaInfo = opaque ? (grey ? .none : .noneSkipLast) : .last
        guard let format = vImage_CGImageFormat(
            bitsPerComponent: 8, bitsPerPixel: 8 * channels, colorSpace: space,
            bitmapInfo: CGBitmapInfo(rawValue: info.rawValue)),
            let buffer = try? vImage_Buffer(cgImage: image, format: format)
        else { throw InpaintError.input("the photo cannot be converted to 8 bits per channel") }
        defer { buffer.free() }
        let (width, height) = (Int(buffer.width), Int(buffer.height))
        var bytes: [UInt8] = []
        bytes.reserveCapacity(width * height * channels)
        for y in 0..<height {  // rows of the buffer may be longer than the picture is wide
            let row = UnsafeRawBufferPointer(start: buffer.data + y * buffer.rowBytes, count: width * channels)
            bytes += row
        }
        return Picture(width: width, height: height, channels: channels, bytes: bytes)
    }
}
#endif
