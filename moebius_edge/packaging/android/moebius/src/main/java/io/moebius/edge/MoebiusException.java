package io.moebius.edge;

/** What a user or an app developer can act on. The message is one sentence: what was found, what was expected, what to do. */
public class MoebiusException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    public MoebiusException(String message) {
        this(message, null);
    }

    /** Control characters, which a damaged or hostile file can bring into a sentence, become `?`. */
    public MoebiusException(String message, Throwable cause) {
        super(message.replaceAll("\\p{Cntrl}", "?"), cause);
    }

    /** A graph gave NaN or Inf. */
    public static final class NotFinite extends MoebiusException {
        private static final long serialVersionUID = 1L;

        public NotFinite(String message) {
            super(message);
        }
    }

    /** The progress callback asked to stop. */
    public static final class Cancelled extends MoebiusException {
        private static final long serialVersionUID = 1L;

        public Cancelled(String message) {
            super(message);
        }
    }
}
