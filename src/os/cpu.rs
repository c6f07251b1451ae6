//! What the processor can do, for the status and for reports of speed.

/// Extensions found at run time that ciphers profit from, in a fixed order. Empty where nothing
/// is looked for.
pub fn extensions() -> Vec<&'static str> {
    found()
        .into_iter()
        .filter_map(|(name, has)| has.then_some(name))
        .collect()
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fn found() -> [(&'static str, bool); 6] {
    use std::arch::is_x86_feature_detected as has;
    [
        ("sse2", has!("sse2")),
        ("ssse3", has!("ssse3")),
        ("avx2", has!("avx2")),
        ("aes", has!("aes")),
        ("pclmulqdq", has!("pclmulqdq")),
        ("vaes", has!("vaes")),
    ]
}

#[cfg(target_arch = "aarch64")]
fn found() -> [(&'static str, bool); 4] {
    use std::arch::is_aarch64_feature_detected as has;
    [
        ("neon", has!("neon")),
        ("aes", has!("aes")),
        ("pmull", has!("pmull")),
        ("sha2", has!("sha2")),
    ]
}

#[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
fn found() -> [(&'static str, bool); 0] {
    []
}

#[cfg(test)]
mod tests {
    #[test]
    #[cfg(target_arch = "x86_64")]
    fn every_x86_64_has_sse2() {
        assert!(super::extensions().contains(&"sse2"));
    }
}
