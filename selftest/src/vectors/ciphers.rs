//! Vectors of the key stream.

use zt::crypto::salsa;

use super::fields::{Object, Outcome, array, bytes, known, list, number, same, unhex};

pub(super) fn keystream(case: &Object) -> Outcome {
    known(case, &["key", "iv", "length", "salsa20_12", "salsa20_20"])?;
    let (key, iv) = (array(case, "key")?, array(case, "iv")?);
    let len = number(case, "length")? as usize;
    let (mut twelve, mut twenty) = (vec![0; len], vec![0; len]);
    salsa::xor::<12>(&key, &iv, 0, &mut twelve);
    salsa::xor::<20>(&key, &iv, 0, &mut twenty);
    same("12 rounds", &twelve, &bytes(case, "salsa20_12")?)?;
    same("20 rounds", &twenty, &bytes(case, "salsa20_20")?)
}

pub(super) fn split_calls(case: &Object) -> Outcome {
    known(case, &["key", "iv", "rounds", "lengths", "outputs"])?;
    same("rounds", &number(case, "rounds")?, &12)?;
    let (key, iv) = (array(case, "key")?, array(case, "iv")?);
    let mut block = 0;
    for (len, output) in list(case, "lengths")?.iter().zip(list(case, "outputs")?) {
        let len = len.as_u64().ok_or("length")? as usize;
        let mut stream = vec![0; len];
        salsa::xor::<12>(&key, &iv, block, &mut stream);
        same("part", &stream, &unhex(output.as_str().ok_or("output")?)?)?;
        block += len.div_ceil(64) as u64;
    }
    Ok(())
}
