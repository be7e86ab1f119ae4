// swift-tools-version: 5.9
import PackageDescription

// MoebiusCore is plain Swift and Foundation and builds on Linux; Core ML and ImageIO are in MoebiusInpaint.
let package = Package(
    name: "MoebiusInpaint",
    platforms: [.iOS(.v16), .macOS(.v13)],
    products: [
        .library(name: "MoebiusInpaint", targets: ["MoebiusInpaint"]),
        .library(name: "MoebiusCore", targets: ["MoebiusCore"]),
        .executable(name: "moebius-profile", targets: ["moebius-profile"]),
    ],
    targets: [
        .target(name: "MoebiusCore"),
        .target(
            name: "MoebiusInpaint",
            dependencies: ["MoebiusCore"],
            // `moebius-edge package` puts both there. Copied as they are: the graphs are compiled on the device.
            resources: [.copy("Resources/app.json"), .copy("Resources/model")]
        ),
        .executableTarget(name: "moebius-profile", dependencies: ["MoebiusInpaint"]),
        .testTarget(name: "MoebiusCoreTests", dependencies: ["MoebiusCore"], resources: [.process("Resources")]),
    ]
)
