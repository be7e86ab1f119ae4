import io.moebius.edge.GraphRunner;
import io.moebius.edge.MoebiusException;
import io.moebius.edge.Tensor;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.LinkedHashMap;
import java.util.Map;

/** Runs graphs in the process that started this one, through standard input and output. Numbers are big-endian. */
final class PipeGraphRunner implements GraphRunner {
    private final DataInputStream in;
    private final DataOutputStream out;

    PipeGraphRunner(DataInputStream in, DataOutputStream out) {
        this.in = in;
        this.out = out;
    }

    @Override
    public Map<String, Tensor> run(String graph, Map<String, Tensor> inputs) {
        try {
            out.writeUTF("run");
            out.writeUTF(graph);
            out.writeInt(inputs.size());
            for (Map.Entry<String, Tensor> input : inputs.entrySet()) {
                write(input.getKey(), input.getValue());
            }
            out.flush();
            Map<String, Tensor> outputs = new LinkedHashMap<>();
            for (int left = in.readInt(); left > 0; left--) {
                String name = in.readUTF();
                outputs.put(name, read());
            }
            return outputs;
        } catch (IOException error) {
            throw new MoebiusException("the other process is gone: " + error.getMessage(), error);
        }
    }

    @Override
    public void release(String graph) {
        try {
            out.writeUTF("release");
            out.writeUTF(graph);
            out.flush();
        } catch (IOException error) {
            throw new MoebiusException("the other process is gone: " + error.getMessage(), error);
        }
    }

    private void write(String name, Tensor tensor) throws IOException {
        out.writeUTF(name);
        out.writeInt(tensor.shape.length);
        for (int side : tensor.shape) {
            out.writeInt(side);
        }
        ByteBuffer bytes = ByteBuffer.allocate(4 * tensor.data.length);
        bytes.asFloatBuffer().put(tensor.data);
        out.write(bytes.array());
    }

    private Tensor read() throws IOException {
        int[] shape = new int[in.readInt()];
        for (int i = 0; i < shape.length; i++) {
            shape[i] = in.readInt();
        }
        float[] data = new float[(int) Tensor.count(shape)];
        byte[] bytes = new byte[4 * data.length];
        in.readFully(bytes);
        ByteBuffer.wrap(bytes).asFloatBuffer().get(data);
        return Tensor.of(data, shape);
    }
}
