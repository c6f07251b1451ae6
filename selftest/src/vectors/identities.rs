//! Vectors of identities and signatures.

use serde_json::Value;
use zt::crypto::{identity as digest, sign};
use zt::wire::cursor::{Reader, Writer};
use zt::wire::identity::{Identity, SecretIdentity};

use super::fields::{Object, Outcome, array, bytes, check, flag, known, malformed, same, text};

pub(super) fn valid_identity(case: &Object) -> Outcome {
    known(
        case,
        &[
            "made_by",
            "address",
            "public_string",
            "secret_string",
            "bin_public",
            "bin_secret",
            "sha512_of_public",
            "digest",
            "fingerprint_sha384",
        ],
    )?;
    let secret = SecretIdentity::parse(text(case, "secret_string")?).map_err(malformed)?;
    let identity = Identity::parse(text(case, "public_string")?).map_err(malformed)?;
    check("same identity", secret.identity == identity)?;
    same(
        "address",
        &identity.address.to_string().as_str(),
        &text(case, "address")?,
    )?;
    same(
        "printed",
        &identity.to_string().as_str(),
        &text(case, "public_string")?,
    )?;
    let mut printed = String::new();
    secret.write_string(&mut printed).map_err(malformed)?;
    same(
        "printed secret",
        &printed.as_str(),
        &text(case, "secret_string")?,
    )?;
    let mut buffer = [0; Identity::LEN];
    identity
        .write(&mut Writer::new(&mut buffer))
        .map_err(malformed)?;
    same("binary", &buffer.to_vec(), &bytes(case, "bin_public")?)?;
    let with_secret = bytes(case, "bin_secret")?;
    let read = Identity::read(&mut Reader::new(&with_secret)).map_err(malformed)?;
    check("read from binary with secret", read == identity)?;
    let mut work = digest::Digest::try_new(&identity.public).ok_or("no memory")?;
    let result = loop {
        if let Some(result) = work.step(20_000) {
            break result;
        }
    };
    same("digest", &result, &array(case, "digest")?)?;
    check("valid", digest::is_valid(&identity, &result))?;
    check("the secret fits", digest::secret_fits(&secret))?;
    same(
        "fingerprint",
        &sign::fingerprint(&identity),
        &array(case, "fingerprint_sha384")?,
    )
}

pub(super) fn invalid_identity(case: &Object) -> Outcome {
    known(case, &["why", "string", "parses", "parses_in_1_0_5"])?;
    // A stricter reader may refuse the text itself.
    let parsed = Identity::parse(text(case, "string")?);
    check(
        text(case, "why")?,
        parsed.map_or(true, |identity| !digest::validate(&identity)),
    )
}

pub(super) fn lenient_identity(case: &Object) -> Outcome {
    known(
        case,
        &[
            "why",
            "string",
            "address",
            "public_string",
            "accepted_by_1_14_1",
            "accepted_by_1_0_5",
            "secret_string",
        ],
    )?;
    // Refused, or read as the reference reads it.
    match Identity::parse(text(case, "string")?) {
        Ok(identity) => same(
            "read as",
            &identity.to_string().as_str(),
            &text(case, "public_string")?,
        ),
        Err(_) => Ok(()),
    }
}

pub(super) fn signature(case: &Object) -> Outcome {
    known(
        case,
        &[
            "secret",
            "public",
            "message",
            "signature",
            "valid",
            "why",
            "identity",
        ],
    )?;
    let message = bytes(case, "message")?;
    let theirs = bytes(case, "signature")?;
    let public = match (
        case.get("secret"),
        case.get("public").or(case.get("identity")),
    ) {
        (Some(Value::String(secret)), _) => {
            let secret = SecretIdentity::parse(secret).map_err(malformed)?;
            if flag(case, "valid")? {
                let ours = sign::sign(secret.secret(), &[&message]);
                same("signature", &ours.to_vec(), &theirs)?;
            }
            secret.identity.public
        }
        (_, Some(Value::String(public))) => Identity::parse(public).map_err(malformed)?.public,
        _ => return Err("no key".into()),
    };
    let accepted = sign::verify(&public, &[&message], &theirs).is_ok();
    // A strict verifier refuses what no real node makes.
    if flag(case, "valid")? && case.get("why").is_none() {
        check("accepted", accepted)
    } else {
        check("refused", !accepted || flag(case, "valid")?)
    }
}
