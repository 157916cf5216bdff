"""From files to batches: sources of rows, the pipeline, data sets and samples."""
