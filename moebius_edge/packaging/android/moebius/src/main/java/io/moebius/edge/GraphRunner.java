package io.moebius.edge;

import java.util.Map;

/** An engine that runs the three graphs of a bundle: `encoder`, `denoiser` and `decoder` (docs/graphs.md). */
public interface GraphRunner {
    /**
     * Evaluates one graph, which is loaded first where it is not yet.
     *
     * @param inputs by name; names and shapes are those of docs/graphs.md
     * @return the outputs by name
     * @throws MoebiusException when the engine cannot load or run the graph
     */
    Map<String, Tensor> run(String graph, Map<String, Tensor> inputs);

    /** Frees the memory of a graph; a graph that is not loaded is no error. */
    void release(String graph);
}
