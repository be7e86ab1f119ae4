import io.moebius.edge.AppInfo;
import io.moebius.edge.Bundle;
import io.moebius.edge.FilesIo;
import io.moebius.edge.Inpainter;
import io.moebius.edge.Mask;
import io.moebius.edge.MoebiusException;
import io.moebius.edge.Options;
import io.moebius.edge.ProcessMemory;
import io.moebius.edge.Profile;
import io.moebius.edge.Progress;
import io.moebius.edge.RgbPhoto;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;

/**
 * The library as an app uses it, its graphs run by the process that starts it:
 *
 * <p>`edit BUNDLE PHOTO ALPHA MASK WIDTH HEIGHT SEED DILATE BLEND TOGETHER RESULT`, or `profile BUNDLE APP_JSON RUNS EDITS
 * RESULT`. Photos are raw RGB, masks and alpha raw bytes; an empty file is no alpha. What is wrong goes to standard error, one sentence.
 */
final class EndToEnd {
    public static void main(String[] arguments) throws IOException {
        DataInputStream in = new DataInputStream(System.in);
        DataOutputStream out = new DataOutputStream(new BufferedOutputStream(System.out));
        try {
            Bundle bundle = Bundle.open(Paths.get(arguments[1]));
            PipeGraphRunner runner = new PipeGraphRunner(in, out);
            Path result = Paths.get(arguments[arguments.length - 1]);
            byte[] data = arguments[0].equals("edit") ? edit(bundle, runner, arguments) : profile(bundle, runner, arguments);
            FilesIo.writeAtomically(result, data);
        } catch (MoebiusException error) {
            System.err.println(error.getMessage());
            System.exit(2);
        }
    }

    private static byte[] edit(Bundle bundle, PipeGraphRunner runner, String[] arguments) throws IOException {
        int width = Integer.parseInt(arguments[5]);
        int height = Integer.parseInt(arguments[6]);
        byte[] alpha = Files.readAllBytes(Paths.get(arguments[3]));
        byte[] rgb = Files.readAllBytes(Paths.get(arguments[2]));
        RgbPhoto photo = new RgbPhoto(rgb, alpha.length == 0 ? null : alpha, width, height);
        Mask mask = Mask.of(Files.readAllBytes(Paths.get(arguments[4])), width, height);
        Options options = bundle.manifest.options();
        options.seed = Long.parseUnsignedLong(arguments[7]);
        options.dilate = Integer.parseInt(arguments[8]);
        options.blend = Options.Blend.valueOf(arguments[9]);
        options.together = Boolean.parseBoolean(arguments[10]);
        new Inpainter(bundle.manifest, runner).inpaint(photo, mask, options, Progress.NONE, photo);
        return photo.rgb;
    }

    private static byte[] profile(Bundle bundle, PipeGraphRunner runner, String[] arguments) throws IOException {
        AppInfo app = AppInfo.parse(Files.readAllBytes(Paths.get(arguments[2])));
        Profile.Setting setting = new Profile.Setting();
        setting.model = "this machine";
        setting.system = System.getProperty("os.name");
        setting.engineVersion = "through a pipe";
        setting.runs = Integer.parseInt(arguments[3]);
        setting.edits = Integer.parseInt(arguments[4]);
        Profile.Thermometer none = new Profile.Thermometer() {
            @Override
            public double celsius() {
                return Double.NaN;
            }

            @Override
            public String state() {
                return null;
            }
        };
        return Profile.run(bundle, app, runner, setting, System::nanoTime, none, new ProcessMemory()).getBytes();
    }
}
