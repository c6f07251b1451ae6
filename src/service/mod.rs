//! To be filled: service.
