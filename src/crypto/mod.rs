//! Ciphers, signatures, digests: pure functions over slices.
