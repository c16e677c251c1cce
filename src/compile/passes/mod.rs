//! Rewrites of the graph, one per file.
