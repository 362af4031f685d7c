//! The campaigns under proptest, the replay of the corpus, and tidy: see `tests/`.
