package io.moebius.edge;

import static org.junit.Assert.assertArrayEquals;
import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertFalse;
import static org.junit.Assert.assertThrows;
import static org.junit.Assert.assertTrue;

import java.io.ByteArrayInputStream;
import java.io.File;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.Before;
import org.junit.Rule;
import org.junit.Test;
import org.junit.function.ThrowingRunnable;
import org.junit.rules.TemporaryFolder;

/** What goes wrong ends with one sentence, and nothing is half written. */
public class FaultsTest {
    @Rule public final TemporaryFolder temporary = new TemporaryFolder();

    private final TinyBundle tiny = new TinyBundle();
    private final FakeRunner runner = new FakeRunner();
    private final RgbPhoto photo = TinyBundle.photo(100, 80);
    private Path folder;

    @Before
    public void place() {
        folder = temporary.getRoot().toPath().resolve("tiny.moebius");
    }

    static void assertFails(String part, ThrowingRunnable action) {
        MoebiusException error = assertThrows(MoebiusException.class, action);
        assertTrue(error.getMessage(), error.getMessage().contains(part));
        assertFalse(error.getMessage(), error.getMessage().contains("\n"));
    }

    private void inpaint(RgbPhoto source, Mask mask, Progress progress) throws IOException {
        Bundle bundle = Bundle.open(tiny.write(folder));
        new Inpainter(bundle.manifest, runner).inpaint(source, mask, bundle.manifest.options(), progress, source);
    }

    @Test
    public void aBundleOpens() throws IOException {
        Bundle bundle = Bundle.open(tiny.write(folder));
        assertEquals(64, bundle.manifest.resolution);
        assertEquals(folder.resolve("denoiser.ort"), bundle.graph("denoiser"));
        assertEquals(4, bundle.capsule().timesteps.length);
    }

    @Test
    public void aFlippedByte() throws IOException {
        tiny.write(folder);
        byte[] data = tiny.files.get("denoiser.ort").clone();
        data[3] ^= 1;
        Files.write(folder.resolve("denoiser.ort"), data);
        assertFails("denoiser.ort is damaged or edited", () -> Bundle.open(folder));
    }

    @Test
    public void aTruncatedFile() throws IOException {
        tiny.write(folder);
        Files.write(folder.resolve("decoder.ort"), new byte[3]);
        assertFails("decoder.ort has 3 bytes; expected 11", () -> Bundle.open(folder));
    }

    @Test
    public void aMissingFileALinkAndOneTooMany() throws IOException {
        tiny.write(folder);
        Files.move(folder.resolve("decoder.ort"), folder.resolve("other.ort"));
        assertFails("decoder.ort is missing", () -> Bundle.open(folder));
        Files.createSymbolicLink(folder.resolve("decoder.ort"), folder.resolve("other.ort"));
        assertFails("decoder.ort in tiny.moebius is not a plain file", () -> Bundle.open(folder));
        Files.delete(folder.resolve("decoder.ort"));
        Files.copy(folder.resolve("other.ort"), folder.resolve("decoder.ort"));
        assertFails("other.ort is in tiny.moebius but not in its manifest", () -> Bundle.open(folder));
    }

    @Test
    public void aFlippedByteOfTheManifest() throws IOException {
        byte[] data = tiny.manifestBytes();
        String text = new String(data, StandardCharsets.UTF_8).replace("\"tiny\"", "\"tinz\"");
        assertFails("its own SHA-256 does not fit", () -> Manifest.parse(text.getBytes(StandardCharsets.UTF_8)));
        assertFails("is not JSON", () -> Manifest.parse(Arrays.copyOf(data, data.length / 2)));
        assertFails("it does not say", () -> Manifest.parse("{}".getBytes(StandardCharsets.UTF_8)));
    }

    @Test
    public void namesThatLeaveTheFolder() {
        for (String name : new String[] {"../evil", "/etc/passwd", "a/../b", "a\\b", "C:evil", "con", "", "a//b",
            ".hidden", "a\0b", "a\nb"}) {
            TinyBundle hostile = new TinyBundle();
            hostile.files.put(name, new byte[] {1});
            assertFails("is not allowed", () -> Manifest.parse(hostile.manifestBytes()));
        }
    }

    @Test
    public void manifestsThatCannotBe() {
        Map<String, Object> wrong = new TreeMap<>();
        wrong.put("runtime", "coreml");
        wrong.put("schema_version", 1);
        wrong.put("resolution", 65);
        wrong.put("latent_size", "8");
        wrong.put("capsule", "other.safetensors");
        wrong.put("format", "zip");
        for (Map.Entry<String, Object> change : wrong.entrySet()) {
            TinyBundle changed = new TinyBundle();
            changed.manifest.put(change.getKey(), change.getValue());
            assertFails("manifest.json", () -> Manifest.parse(changed.manifestBytes()));
        }
    }

    @Test
    public void aCapsuleOfAnotherShape() throws IOException {
        Map<String, Object> tensors = tiny.capsule();
        tensors.put("encoder.mean", Tensor.of(new float[4], 1, 4, 1, 1));
        tiny.files.put("capsule.safetensors", TinyBundle.safetensors(tensors));
        Bundle bundle = Bundle.open(tiny.write(folder));
        assertFails("encoder.mean is F32 [1.0, 4.0, 1.0, 1.0]; expected F32 [1, 4, 8, 8]", bundle::capsule);
    }

    @Test
    public void capsulesThatAreCutOffLackATensorOrHoldNaN() throws IOException {
        byte[] whole = tiny.files.get("capsule.safetensors");
        for (int length : new int[] {0, 7, 100, whole.length - 1}) {
            assertCapsuleFails("c", Arrays.copyOf(whole, length));
        }
        Map<String, Object> tensors = tiny.capsule();
        tensors.remove("loop.noise");
        assertCapsuleFails("it has no tensor loop.noise", TinyBundle.safetensors(tensors));
        tensors = tiny.capsule();
        ((Tensor) tensors.get("loop.noise")).data[5] = Float.NaN;
        assertCapsuleFails("loop.noise contains NaN", TinyBundle.safetensors(tensors));
    }

    @Test
    public void capsulesWhoseTensorsOverlapOrLeaveGaps() throws IOException {
        byte[] whole = tiny.files.get("capsule.safetensors");
        int photo = 3 * 64 * 64;
        // The mask comes after the photo; as many characters, so that nothing else moves.
        String own = "[" + photo + ", " + (photo + 4096) + "]";
        for (String other : new String[] {"[12287, 16383]", "[12289, 16385]", "[0, 4096]", "[16384, 12288]"}) {
            String text = new String(whole, StandardCharsets.ISO_8859_1);
            assertTrue(text.contains(own));
            String changed = text.replace(own, other + " ".repeat(Math.max(0, own.length() - other.length())));
            assertCapsuleFails("overlaps or leaves gaps", changed.getBytes(StandardCharsets.ISO_8859_1));
        }
        byte[] longer = Arrays.copyOf(whole, whole.length + 8);
        assertCapsuleFails("cut off or damaged", longer);
        byte[] huge = whole.clone();
        huge[4] = 2; // a header of 8 GiB
        assertCapsuleFails("claims a header of 85", huge);
    }

    @Test
    public void aManifestThatClaimsHugePictures() throws IOException {
        tiny.manifest.put("resolution", 8192);
        tiny.manifest.put("latent_size", 1024);
        Bundle bundle = Bundle.open(tiny.write(folder));
        assertFails("photo is U8 [64.0, 64.0, 3.0]; expected U8 [8192, 8192, 3]", bundle::capsule);
    }

    private void assertCapsuleFails(String part, byte[] data) throws IOException {
        tiny.files.put("capsule.safetensors", data);
        Bundle bundle = Bundle.open(tiny.write(folder));
        assertFails(part, bundle::capsule);
    }

    @Test
    public void nanFromAGraphLeavesThePhotoAlone() throws IOException {
        byte[] before = photo.rgb.clone();
        for (String graph : Manifest.GRAPHS) {
            runner.broken = graph;
            assertFails("NaN", () -> inpaint(photo, TinyBundle.mask(100, 80, 40, 30, 60, 50), Progress.NONE));
            assertArrayEquals(before, photo.rgb);
            assertTrue(runner.loaded.isEmpty());
        }
    }

    @Test
    public void cancellingLeavesThePhotoAloneAndFreesTheGraphs() {
        byte[] before = photo.rgb.clone();
        for (int stop = 1; stop <= 9; stop++) { // in the second of two passes, too
            int at = stop;
            MoebiusException error = assertThrows(MoebiusException.Cancelled.class,
                    () -> inpaint(photo, TinyBundle.mask(100, 80, 40, 30, 60, 50), (done, total) -> done < at));
            assertEquals("stopped after " + stop + " of 9 graph runs", error.getMessage());
            assertArrayEquals(before, photo.rgb);
            assertTrue(runner.loaded.isEmpty());
        }
    }

    @Test
    public void anEditChangesThePhotoInTheMaskAlone() throws IOException {
        byte[] before = photo.rgb.clone();
        List<String> seen = new ArrayList<>();
        inpaint(photo, TinyBundle.mask(100, 80, 40, 30, 60, 50), (done, total) -> seen.add(done + "/" + total));
        assertEquals(List.of("1/9", "2/9", "3/9", "4/9", "5/9", "6/9", "7/9", "8/9", "9/9"), seen);
        assertEquals(1, runner.mostLoaded);
        boolean changed = false;
        for (int i = 0; i < before.length; i++) {
            int x = i / 3 % 100;
            int y = i / 300;
            if (x < 32 || x >= 68 || y < 22 || y >= 58) {
                assertEquals(before[i], photo.rgb[i]);
            } else {
                changed |= before[i] != photo.rgb[i];
            }
        }
        assertTrue(changed);
    }

    @Test
    public void photosAndMasksThatCannotBeUsed() {
        Mask usual = TinyBundle.mask(100, 80, 40, 30, 60, 50);
        assertFails("the photo is 7x100 pixels; at least 8x8",
                () -> inpaint(TinyBundle.photo(7, 100), TinyBundle.mask(7, 100, 1, 1, 3, 3), Progress.NONE));
        assertFails("the mask is 80x100 pixels and the photo 100x80",
                () -> inpaint(photo, TinyBundle.mask(80, 100, 1, 1, 3, 3), Progress.NONE));
        assertFails("the mask is empty", () -> inpaint(photo, TinyBundle.mask(100, 80, 5, 5, 5, 5), Progress.NONE));
        assertFails("covers the whole photo", () -> inpaint(photo, TinyBundle.mask(100, 80, 0, 0, 100, 80), Progress.NONE));
        assertFails("leaves nothing around it",
                () -> inpaint(photo, TinyBundle.mask(100, 80, 0, 0, 100, 79), Progress.NONE));
        assertFails("a mask of 3x3 pixels was given 5 bytes", () -> Mask.of(new byte[5], 3, 3));
        assertFails("expected 3 per pixel", () -> new RgbPhoto(new byte[5], 3, 3));
        assertFails("5 bytes of alpha; expected 1 per pixel", () -> new RgbPhoto(new byte[27], new byte[5], 3, 3));
        Options options = new Options();
        options.dilate = 80;
        assertFails("grown by 80 pixels", () -> Edits.plan(photo, usual, 64, 8, options));
        options.dilate = -1;
        assertFails("dilate is -1", options::check);
        options.dilate = 0;
        for (double refine : new double[] {-0.1, 1.1, Double.NaN}) {
            options.refine = refine;
            assertFails("refine is " + refine + "; expected 0.0 to 1.0", options::check);
        }
    }

    @Test
    public void anInstallationIsWholeOrNotThere() throws IOException {
        List<String> opened = new ArrayList<>();
        Bundle.Source source = name -> {
            opened.add(name);
            return new ByteArrayInputStream(name.equals("manifest.json") ? tiny.manifestBytes() : tiny.files.get(name));
        };
        assertEquals(64, Bundle.install(source, folder).manifest.resolution);
        assertEquals(5, opened.size());
        Bundle.install(source, folder);
        assertEquals("what is intact is not copied again", 5, opened.size());
        Files.write(folder.resolve("encoder.ort"), new byte[] {1});
        Bundle.install(source, folder);
        assertEquals("what is damaged is", 10, opened.size());
    }

    @Test
    public void anInstallationThatFailsLeavesNothing() {
        byte[] damaged = tiny.files.get("encoder.ort").clone();
        damaged[0] ^= 1;
        assertFails("encoder.ort is damaged", () -> Bundle.install(name -> new ByteArrayInputStream(
                name.equals("manifest.json") ? tiny.manifestBytes() : name.equals("encoder.ort") ? damaged : tiny.files.get(name)),
                folder));
        assertFails("cannot copy the model: no such asset", () -> Bundle.install(name -> {
            if (name.equals("decoder.ort")) {
                throw new FileNotFoundException("no such asset");
            }
            return new ByteArrayInputStream(name.equals("manifest.json") ? tiny.manifestBytes() : tiny.files.get(name));
        }, folder));
        assertArrayEquals(new File[0], temporary.getRoot().listFiles());
    }

    @Test
    public void aFileThatCannotBeWrittenLeavesWhatWasThere() throws IOException {
        Path target = temporary.getRoot().toPath().resolve("profile.json");
        FilesIo.writeAtomically(target, new byte[] {1, 2});
        FilesIo.writeAtomically(target, new byte[] {3});
        assertArrayEquals(new byte[] {3}, Files.readAllBytes(target));
        assertEquals(1, temporary.getRoot().listFiles().length);
        assertFails("cannot write x", () -> FilesIo.writeAtomically(target.resolve("x"), new byte[] {1}));
    }
}
