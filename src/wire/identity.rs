//! Identities: string and binary forms (wire 2).

/// Placeholder until the format lands.
#[derive(Clone)]
pub struct SecretIdentity;
