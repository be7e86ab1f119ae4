package io.moebius.edge;

/**
 * Philox 4x32 with ten rounds: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011
 * (docs/noise.md).
 */
public final class Philox {
    private static final long LOW = 0xFFFFFFFFL;

    private Philox() {}

    /**
     * Replaces four 32-bit words, least significant first, by their ten rounds.
     *
     * @param counter unsigned words, held in the low halves of four longs
     * @param key the 64-bit key; its low half is the first key word
     */
    public static void rounds(long[] counter, long key) {
        long k0 = key & LOW;
        long k1 = key >>> 32;
        for (int round = 0; round < 10; round++) {
            // Products of two 32-bit words fill 64 bits; the unsigned shift takes their high half.
            long product0 = 0xD2511F53L * counter[0];
            long product1 = 0xCD9E8D57L * counter[2];
            counter[0] = (product1 >>> 32) ^ counter[1] ^ k0;
            counter[1] = product1 & LOW;
            counter[2] = (product0 >>> 32) ^ counter[3] ^ k1;
            counter[3] = product0 & LOW;
            k0 = (k0 + 0x9E3779B9L) & LOW;
            k1 = (k1 + 0xBB67AE85L) & LOW;
        }
    }
}
