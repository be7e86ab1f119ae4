package io.moebius.edge;

import static org.junit.Assert.assertArrayEquals;
import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertFalse;
import static org.junit.Assert.assertThrows;
import static org.junit.Assert.assertTrue;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.Before;
import org.junit.Rule;
import org.junit.Test;
import org.junit.rules.TemporaryFolder;

/** Masks whose parts are far apart, and photos that are transparent in places. */
public class HolesTest {
    private static final int WIDTH = 500;
    private static final int HEIGHT = 120;

    @Rule public final TemporaryFolder temporary = new TemporaryFolder();

    private final FakeRunner runner = new FakeRunner();
    private final RgbPhoto photo = TinyBundle.photo(WIDTH, HEIGHT);
    private final Mask left = TinyBundle.mask(WIDTH, HEIGHT, 10, 10, 20, 20);
    private final Mask right = TinyBundle.mask(WIDTH, HEIGHT, 400, 20, 440, 60);
    private final Mask both = union(left, right);
    private Options options;
    private Bundle bundle;

    @Before
    public void open() throws IOException {
        bundle = Bundle.open(new TinyBundle().write(temporary.getRoot().toPath().resolve("tiny.moebius")));
        options = bundle.manifest.options();
        options.margin = 0.5;
    }

    private static Mask union(Mask a, Mask b) {
        return Mask.read(a.width, a.height, (y, into) -> {
            for (int x = 0; x < into.length; x++) {
                into[x] = (byte) (a.at(x, y) || b.at(x, y) ? 1 : 0);
            }
        });
    }

    /** In place. */
    private void inpaint(RgbPhoto edited, Mask mask, Progress progress) {
        runner.runs.clear();
        runner.loads = 0;
        new Inpainter(bundle.manifest, runner).inpaint(edited, mask, options, progress, edited);
        assertEquals("no two graphs at once", 1, runner.mostLoaded);
        assertTrue(runner.loaded.isEmpty());
    }

    @Test
    public void eachIsFilledAsIfItWereAlone() {
        RgbPhoto together = photo.copy();
        inpaint(together, both, Progress.NONE);
        assertEquals(Map.of("encoder", 4, "denoiser", 6, "decoder", 3), runner.runs);
        assertEquals("each graph once for each pass, of all holes", 6, runner.loads);
        RgbPhoto inTurn = photo.copy();
        inpaint(inTurn, right, Progress.NONE);
        assertEquals("this one is coarse", Map.of("encoder", 3, "denoiser", 4, "decoder", 2), runner.runs);
        inpaint(inTurn, left, Progress.NONE);
        assertEquals("this one is not", Map.of("encoder", 1, "denoiser", 2, "decoder", 1), runner.runs);
        assertFalse(Arrays.equals(photo.rgb, together.rgb));
        assertArrayEquals(inTurn.rgb, together.rgb);
    }

    @Test
    public void togetherFillsAllInOneSquare() {
        options.together = true;
        RgbPhoto one = photo.copy();
        inpaint(one, both, Progress.NONE);
        assertEquals(1, (int) runner.runs.get("decoder"));
        options.together = false;
        RgbPhoto two = photo.copy();
        inpaint(two, both, Progress.NONE);
        assertFalse(Arrays.equals(one.rgb, two.rgb));
    }

    @Test
    public void progressCountsAllAndStoppingAnywhereLeavesThePhotoAlone() {
        byte[] before = photo.rgb.clone();
        List<String> seen = new ArrayList<>();
        inpaint(photo.copy(), both, (done, total) -> seen.add(done + "/" + total));
        assertEquals(13, seen.size());
        for (int stop = 1; stop <= 13; stop++) {
            int at = stop;
            assertEquals(stop + "/13", seen.get(stop - 1));
            MoebiusException error = assertThrows(MoebiusException.Cancelled.class,
                    () -> inpaint(photo, both, (done, total) -> done < at));
            assertEquals("stopped after " + stop + " of 13 graph runs", error.getMessage());
            assertArrayEquals(before, photo.rgb);
            assertTrue(runner.loaded.isEmpty());
        }
    }

    @Test
    public void nanInALaterHoleLeavesThePhotoAlone() {
        byte[] before = photo.rgb.clone();
        for (Map.Entry<String, Integer> run : Map.of("encoder", 2, "denoiser", 3, "decoder", 2).entrySet()) {
            runner.broken = run.getKey();
            runner.sound = run.getValue() - 1;
            FaultsTest.assertFails("contain NaN or Inf", () -> inpaint(photo, both, Progress.NONE));
            assertArrayEquals(before, photo.rgb);
            assertTrue(runner.loaded.isEmpty());
        }
    }

    /** Boxes as text; what the square of a hole covers has so many pixels more on each side. */
    private static String holes(int room, Mask... parts) {
        Mask mask = parts[0];
        for (Mask part : parts) {
            mask = union(mask, part);
        }
        StringBuilder found = new StringBuilder();
        for (Box box : Holes.of(mask, 64, each -> each.grown(room))) { // cells of 16 pixels
            found.append('(').append(box.left).append(' ').append(box.top).append(' ');
            found.append(box.right).append(' ').append(box.bottom).append(')');
        }
        return found.toString();
    }

    private static Mask square(int left, int top) {
        return TinyBundle.mask(WIDTH, HEIGHT, left, top, left + 2, top + 2);
    }

    @Test
    public void partsInCellsThatTouchAreOneHole() {
        assertEquals("(16 16 34 18)", holes(0, square(16, 16), square(32, 16)));
        assertEquals("(16 16 18 34)", holes(0, square(16, 16), square(16, 32)));
        assertEquals("(16 16 34 34)", holes(0, square(16, 16), square(32, 32)));
        assertEquals("(16 16 34 34)", holes(0, square(32, 16), square(16, 32)));
        assertEquals("(0 0 50 2)", holes(0, square(0, 0), square(48, 0), square(16, 0), square(32, 0)));
        assertEquals("a cell lies between them", "(16 16 18 18)(48 16 50 18)", holes(0, square(48, 16), square(16, 16)));
        assertEquals("from top to bottom", "(48 16 50 18)(16 48 18 50)", holes(0, square(16, 48), square(48, 16)));
    }

    @Test
    public void partsAreOneHoleWhoseSquaresShareAPixel() {
        // 30 pixels lie between them.
        assertEquals("(16 16 18 18)(48 16 50 18)", holes(15, square(16, 16), square(48, 16)));
        assertEquals("(16 16 50 18)", holes(16, square(16, 16), square(48, 16)));
        assertEquals("(16 16 18 18)(16 48 18 50)", holes(15, square(16, 16), square(16, 48)));
        assertEquals("(16 16 18 50)", holes(16, square(16, 16), square(16, 48)));
    }

    @Test
    public void whatIsClearIsMirroredAsThePhotoIs() {
        byte[] alpha = new byte[WIDTH * HEIGHT];
        Mask clear = union(left, right);
        for (int i = 0; i < alpha.length; i++) {
            alpha[i] = (byte) (clear.at(i % WIDTH, i / WIDTH) ? 0 : 7);
        }
        Crop crop = new Crop(-20, -30, 180);
        Resized.Rows found = crop.cutClear(new RgbPhoto(photo.rgb, alpha, WIDTH, HEIGHT));
        byte[] row = new byte[180];
        byte[] expected = new byte[180];
        for (int y = 0; y < 180; y++) {
            found.read(y, row);
            crop.cut(clear).read(y, expected);
            assertArrayEquals(expected, row);
        }
    }

    /** A photo that is transparent from column `from` on, with this colour under it. */
    private static RgbPhoto cut(int width, int height, int from, int colour) {
        RgbPhoto whole = TinyBundle.photo(width, height);
        byte[] alpha = new byte[width * height];
        for (int i = 0; i < alpha.length; i++) {
            alpha[i] = (byte) (i % width < from ? 1 : 0);
            if (alpha[i] == 0) {
                Arrays.fill(whole.rgb, 3 * i, 3 * i + 3, (byte) colour);
            }
        }
        return new RgbPhoto(whole.rgb, alpha, width, height);
    }

    @Test
    public void whatIsTransparentStaysAndChangesNothingElse() {
        Mask mask = TinyBundle.mask(100, 80, 40, 30, 60, 50);
        RgbPhoto black = cut(100, 80, 50, 0);
        RgbPhoto white = cut(100, 80, 50, 255);
        inpaint(black, mask, Progress.NONE);
        assertEquals("both passes", 2, (int) runner.runs.get("decoder"));
        inpaint(white, mask, Progress.NONE);
        boolean filled = false;
        for (int i = 0; i < black.rgb.length; i++) {
            boolean clear = i / 3 % 100 >= 50;
            assertEquals(clear ? 0 : black.rgb[i] & 0xFF, black.rgb[i] & 0xFF);
            assertEquals(clear ? 255 : black.rgb[i] & 0xFF, white.rgb[i] & 0xFF);
            filled |= !clear && black.rgb[i] != cut(100, 80, 50, 0).rgb[i];
        }
        assertTrue(filled);
    }

    @Test
    public void aPhotoThatMayBeTransparentButIsNotIsLikeAnyOther() {
        Mask mask = TinyBundle.mask(100, 80, 40, 30, 60, 50);
        RgbPhoto opaque = cut(100, 80, 100, 0);
        RgbPhoto plain = TinyBundle.photo(100, 80);
        inpaint(opaque, mask, Progress.NONE);
        inpaint(plain, mask, Progress.NONE);
        assertArrayEquals(plain.rgb, opaque.rgb);
    }

    @Test
    public void holesThatNobodyWouldSeeOrThatNothingIsSeenAround() {
        Mask unseen = TinyBundle.mask(100, 80, 60, 30, 80, 50);
        assertRefused("covers only pixels that are fully transparent", cut(100, 80, 50, 0), unseen);
        RgbPhoto beside = cut(100, 80, 60, 0);
        Mask corners = union(TinyBundle.mask(100, 80, 70, 30, 71, 31), TinyBundle.mask(100, 80, 59, 35, 60, 36));
        inpaint(beside, corners, Progress.NONE); // one of its pixels is seen
        assertFalse(Arrays.equals(cut(100, 80, 60, 0).rgb, beside.rgb));
        Mask around = union(TinyBundle.mask(100, 80, 70, 30, 71, 31), TinyBundle.mask(100, 80, 80, 40, 81, 41));
        byte[] alpha = new byte[100 * 80];
        alpha[35 * 100 + 75] = 1; // seen, and between the corners, but not marked
        assertRefused("covers only pixels", new RgbPhoto(TinyBundle.photo(100, 80).rgb, alpha, 100, 80), around);
        Mask all = TinyBundle.mask(40, 40, 0, 0, 5, 40);
        assertRefused("everything around the mask is fully transparent", cut(40, 40, 5, 0), all);
    }

    private void assertRefused(String part, RgbPhoto edited, Mask mask) {
        byte[] before = edited.rgb.clone();
        FaultsTest.assertFails(part, () -> inpaint(edited, mask, Progress.NONE));
        assertTrue("before a graph is run", runner.runs.isEmpty());
        assertArrayEquals(before, edited.rgb);
    }
}
