//! Vectors of planets and moons.

use zt::crypto::sign;
use zt::node::supersedes;
use zt::wire::inet;
use zt::wire::world::{self, World};

use super::fields::{
    Object, Outcome, bytes, flag, known, list, malformed, number, object, same, text,
};

pub(super) fn world_definition(case: &Object) -> Outcome {
    known(
        case,
        &[
            "name",
            "hex",
            "consumed",
            "type",
            "id",
            "timestamp",
            "update_key",
            "signature",
            "roots",
            "signature_matches_own_update_key",
            "signed_bytes",
        ],
    )?;
    let wire = bytes(case, "hex")?;
    let (world, used) = World::parse(&wire).map_err(malformed)?;
    same("consumed", &used, &(number(case, "consumed")? as usize))?;
    same("type", &(world.kind as u64), &number(case, "type")?)?;
    same(
        "id",
        &format!("{:016x}", world.id).as_str(),
        &text(case, "id")?,
    )?;
    same("timestamp", &world.timestamp, &number(case, "timestamp")?)?;
    same(
        "update key",
        &world.update_key.to_vec(),
        &bytes(case, "update_key")?,
    )?;
    same(
        "signature",
        &world.signature.to_vec(),
        &bytes(case, "signature")?,
    )?;
    let mut message = vec![0; world::SIGNED_MAX_LEN];
    let len = world.signed_message(&mut message).map_err(malformed)?;
    if case.contains_key("signed_bytes") {
        same(
            "signed bytes",
            &message[..len].to_vec(),
            &bytes(case, "signed_bytes")?,
        )?;
    }
    let own = sign::verify(world.update_key, &[&message[..len]], world.signature).is_ok();
    same(
        "signature",
        &own,
        &flag(case, "signature_matches_own_update_key")?,
    )?;
    let roots = list(case, "roots")?;
    same("roots", &world.roots().count(), &roots.len())?;
    for (ours, theirs) in world.roots().zip(roots) {
        let theirs = object(theirs)?;
        known(theirs, &["identity", "endpoints"])?;
        same(
            "root",
            &ours.identity.to_string().as_str(),
            &text(theirs, "identity")?,
        )?;
        let places: Vec<String> = ours
            .endpoints()
            .map(|e| inet::Slash(e).to_string())
            .collect();
        let listed: Vec<String> = list(theirs, "endpoints")?
            .iter()
            .filter_map(|e| e.as_str().map(str::to_owned))
            .collect();
        same("endpoints", &places, &listed)?;
    }
    Ok(())
}

pub(super) fn world_update(case: &Object) -> Outcome {
    let (current, update) = (bytes(case, "current")?, bytes(case, "update")?);
    let (update, _) = World::parse(&update).map_err(malformed)?;
    let taken = match World::parse(&current) {
        Ok((current, _)) => supersedes(&current, &update),
        // Nothing held: taken as it is.
        Err(_) => true,
    };
    same(text(case, "why")?, &taken, &flag(case, "accept")?)
}
