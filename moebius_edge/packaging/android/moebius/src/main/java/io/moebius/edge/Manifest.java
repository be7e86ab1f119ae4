package io.moebius.edge;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Pattern;

/** What of a bundle's `manifest.json` an app needs (docs/bundle.md). Only {@link #parse} makes one, so every field is checked. */
public final class Manifest {
    static final String NAME = "manifest.json";
    static final int MAX_BYTES = 1 << 20;
    static final List<String> GRAPHS = List.of(Loop.ENCODER, Loop.DENOISER, Loop.DECODER);

    private static final int SCHEMA_VERSION = 3;
    private static final long MAX_FILE_BYTES = 4L << 30;
    private static final int MAX_FILES = 4096;
    private static final Pattern SEGMENT = Pattern.compile("[A-Za-z0-9_][A-Za-z0-9._-]{0,126}");
    private static final Pattern RESERVED = Pattern.compile("(con|prn|aux|nul|(com|lpt)[0-9])(\\..*)?");
    private static final Pattern SHA256 = Pattern.compile("[0-9a-f]{64}");

    public final String model;
    public final String precision;
    /** H = W of the pictures in pixels, and h = w of the latents. */
    public final int resolution;
    public final int latentSize;
    public final Scheduler scheduler;
    public final String capsule;
    /** The file of each graph, by the graph's name. */
    public final Map<String, String> graphs = new LinkedHashMap<>();
    /** Every file but the manifest itself: its size in bytes and its SHA-256. */
    public final Map<String, Entry> files = new LinkedHashMap<>();

    private final JsonObject defaults;

    /** What a file must be, to the byte. */
    public static final class Entry {
        public final long size;
        public final String sha256;

        Entry(long size, String sha256) {
            this.size = size;
            this.sha256 = sha256;
        }
    }

    private Manifest(JsonObject json) {
        if (!json.string("runtime").equals("onnxruntime")) {
            throw wrong("it is for " + json.string("runtime") + "; this app runs onnxruntime: export for ort-mobile");
        }
        model = json.object("model").string("name");
        precision = json.string("precision");
        latentSize = json.integer("latent_size", 1, 1024);
        resolution = json.integer("resolution", 1, 8192);
        if (resolution % latentSize != 0) {
            throw wrong("resolution is " + resolution + "; expected a multiple of latent_size " + latentSize);
        }
        defaults = json.object("defaults");
        options().check();
        scheduler = new Scheduler(json.object("scheduler"), options());
        capsule = json.string("capsule");
        readFiles(json.object("files"));
        readGraphs(json.object("graphs"));
        if (!files.containsKey(capsule)) {
            throw wrong("the capsule " + capsule + " is not among its files");
        }
    }

    /**
     * Reads and checks the bytes of a manifest, its own SHA-256 first.
     *
     * @throws MoebiusException that says what is wrong
     */
    public static Manifest parse(byte[] data) {
        if (data.length > MAX_BYTES) {
            throw wrong("it has " + data.length + " bytes; at most " + MAX_BYTES + " are allowed");
        }
        JsonObject json = Json.parse(data, NAME);
        if (!json.has("format") || !json.string("format").equals("moebius-edge-bundle")) {
            throw wrong("it does not say \"format\": \"moebius-edge-bundle\"");
        }
        if (json.integer("schema_version") != SCHEMA_VERSION) {
            throw wrong("schema version " + json.integer("schema_version") + " is not known; this app reads " + SCHEMA_VERSION
                    + ": update the app, or export the bundle again");
        }
        checkOwnHash(data, json.string("manifest_sha256"));
        return new Manifest(json);
    }

    /** The options that the bundle proposes; change what is to be another. */
    public Options options() {
        Options options = new Options();
        options.steps = defaults.integer("steps", 1, 1000);
        options.guidance = defaults.number("guidance");
        options.strength = defaults.number("strength");
        options.noiseOffset = defaults.number("noise_offset");
        return options;
    }

    /** SHA-256 over names and SHA-256s of all files: what app.json calls `files_sha256`. */
    public String fingerprint() {
        StringBuilder lines = new StringBuilder();
        for (String name : new TreeSet<>(files.keySet())) {
            lines.append(name).append(' ').append(files.get(name).sha256).append('\n');
        }
        return FilesIo.sha256(lines.toString().getBytes(StandardCharsets.UTF_8));
    }

    private static void checkOwnHash(byte[] data, String digest) {
        // One byte is one character, so that the text has exactly the bytes of the file.
        String text = new String(data, StandardCharsets.ISO_8859_1);
        String own = "\"manifest_sha256\": \"" + digest + "\"";
        int at = text.indexOf(own);
        boolean once = SHA256.matcher(digest).matches() && at >= 0 && text.indexOf(own, at + 1) < 0;
        char[] zeros = new char[64];
        Arrays.fill(zeros, '0');
        String blank = text.replace(own, own.replace(digest, new String(zeros)));
        if (!once || !FilesIo.sha256(blank.getBytes(StandardCharsets.ISO_8859_1)).equals(digest)) {
            throw wrong("it was damaged or edited: its own SHA-256 does not fit; copy the bundle again");
        }
    }

    private void readFiles(JsonObject listed) {
        if (listed.keys().size() > MAX_FILES) {
            throw wrong("it lists more than " + MAX_FILES + " files");
        }
        Set<String> lowered = new TreeSet<>();
        for (String name : listed.keys()) {
            checkName(name);
            JsonObject entry = listed.object(name);
            long size = entry.integer("size");
            String sha256 = entry.string("sha256");
            if (size > MAX_FILE_BYTES || !SHA256.matcher(sha256).matches()) {
                throw wrong(name + " claims " + size + " bytes and the SHA-256 " + sha256 + "; expected at most " + MAX_FILE_BYTES
                        + " bytes and 64 lower-case hexadecimal digits");
            }
            if (!lowered.add(name.toLowerCase(Locale.ROOT))) {
                throw wrong("it lists two files whose names differ only in case: " + name);
            }
            files.put(name, new Entry(size, sha256));
        }
    }

    private void readGraphs(JsonObject listed) {
        if (!listed.keys().equals(new TreeSet<>(GRAPHS))) {
            throw wrong("graphs are " + listed.keys() + "; expected " + GRAPHS);
        }
        for (String graph : GRAPHS) {
            JsonObject spec = listed.object(graph);
            String file = spec.string("file");
            if (!files.containsKey(file)) {
                throw wrong("the graph " + file + " is not among its files");
            }
            for (String side : List.of("inputs", "outputs")) {
                for (Object tensor : spec.list(side)) {
                    if (!(tensor instanceof JsonObject) || !((JsonObject) tensor).string("dtype").equals("float32")) {
                        throw wrong("the " + side + " of the " + graph + " are not all float32, which this app gives and takes");
                    }
                }
            }
            graphs.put(graph, file);
        }
    }

    /** Throws MoebiusException unless a name means the same, harmless thing on every system: plain segments joined by `/`. */
    static void checkName(String name) {
        String[] segments = name.split("/", -1);
        boolean fine = segments.length <= 8 && name.length() <= 200 && !name.toLowerCase(Locale.ROOT).equals(NAME);
        for (String segment : segments) {
            fine &= SEGMENT.matcher(segment).matches() && !segment.endsWith(".")
                    && !RESERVED.matcher(segment.toLowerCase(Locale.ROOT)).matches();
        }
        if (!fine) {
            throw wrong("the file name '" + JsonObject.shorten(name) + "' is not allowed: names are relative, of letters, "
                    + "digits, '.', '_' and '-', and stay inside the bundle");
        }
    }

    private static MoebiusException wrong(String message) {
        return new MoebiusException(NAME + ": " + message);
    }
}
