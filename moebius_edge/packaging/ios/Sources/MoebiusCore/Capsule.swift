/// The self-test capsule: what the FP32 reference computed in one short edit (docs/bundle.md of moebius-edge).
public struct Capsule: Sendable {
    /// [R,R,3] and [R,R]: what went in.
    public let photo: Picture
    public let mask: Mask
    /// [R,R,3]: the finished picture.
    public let result: Picture
    let image: Tensor
    let mean: Tensor
    let std: Tensor
    let start: Tensor
    let loopMask: Tensor
    let maskedLatents: Tensor
    let guidance: Tensor
    let timesteps: [Int32]
    let a: [Float]
    let b: [Float]
    /// Of each step, [1,4,h,w].
    let noise: [Tensor]
    let latents: [Tensor]
    let decoderLatents: Tensor
    let decoderImage: Tensor

    /// The recorded edit: these steps at this strength, seed 0, the rest as `EditOptions` has it.
    static let steps = 5
    static let strength = 0.99

    /// Throws `InpaintError.bundle` when a tensor is missing or has another form.
    public init(_ file: TensorFile, shape: ModelShape) throws {
        let (side, latents) = (shape.resolution, shape.latents)
        let steps = try Schedule.ddim(shape.noise, steps: Capsule.steps, strength: Capsule.strength).steps.count
        let area = [1, 3, side, side]
        photo = Picture(width: side, height: side, channels: 3, bytes: try file.bytes("photo", [side, side, 3]))
        let mask = Picture(width: side, height: side, channels: 1, bytes: try file.bytes("mask", [side, side]))
        self.mask = Mask(bright: mask)
        result = Picture(width: side, height: side, channels: 3, bytes: try file.bytes("result", [side, side, 3]))
        image = try file.floats("encoder.image", area)
        mean = try file.floats("encoder.mean", latents)
        std = try file.floats("encoder.std", latents)
        start = try file.floats("loop.start", latents)
        loopMask = try file.floats("loop.mask", [1, 1] + latents[2...])
        maskedLatents = try file.floats("loop.masked_latents", latents)
        guidance = try file.floats("loop.guidance", [1])
        timesteps = try file.integers("loop.timesteps", [steps])
        a = try file.floats("loop.a", [steps]).values
        b = try file.floats("loop.b", [steps]).values
        noise = Capsule.split(try file.floats("loop.noise", [steps] + latents[1...]))
        self.latents = Capsule.split(try file.floats("loop.latents", [steps] + latents[1...]))
        decoderLatents = try file.floats("decoder.latents", latents)
        decoderImage = try file.floats("decoder.image", area)
    }

    /// The options of the recorded edit, every one that matters by value: new defaults must not change it.
    var options: EditOptions {
        var options = EditOptions()
        options.steps = Capsule.steps
        options.guidance = Double(guidance.values[0])
        options.strength = Capsule.strength
        options.seed = 0
        options.noiseOffset = 0.0357
        options.dilate = 0
        options.feather = 8
        options.margin = 0.25
        options.refine = 0
        options.blend = .feather
        return options
    }

    /// A graph's inputs in the recorded edit; of the denoiser those of step `step`, after the reference's steps.
    public func inputs(_ graph: Graph, step: Int = 0) -> [String: Tensor] {
        switch graph {
        case .encoder: return ["image": image]
        case .decoder: return ["latents": decoderLatents]
        case .denoiser:
            return [
                "latents": step == 0 ? start : latents[step - 1],
                "mask": loopMask,
                "masked_latents": maskedLatents,
                "timestep": Tensor([1], [Float(timesteps[step])]),
                "guidance": guidance,
            ]
        }
    }

    /// What the reference gave for `inputs`.
    func outputs(_ graph: Graph, step: Int = 0) -> [String: Tensor] {
        switch graph {
        case .encoder: return ["mean": mean, "std": std]
        case .denoiser: return ["noise": noise[step]]
        case .decoder: return ["image": decoderImage]
        }
    }

    private static func split(_ tensor: Tensor) -> [Tensor] {
        let size = tensor.shape.dropFirst().reduce(1, *)
        return (0..<tensor.shape[0]).map { i in
            Tensor([1] + tensor.shape[1...], Array(tensor.values[i * size..<(i + 1) * size]))
        }
    }
}
