"""Functional builders, one family a file: ``build_...(config) -> keras.Model``."""
