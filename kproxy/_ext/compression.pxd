"""Codecs of record batches; the native rewriter calls them from C++, this is their Python face."""
