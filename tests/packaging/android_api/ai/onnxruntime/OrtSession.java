package ai.onnxruntime;

import java.util.Iterator;
import java.util.Map;

public class OrtSession implements AutoCloseable {
    public Result run(Map<String, ? extends OnnxTensorLike> inputs) throws OrtException {
        throw new UnsupportedOperationException();
    }

    @Override
    public void close() throws OrtException {
        throw new UnsupportedOperationException();
    }

    public static class SessionOptions implements AutoCloseable {
        public void setCPUArenaAllocator(boolean useArena) throws OrtException {
            throw new UnsupportedOperationException();
        }

        public void addConfigEntry(String configKey, String configValue) throws OrtException {
            throw new UnsupportedOperationException();
        }

        public void setIntraOpNumThreads(int numThreads) throws OrtException {
            throw new UnsupportedOperationException();
        }

        public void addXnnpack(Map<String, String> providerOptions) throws OrtException {
            throw new UnsupportedOperationException();
        }

        @Override
        public void close() {
            throw new UnsupportedOperationException();
        }
    }

    public static class Result implements AutoCloseable, Iterable<Map.Entry<String, OnnxValue>> {
        @Override
        public Iterator<Map.Entry<String, OnnxValue>> iterator() {
            throw new UnsupportedOperationException();
        }

        @Override
        public void close() {
            throw new UnsupportedOperationException();
        }
    }
}
