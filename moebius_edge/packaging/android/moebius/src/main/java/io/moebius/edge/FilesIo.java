package io.moebius.edge;

import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;

/** Files and hashes, with sentences in the place of stack traces. */
public final class FilesIo {
    private static final int CHUNK = 1 << 16;

    private FilesIo() {}

    /** The size of a plain file in bytes. Throws MoebiusException when it is missing, a folder, a link or a device. */
    static long plainSize(Path path) {
        BasicFileAttributes found;
        try {
            found = Files.readAttributes(path, BasicFileAttributes.class, LinkOption.NOFOLLOW_LINKS);
        } catch (IOException error) {
            throw new MoebiusException(path.getFileName() + " is missing from " + folder(path) + "; copy the bundle again", error);
        }
        if (!found.isRegularFile()) {
            throw new MoebiusException(path.getFileName() + " in " + folder(path) + " is not a plain file; copy the bundle again");
        }
        return found.size();
    }

    private static Path folder(Path path) {
        return path.toAbsolutePath().getParent().getFileName();
    }

    /** All bytes of a plain file of at most `limit` bytes. */
    static byte[] read(Path path, long limit) {
        long size = plainSize(path);
        if (size > limit) {
            throw new MoebiusException(path.getFileName() + " has " + size + " bytes; at most " + limit + " are allowed");
        }
        try {
            return Files.readAllBytes(path);
        } catch (IOException error) {
            throw unreadable(path, error);
        }
    }

    static MoebiusException unreadable(Path path, IOException error) {
        return new MoebiusException("cannot read " + path.getFileName() + ": " + error.getMessage(), error);
    }

    /** SHA-256 of a file as 64 lower-case hexadecimal digits; its content is never in memory as a whole. */
    static String sha256(Path path) {
        MessageDigest digest = newDigest();
        try (InputStream in = Files.newInputStream(path)) {
            byte[] chunk = new byte[CHUNK];
            for (int count = in.read(chunk); count >= 0; count = in.read(chunk)) {
                digest.update(chunk, 0, count);
            }
        } catch (IOException error) {
            throw unreadable(path, error);
        }
        return hex(digest.digest());
    }

    static String sha256(byte[] data) {
        return hex(newDigest().digest(data));
    }

    private static MessageDigest newDigest() {
        try {
            return MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException error) {
            throw new AssertionError("every Java has SHA-256", error);
        }
    }

    private static String hex(byte[] bytes) {
        StringBuilder result = new StringBuilder();
        for (byte each : bytes) {
            result.append(Character.forDigit(each >> 4 & 15, 16)).append(Character.forDigit(each & 15, 16));
        }
        return result.toString();
    }

    /**
     * Writes a file whole or not at all: beside its place, to the disk, then renamed.
     *
     * @throws MoebiusException when it cannot be written; what was there before stays
     */
    public static void writeAtomically(Path path, byte[] data) {
        Path temporary = path.resolveSibling(path.getFileName() + ".tmp");
        try {
            try (FileOutputStream out = new FileOutputStream(temporary.toFile())) {
                out.write(data);
                out.getFD().sync();
            }
            Files.move(temporary, path, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        } catch (IOException error) {
            throw new MoebiusException("cannot write " + path.getFileName() + ": " + error.getMessage(), error);
        } finally {
            temporary.toFile().delete(); // is there only when something went wrong
        }
    }

    static void copy(InputStream in, OutputStream out) throws IOException {
        byte[] chunk = new byte[CHUNK];
        for (int count = in.read(chunk); count >= 0; count = in.read(chunk)) {
            out.write(chunk, 0, count);
        }
    }
}
