//! LZ4 blocks (wire 8). Decoding strangers' bytes is the library's work; encoding is our own
//! few lines, because the library takes a table from the heap for each call.

use super::Malformed;

/// Unpacks a block into `out`; the length. Nothing in, nothing out.
pub fn decompress(block: &[u8], out: &mut [u8]) -> Result<usize, Malformed> {
    if block.is_empty() {
        return Ok(0);
    }
    lz4_flex::block::decompress_into(block, out).map_err(|_| Malformed::Value)
}

const HASH_BITS: u32 = 10;
const MATCH_MIN: usize = 4;
/// The last match begins so far from the end…
const MATCH_MARGIN: usize = 12;
/// …and the last so many bytes are literals.
const LAST_LITERALS: usize = 5;

/// Packs `data` (at most 64 KiB) into `out`; `None` if that does not make it shorter.
pub fn compress(data: &[u8], out: &mut [u8]) -> Option<usize> {
    let limit = data.len().checked_sub(1)?.min(out.len());
    let mut out = Out {
        buffer: out.get_mut(..limit)?,
        len: 0,
    };
    if data.len() > usize::from(u16::MAX) {
        return None;
    }
    let word = |at: usize| {
        let bytes = data.get(at..)?.first_chunk::<4>()?;
        Some(u32::from_le_bytes(*bytes))
    };
    // Positions + 1; 0 = none yet.
    let mut table = [0u16; 1 << HASH_BITS];
    let matches_end = data.len().saturating_sub(LAST_LITERALS);
    let mut anchor = 0usize;
    let mut at = 0usize;
    while at.saturating_add(MATCH_MARGIN) < data.len() {
        let here = word(at)?;
        let cell =
            table.get_mut((here.wrapping_mul(2_654_435_761) >> (32 - HASH_BITS)) as usize)?;
        let seen = usize::from(*cell).checked_sub(1);
        *cell = u16::try_from(at.saturating_add(1)).ok()?;
        let found = seen.filter(|s| word(*s) == Some(here));
        let Some(start) = found else {
            at = at.saturating_add(1);
            continue;
        };
        let ahead = data.get(at..matches_end)?;
        let behind = data.get(start..)?;
        let len = ahead.iter().zip(behind).take_while(|(a, b)| a == b).count();
        if len < MATCH_MIN {
            at = at.saturating_add(1);
            continue;
        }
        let offset = u16::try_from(at.checked_sub(start)?).ok()?;
        out.sequence(data.get(anchor..at)?, Some((offset, len)))?;
        at = at.saturating_add(len);
        anchor = at;
    }
    out.sequence(data.get(anchor..)?, None)?;
    Some(out.len)
}

struct Out<'a> {
    buffer: &'a mut [u8],
    len: usize,
}

impl Out<'_> {
    fn put(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.len.checked_add(bytes.len())?;
        self.buffer.get_mut(self.len..end)?.copy_from_slice(bytes);
        self.len = end;
        Some(())
    }

    /// The rest of a length above the 15 that fit the token.
    fn rest(&mut self, len: usize) -> Option<()> {
        let Some(mut rest) = len.checked_sub(15) else {
            return Some(());
        };
        while rest >= 255 {
            self.put(&[255])?;
            rest = rest.saturating_sub(255);
        }
        self.put(&[u8::try_from(rest).ok()?])
    }

    fn sequence(&mut self, literals: &[u8], copy: Option<(u16, usize)>) -> Option<()> {
        let nibble = |n: usize| u8::try_from(n.min(15)).unwrap_or(15);
        let len = copy.map_or(0, |(_, len)| len.saturating_sub(MATCH_MIN));
        self.put(&[(nibble(literals.len()) << 4) | nibble(len)])?;
        self.rest(literals.len())?;
        self.put(literals)?;
        if let Some((offset, _)) = copy {
            self.put(&offset.to_le_bytes())?;
            self.rest(len)?;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;
    use std::vec::Vec;

    fn samples() -> Vec<Vec<u8>> {
        let mut all = vec![vec![0; 64], vec![7; 2000], Vec::new(), vec![1; 13]];
        let mut x = 1u32;
        let mut random = |n: usize, modulus: u32| {
            (0..n)
                .map(|_| {
                    x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    ((x >> 16) % modulus) as u8
                })
                .collect::<Vec<u8>>()
        };
        for n in [1, 12, 13, 17, 65, 300, 1400, 9996] {
            for modulus in [2, 4, 64, 256] {
                all.push(random(n, modulus));
            }
        }
        all
    }

    #[test]
    fn what_we_pack_unpacks() {
        let mut packed_some = 0;
        for data in samples() {
            let mut out = vec![0; 10_024];
            if let Some(len) = compress(&data, &mut out) {
                assert!(len < data.len());
                let mut back = vec![0; data.len()];
                assert_eq!(decompress(&out[..len], &mut back), Ok(data.len()));
                assert_eq!(back, data);
                packed_some += 1;
            }
        }
        assert!(packed_some > 5);
    }

    #[test]
    fn a_bomb_does_not_leave_its_room() {
        let data = vec![0u8; 9_000];
        let mut out = vec![0; 9_000];
        let len = compress(&data, &mut out).unwrap();
        assert!(decompress(&out[..len], &mut [0; 8_999]).is_err());
    }
}
