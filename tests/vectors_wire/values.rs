//! Values of a case.

use std::fmt::Write as _;

use serde_json::Value;
use zt::base::Mac;
use zt::wire::Malformed;
use zt::wire::cursor::Writer;

use crate::common::unhex;

pub(crate) fn hex_number(value: &Value) -> u64 {
    u64::from_str_radix(value.as_str().unwrap(), 16).unwrap()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, b| {
        write!(out, "{b:02x}").unwrap();
        out
    })
}

pub(crate) fn written(write: impl FnOnce(&mut Writer<'_>) -> Result<(), Malformed>) -> Vec<u8> {
    let mut buffer = vec![0; 16_384];
    let mut writer = Writer::new(&mut buffer);
    write(&mut writer).unwrap();
    writer.written().to_vec()
}

pub(crate) fn version(meaning: &Value) -> (u8, u8, u16) {
    let part = |n: usize| meaning["version"][n].as_u64().unwrap();
    (part(0) as u8, part(1) as u8, part(2) as u16)
}

pub(crate) fn parse_mac(text: &str) -> Mac {
    let bytes = unhex(&text.replace(':', ""));
    Mac::new(bytes.try_into().unwrap())
}
