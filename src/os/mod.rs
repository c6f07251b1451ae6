//! To be filled: os.
