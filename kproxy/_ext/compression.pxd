"""Codecs of record batches. Only lz4 is opened so far; the native rewriter calls it from C++, this is its Python face."""
