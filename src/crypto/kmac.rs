//! KMAC256 (NIST SP 800-185): the proof that one end of a connection shows the other that it
//! knows the token, without telling it (service 6.5).

use tiny_keccak::{Hasher as _, Kmac};

/// Bytes of a proof.
pub const LEN: usize = 32;

/// KMAC256 of `parts` back to back.
pub fn kmac256(key: &[u8], customization: &[u8], parts: &[&[u8]]) -> [u8; LEN] {
    let mut mac = Kmac::v256(key, customization);
    for part in parts {
        mac.update(part);
    }
    let mut out = [0; LEN];
    mac.finalize(&mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The recipe of SP 800-185 written down: cSHAKE256("KMAC", S) of
    /// `bytepad(encode_string(K), 136) ‖ X ‖ right_encode(256)`.
    fn by_the_recipe(key: &[u8], customization: &[u8], message: &[u8]) -> [u8; LEN] {
        const RATE: usize = 136;
        let left_encode = |n: usize| match u8::try_from(n) {
            Ok(n) => vec![1, n],
            Err(_) => vec![2, (n >> 8) as u8, n as u8],
        };
        let mut padded = left_encode(RATE);
        padded.extend(left_encode(key.len() * 8));
        padded.extend(key);
        padded.resize(padded.len().next_multiple_of(RATE), 0);
        let mut shake = tiny_keccak::CShake::v256(b"KMAC", customization);
        shake.update(&padded);
        shake.update(message);
        shake.update(&[1, 0, 2]);
        let mut out = [0; LEN];
        shake.finalize(&mut out);
        out
    }

    #[test]
    fn parts_are_one_message_and_every_input_counts() {
        let proof = kmac256(b"token", b"zt-ctl/1", &[b"C", &[1; 32], &[2; 32]]);
        let mut message = vec![b'C'];
        message.extend([1; 32]);
        message.extend([2; 32]);
        assert_eq!(proof, by_the_recipe(b"token", b"zt-ctl/1", &message));
        assert_eq!(proof, kmac256(b"token", b"zt-ctl/1", &[&message]));
        for other in [
            kmac256(b"tokem", b"zt-ctl/1", &[&message]),
            kmac256(b"token", b"zt-ctl/2", &[&message]),
            kmac256(b"token", b"zt-ctl/1", &[b"S", &[1; 32], &[2; 32]]),
        ] {
            assert_ne!(proof, other);
        }
    }
}
