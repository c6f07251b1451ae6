//! Vectors of physical addresses and LZ4.

use std::net::SocketAddr;

use serde_json::Value;
use zt::wire::cursor::{Reader, Writer};
use zt::wire::packet::{HEADER_LEN, PACKET_MAX};
use zt::wire::{inet, lz4};

use super::fields::{
    Object, Outcome, bytes, check, flag, known, malformed, number, object, same, text,
};

pub(super) fn physical_address(case: &Object) -> Outcome {
    known(case, &["text", "hex", "text_out", "scope"])?;
    let wire = bytes(case, "hex")?;
    let mut reader = Reader::new(&wire);
    let address = inet::read(&mut reader).map_err(malformed)?.ok_or("nil")?;
    check("all of it read", reader.is_empty())?;
    same(
        "text",
        &inet::Slash(address).to_string().as_str(),
        &text(case, "text_out")?,
    )?;
    same(
        "parsed",
        &inet::parse_slash(text(case, "text")?),
        &Some(address),
    )?;
    same(
        "scope",
        &(inet::scope(address.ip()) as u64),
        &number(case, "scope")?,
    )?;
    let mut buffer = [0; inet::WIRE_MAX];
    let mut writer = Writer::new(&mut buffer);
    inet::write(&mut writer, Some(&address));
    writer.end().map_err(malformed)?;
    same("written", &writer.written().to_vec(), &wire)
}

pub(super) fn physical_decode(case: &Object) -> Outcome {
    known(case, &["why", "hex", "ok", "consumed", "text"])?;
    let wire = bytes(case, "hex")?;
    let mut reader = Reader::new(&wire);
    let read = inet::read(&mut reader);
    same(text(case, "why")?, &read.is_ok(), &flag(case, "ok")?)?;
    if let Ok(address) = read {
        let used = wire.len() - reader.remaining();
        same("consumed", &used, &(number(case, "consumed")? as usize))?;
        let ours = address.map(|a: SocketAddr| inet::Slash(a).to_string());
        let theirs = case.get("text").and_then(Value::as_str).map(str::to_owned);
        same("address", &ours, &theirs)?;
    }
    Ok(())
}

pub(super) fn lz4_compress(case: &Object) -> Outcome {
    known(case, &["kind", "payload", "by_1_14_1", "by_1_0_5"])?;
    let plain = bytes(case, "payload")?;
    let mut buffer = vec![0; PACKET_MAX];
    for by in ["by_1_14_1", "by_1_0_5"] {
        // Payloads that one of them cannot hold stand without its form.
        let Some(made) = case.get(by) else { continue };
        let made = object(made)?;
        known(made, &["compressed", "payload", "verb_byte"])?;
        if flag(made, "compressed")? {
            let block = bytes(made, "payload")?;
            let len = lz4::decompress(&block, &mut buffer).map_err(malformed)?;
            same(by, &buffer[..len].to_vec(), &plain)?;
        }
    }
    let mut block = vec![0; PACKET_MAX];
    if let Some(len) = lz4::compress(&plain, &mut block) {
        check("shorter", len < plain.len())?;
        let back = lz4::decompress(&block[..len], &mut buffer).map_err(malformed)?;
        same("our own block", &buffer[..back].to_vec(), &plain)?;
    }
    Ok(())
}

pub(super) fn lz4_decode(case: &Object) -> Outcome {
    known(
        case,
        &["why", "payload", "accept", "accept_in_1_0_5", "plain"],
    )?;
    let mut buffer = vec![0; PACKET_MAX - HEADER_LEN];
    let decoded = lz4::decompress(&bytes(case, "payload")?, &mut buffer);
    same(text(case, "why")?, &decoded.is_ok(), &flag(case, "accept")?)?;
    match decoded {
        Ok(len) => same("plain", &buffer[..len].to_vec(), &bytes(case, "plain")?),
        Err(_) => Ok(()),
    }
}
