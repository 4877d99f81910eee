"""GGUF files: a strict, pure reader, a small writer, merging of split files, and a summary for the manifest."""
