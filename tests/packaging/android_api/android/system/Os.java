package android.system;

public final class Os {
    public static String getenv(String name) {
        throw new UnsupportedOperationException();
    }

    public static void setenv(String name, String value, boolean overwrite) throws ErrnoException {
        throw new UnsupportedOperationException();
    }
}
