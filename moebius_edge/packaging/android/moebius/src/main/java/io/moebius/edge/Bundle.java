package io.moebius.edge;

import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.BasicFileAttributes;

/** A bundle whose files were what its manifest says when it was opened; only such files are given to an engine. */
public final class Bundle {
    public final Path folder;
    public final Manifest manifest;

    private Bundle(Path folder, Manifest manifest) {
        this.folder = folder;
        this.manifest = manifest;
    }

    /** Where a bundle is copied from, for example the assets of an app. */
    public interface Source {
        /** Opens a file of the bundle by its name in the manifest, or `manifest.json` itself. */
        InputStream open(String name) throws IOException;
    }

    /**
     * Checks everything: names, sizes, that nothing else is there, then the SHA-256 of every file.
     *
     * @throws MoebiusException that names the first file that is wrong
     */
    public static Bundle open(Path folder) {
        Manifest manifest = Manifest.parse(FilesIo.read(folder.resolve(Manifest.NAME), Manifest.MAX_BYTES));
        for (String name : manifest.files.keySet()) {
            long size = FilesIo.plainSize(folder.resolve(name));
            long expected = manifest.files.get(name).size;
            if (size != expected) {
                throw new MoebiusException(name + " has " + size + " bytes; expected " + expected
                        + ": it was cut off or edited; copy the bundle again");
            }
        }
        checkListing(folder, manifest);
        for (String name : manifest.files.keySet()) {
            checkHash(folder, name, manifest.files.get(name));
        }
        return new Bundle(folder, manifest);
    }

    /** The path of a graph's file. */
    public Path graph(String graph) {
        return folder.resolve(manifest.graphs.get(graph));
    }

    /** The self-test tensors. Throws MoebiusException when they are not those of this version. */
    public Capsule capsule() {
        return Capsule.read(folder.resolve(manifest.capsule), manifest.resolution, manifest.latentSize);
    }

    /**
     * Copies a bundle into `target`, whole or not at all, and opens it. What is there already and intact is opened as it is.
     * Space is needed once.
     *
     * @throws MoebiusException when the source is damaged or the disk is full; `target` is then not there
     */
    public static Bundle install(Source source, Path target) {
        if (Files.isDirectory(target)) {
            try {
                return open(target);
            } catch (MoebiusException damaged) {
                delete(target); // and copied again below
            }
        }
        Path temporary = target.resolveSibling(target.getFileName() + ".tmp");
        delete(temporary); // of an installation that was killed
        try {
            Files.createDirectories(temporary);
            copy(source, Manifest.NAME, temporary);
            Manifest manifest = Manifest.parse(FilesIo.read(temporary.resolve(Manifest.NAME), Manifest.MAX_BYTES));
            for (String name : manifest.files.keySet()) {
                copy(source, name, temporary);
            }
            open(temporary);
            Files.move(temporary, target, StandardCopyOption.ATOMIC_MOVE);
            return new Bundle(target, manifest);
        } catch (IOException error) {
            throw new MoebiusException("cannot copy the model: " + error.getMessage() + "; free some space and try again", error);
        } finally {
            delete(temporary);
        }
    }

    private static void copy(Source source, String name, Path folder) throws IOException {
        Path path = folder.resolve(name);
        Files.createDirectories(path.getParent());
        try (InputStream in = source.open(name);
                FileOutputStream out = new FileOutputStream(path.toFile())) {
            FilesIo.copy(in, out);
            out.getFD().sync();
        }
    }

    private static void checkHash(Path folder, String name, Manifest.Entry expected) {
        String found = FilesIo.sha256(folder.resolve(name));
        if (!found.equals(expected.sha256)) {
            throw new MoebiusException(name + " is damaged or edited: its SHA-256 is " + found.substring(0, 16) + "..., expected "
                    + expected.sha256.substring(0, 16) + "...; copy the bundle again");
        }
    }

    private static void checkListing(Path folder, Manifest manifest) {
        visit(folder, new SimpleFileVisitor<Path>() {
            @Override
            public FileVisitResult visitFile(Path file, BasicFileAttributes attributes) {
                String name = folder.relativize(file).toString().replace('\\', '/');
                if (!name.equals(Manifest.NAME) && !manifest.files.containsKey(name)) {
                    throw new MoebiusException(name + " is in " + folder.getFileName() + " but not in its manifest; delete it");
                }
                return FileVisitResult.CONTINUE;
            }
        });
    }

    private static void delete(Path folder) {
        if (!Files.isDirectory(folder)) {
            return;
        }
        visit(folder, new SimpleFileVisitor<Path>() {
            @Override
            public FileVisitResult visitFile(Path file, BasicFileAttributes attributes) throws IOException {
                Files.delete(file);
                return FileVisitResult.CONTINUE;
            }

            @Override
            public FileVisitResult postVisitDirectory(Path emptied, IOException error) throws IOException {
                Files.delete(emptied);
                return FileVisitResult.CONTINUE;
            }
        });
    }

    private static void visit(Path folder, SimpleFileVisitor<Path> visitor) {
        try {
            Files.walkFileTree(folder, visitor);
        } catch (IOException error) {
            throw FilesIo.unreadable(folder, error);
        }
    }
}
