package io.moebius.edge;

/** What `app.json` says of the bundle beside it (docs/devices.md). */
public final class AppInfo {
    public final String model;
    public final String license;
    public final String precision;
    /** Of {@link Manifest#fingerprint}: which bundle this is. */
    public final String filesSha256;
    public final String modelFolder;
    /** Thresholds in dB. */
    public final double encoderDb;
    public final double denoiserDb;
    public final double decoderDb;
    public final double holeDb;

    private AppInfo(JsonObject json) {
        model = json.string("model");
        license = json.string("license");
        precision = json.string("precision");
        filesSha256 = json.string("files_sha256");
        modelFolder = json.string("model_folder");
        Manifest.checkName(modelFolder);
        JsonObject thresholds = json.object("thresholds");
        encoderDb = thresholds.number("encoder_db");
        denoiserDb = thresholds.number("denoiser_db");
        decoderDb = thresholds.number("decoder_db");
        holeDb = thresholds.number("hole_db");
    }

    /** Reads the bytes of an `app.json`. Throws MoebiusException that says what is wrong. */
    public static AppInfo parse(byte[] data) {
        JsonObject json = Json.parse(data, "app.json");
        if (!json.string("format").equals("moebius-edge-app-1")) {
            throw new MoebiusException("app.json has the format " + json.string("format")
                    + "; expected moebius-edge-app-1: make the package again");
        }
        return new AppInfo(json);
    }
}
