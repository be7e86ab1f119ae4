import Foundation

/// A small safetensors file that nobody vouches for: 8 bytes little-endian header length, that many bytes of JSON
/// {name: {dtype, shape, data_offsets}}, then the data, which the tensors must tile without gaps or overlaps.
public struct TensorFile {
    public let name: String
    private let data: Data
    private let entries: [String: Entry]

    private struct Entry: Decodable {
        let dtype: String
        let shape: [Int]
        let offsets: [Int]

        enum CodingKeys: String, CodingKey {
            case dtype, shape
            case offsets = "data_offsets"
        }
    }

    private struct Header: Decodable {
        var entries: [String: Entry] = [:]

        struct Key: CodingKey {
            let stringValue: String
            let intValue: Int? = nil
            init?(stringValue: String) { self.stringValue = stringValue }
            init?(intValue: Int) { return nil }
        }

        init(from decoder: Decoder) throws {
            let table = try decoder.container(keyedBy: Key.self)
            for key in table.allKeys where key.stringValue != "__metadata__" {
                entries[key.stringValue] = try table.decode(Entry.self, forKey: key)
            }
        }
    }

    private static let maxHeader = 4 << 20
    private static let itemBytes = ["F32": 4, "I32": 4, "U8": 1]

    /// `name` is for messages. Throws `InpaintError.bundle` for anything but a complete, well-formed file.
    public init(_ data: Data, name: String) throws {
        self.name = name
        self.data = data.startIndex == 0 ? data : Data(data)
        do {
            entries = try TensorFile.header(self.data)
        } catch let error as Wrong {
            throw InpaintError.bundle("\(name): \(error.what); \(repair)")
        } catch {
            throw InpaintError.bundle("\(name): its header is not readable: \(explained(error)); \(repair)")
        }
    }

    /// A float32 tensor. Throws `InpaintError.bundle` when it is missing, of another type or shape, or not finite.
    public func floats(_ tensor: String, _ shape: [Int]) throws -> Tensor {
        let values: [Float] = try numbers(tensor, "F32", shape)
        guard values.allSatisfy(\.isFinite) else {
            throw InpaintError.bundle("\(name): \(tensor) contains NaN or Inf; \(repair)")
        }
        return Tensor(shape, values)
    }

    /// An int32 tensor, as for `floats`.
    public func integers(_ tensor: String, _ shape: [Int]) throws -> [Int32] { try numbers(tensor, "I32", shape) }

    /// A uint8 tensor, as for `floats`.
    public func bytes(_ tensor: String, _ shape: [Int]) throws -> [UInt8] { try numbers(tensor, "U8", shape) }

    private func numbers<Number>(_ tensor: String, _ dtype: String, _ shape: [Int]) throws -> [Number] {
        guard let entry = entries[tensor] else {
            throw InpaintError.bundle("\(name) has no tensor \(tensor): it is not one of this version; \(repair)")
        }
        guard entry.dtype == dtype, entry.shape == shape else {
            throw InpaintError.bundle(
                "\(name): \(tensor) is \(entry.dtype) \(entry.shape); expected \(dtype) \(shape); \(repair)")
        }
        let count = shape.reduce(1, *)
        return [Number](unsafeUninitializedCapacity: count) { buffer, filled in
            data.copyBytes(to: UnsafeMutableRawBufferPointer(buffer), from: entry.offsets[0]..<entry.offsets[1])
            filled = count
        }
    }

    private static func header(_ data: Data) throws -> [String: Entry] {
        guard data.count >= 8 else { throw Wrong("it has only \(data.count) bytes") }
        let length = data.prefix(8).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        guard length <= UInt64(min(maxHeader, data.count - 8)) else {
            throw Wrong(
                "it claims a header of \(length) bytes; the file has \(data.count) and \(maxHeader) are allowed")
        }
        let start = 8 + Int(length)
        var entries = try JSONDecoder().decode(Header.self, from: data[8..<start]).entries
        var position = 0
        for (name, entry) in entries.sorted(by: { $0.value.offsets.lexicographicallyPrecedes($1.value.offsets) }) {
            let size = try bytes(name, entry)
            guard entry.offsets[0] == position else {
                throw Wrong("the data of \(name) overlaps another tensor's or leaves a gap")
            }
            position += size
            let offsets = entry.offsets.map { $0 + start }
            entries[name] = Entry(dtype: entry.dtype, shape: entry.shape, offsets: offsets)
        }
        guard start + position == data.count else {
            throw Wrong("it has \(data.count) bytes; its header describes \(start + position): cut off or damaged")
        }
        return entries
    }

    /// Bytes of a tensor's data, checked against its shape and type.
    private static func bytes(_ name: String, _ entry: Entry) throws -> Int {
        guard let item = itemBytes[entry.dtype] else {
            throw Wrong("\(name) is \(entry.dtype); expected one of F32, I32, U8")
        }
        let limit = 1 << 40
        guard entry.offsets.count == 2, entry.shape.count <= 8,
            (entry.offsets + entry.shape).allSatisfy({ (0...limit).contains($0) })
        else { throw Wrong("\(name) has a malformed shape or offsets") }
        var size = item
        for side in entry.shape {
            let (product, overflow) = size.multipliedReportingOverflow(by: side)
            if overflow { throw Wrong("\(name) has an impossible shape \(entry.shape)") }
            size = product
        }
        guard entry.offsets[1] - entry.offsets[0] == size else {
            throw Wrong("\(name) has \(entry.offsets[1] - entry.offsets[0]) bytes of data, not those of its shape")
        }
        return size
    }
}
