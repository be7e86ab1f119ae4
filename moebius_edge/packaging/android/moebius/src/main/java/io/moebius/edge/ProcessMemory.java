package io.moebius.edge;

import java.io.BufferedReader;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;

/** Peak memory of this process as Linux and Android count it: Java, the engine and mapped files. */
public final class ProcessMemory implements Profile.Memory {
    @Override
    public long peakBytes() {
        try (BufferedReader lines = Files.newBufferedReader(Paths.get("/proc/self/status"), StandardCharsets.UTF_8)) {
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                if (line.startsWith("VmHWM:")) {
                    return 1024 * Long.parseLong(line.replaceAll("[^0-9]", ""));
                }
            }
        } catch (IOException unknown) {
            return -1; // a system without /proc
        }
        return -1;
    }
}
