//! Configurations that come in pieces (network 1.8).
//!
//! Bounds: one at a time per network, its total under `Limits::config_total`, pieces of at least
//! 512 bytes but for the last, ten seconds. Memory is taken when the first of several pieces
//! comes and given back with the last. Only what the controller signed enters it.

use alloc::vec;
use alloc::vec::Vec;

use super::refusal::Refusal;
use crate::base::Mono;
use crate::wire::netconf::Signed;

/// A configuration that is not complete by then is given up.
const WAIT_MS: u64 = 10_000;
/// Least length of a piece that is not the last.
const PIECE_MIN: usize = 512;

pub(crate) struct Update {
    id: u64,
    began: Mono,
    /// The controller sent it itself.
    direct: bool,
    /// Where pieces lie, in order.
    pieces: Vec<(u32, u32)>,
    bytes: Vec<u8>,
}

/// What a piece comes to.
pub(crate) enum Piece {
    /// More are missing.
    Kept,
    /// It is here already.
    Duplicate,
    /// The dictionary is whole.
    Whole(Vec<u8>),
}

/// Is this piece known? Asked before its signature is checked, which takes long.
pub(crate) fn is_known(update: Option<&Update>, signed: &Signed<'_>, data: &[u8]) -> bool {
    let Some(update) = update.filter(|u| u.id == signed.update) else {
        return false;
    };
    let key = (signed.position, len_of(data));
    let at = signed.position as usize;
    update.pieces.contains(&key) && update.bytes.get(at..at + data.len()) == Some(data)
}

fn len_of(data: &[u8]) -> u32 {
    u32::try_from(data.len()).unwrap_or(u32::MAX)
}

/// Takes a piece whose signature is right.
pub(crate) fn add(
    slot: &mut Option<Update>,
    signed: &Signed<'_>,
    data: &[u8],
    direct: bool,
    most: usize,
    now: Mono,
) -> Result<Piece, Refusal> {
    let total = signed.total as usize;
    if total >= most {
        return Err(Refusal::TooLong);
    }
    let (start, len) = (signed.position, len_of(data));
    let end = start.saturating_add(len);
    if len == 0 || (data.len() < PIECE_MIN && end != signed.total) {
        return Err(Refusal::Piece);
    }
    if data.len() == total {
        *slot = None;
        return Ok(Piece::Whole(data.to_vec()));
    }
    let stale = slot.as_ref().is_some_and(|u| now.since(u.began) >= WAIT_MS);
    if stale {
        *slot = None;
    }
    if slot.as_ref().is_some_and(|u| u.id != signed.update) {
        // Old pieces that somebody replays do not push out what the controller is sending.
        if slot.as_ref().is_some_and(|u| u.direct) && !direct {
            return Err(Refusal::Piece);
        }
        *slot = None;
    }
    let update = slot.get_or_insert_with(|| Update {
        id: signed.update,
        began: now,
        direct,
        pieces: Vec::new(),
        bytes: vec![0; total],
    });
    update.direct |= direct;
    if update.bytes.len() != total {
        return Err(Refusal::Piece);
    }
    let at = update.pieces.partition_point(|p| p.0 < start);
    if update.pieces.get(at) == Some(&(start, len)) {
        return Ok(Piece::Duplicate);
    }
    let before = at.checked_sub(1).and_then(|n| update.pieces.get(n));
    let clear = before.is_none_or(|p| p.0 + p.1 <= start)
        && update.pieces.get(at).is_none_or(|p| end <= p.0);
    let room = update.bytes.get_mut(start as usize..end as usize);
    let (true, Some(room)) = (clear, room) else {
        return Err(Refusal::Piece);
    };
    room.copy_from_slice(data);
    update.pieces.insert(at, (start, len));
    let held: usize = update.pieces.iter().map(|p| p.1 as usize).sum();
    if held < total {
        return Ok(Piece::Kept);
    }
    let whole = slot.take().map(|u| u.bytes).unwrap_or_default();
    Ok(Piece::Whole(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Mono = Mono::from_ms(1 << 40);

    fn piece(update: u64, total: u32, position: u32) -> Signed<'static> {
        Signed {
            flags: 0,
            update,
            total,
            position,
            signature: &[0; 96],
            message: &[],
        }
    }

    fn kept(result: Result<Piece, Refusal>) -> bool {
        matches!(result, Ok(Piece::Kept))
    }

    #[test]
    fn pieces_in_any_order_make_the_whole_once() {
        let text: Vec<u8> = (0..1_500u32).map(|n| n as u8).collect();
        let mut slot = None;
        let mut add = |at: usize, end: usize| {
            let signed = piece(7, 1_500, at as u32);
            add(&mut slot, &signed, &text[at..end], true, 2_000, NOW)
        };
        assert!(kept(add(1_024, 1_500)));
        assert!(kept(add(0, 512)));
        assert!(matches!(add(0, 512), Ok(Piece::Duplicate)));
        assert!(matches!(add(100, 700), Err(Refusal::Piece)));
        match add(512, 1_024) {
            Ok(Piece::Whole(whole)) => assert_eq!(whole, text),
            _ => panic!("it is whole"),
        }
        assert!(slot.is_none());
    }

    #[test]
    fn too_long_too_small_and_too_late_are_refused() {
        let mut slot = None;
        let data = [0; 600];
        let mut try_add = |signed: &Signed<'_>, data: &[u8], direct, after| {
            add(&mut slot, signed, data, direct, 2_000, NOW.after(after))
        };
        let refused = |result| match result {
            Err(why) => why,
            Ok(_) => panic!("taken"),
        };
        let long = piece(1, 2_000, 0);
        assert_eq!(refused(try_add(&long, &data, true, 0)), Refusal::TooLong);
        let tiny = piece(1, 1_900, 0);
        assert_eq!(refused(try_add(&tiny, &data[..9], true, 0)), Refusal::Piece);
        assert!(kept(try_add(&piece(1, 1_900, 0), &data, true, 0)));
        // Another total under the same id.
        let other = piece(1, 1_800, 600);
        assert_eq!(refused(try_add(&other, &data, true, 0)), Refusal::Piece);
        // A stranger does not push it out, the controller does, and time.
        let replayed = piece(2, 1_900, 0);
        assert_eq!(refused(try_add(&replayed, &data, false, 1)), Refusal::Piece);
        assert!(kept(try_add(&piece(3, 1_900, 0), &data, true, 2)));
        assert!(kept(try_add(&replayed, &data, false, 2 + WAIT_MS)));
    }
}
