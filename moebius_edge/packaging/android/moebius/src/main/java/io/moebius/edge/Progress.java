package io.moebius.edge;

/** Watches an edit. */
public interface Progress {
    /** Nobody watches. */
    Progress NONE = (done, total) -> true;

    /**
     * Called after each run of a graph, on the thread of the edit.
     *
     * @return false to stop: the edit ends with {@link MoebiusException.Cancelled}, and nothing is written
     */
    boolean onProgress(int done, int total);
}
