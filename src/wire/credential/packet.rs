//! NETWORK_CREDENTIALS: credentials of all kinds, of one network or of several (wire 9.11).

use super::super::Malformed;
use super::super::cursor::{Reader, Writer};
use super::{Com, Paper, Revocation};
use crate::base::NetworkId;

/// Anything in a NETWORK_CREDENTIALS.
#[derive(Clone, Copy, Debug)]
pub enum Credential<'a> {
    /// Certificate of membership.
    Com(Com<'a>),
    /// Anything else.
    Paper(Paper<'a>),
}

impl Credential<'_> {
    /// Which network it is of.
    pub fn network(&self) -> Option<NetworkId> {
        match self {
            Self::Com(com) => com.network(),
            Self::Paper(paper) => Some(paper.network),
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Part {
    Coms,
    Capabilities,
    Tags,
    Revocations,
    Ownerships,
    End,
}

/// Credentials of a NETWORK_CREDENTIALS, or of the certificates that were sent before 1.2. Each
/// may turn out malformed, and ends the list then.
#[derive(Clone, Debug)]
pub struct Credentials<'a> {
    reader: Reader<'a>,
    part: Part,
    left: u16,
}

impl<'a> Credentials<'a> {
    /// Of that payload.
    pub const fn new(payload: &'a [u8]) -> Self {
        Self {
            reader: Reader::new(payload),
            part: Part::Coms,
            left: 0,
        }
    }

    /// Steps to a part with something left to read; `None` at the end.
    fn part(&mut self) -> Result<Part, Malformed> {
        if matches!(self.part, Part::Coms) {
            match self.reader.rest().first() {
                None => self.part = Part::End,
                Some(0) => {
                    self.reader.u8()?;
                    self.enter(Part::Capabilities)?;
                }
                Some(_) => return Ok(self.part),
            }
        }
        while self.left == 0 {
            match self.part {
                Part::Capabilities => self.enter(Part::Tags)?,
                Part::Tags => self.enter(Part::Revocations)?,
                Part::Revocations => self.enter(Part::Ownerships)?,
                Part::Coms | Part::Ownerships | Part::End => {
                    self.part = Part::End;
                    break;
                }
            }
        }
        Ok(self.part)
    }

    /// The packet may end before any part.
    fn enter(&mut self, part: Part) -> Result<(), Malformed> {
        if self.reader.is_empty() {
            self.part = Part::End;
            self.left = 1;
        } else {
            self.part = part;
            self.left = self.reader.u16()?;
        }
        Ok(())
    }

    fn read(&mut self) -> Result<Option<Credential<'a>>, Malformed> {
        let part = self.part()?;
        self.left = self.left.saturating_sub(1);
        let reader = &mut self.reader;
        let kind = match part {
            Part::Coms => return Ok(Some(Credential::Com(Com::read(reader)?))),
            Part::Capabilities => Revocation::CAPABILITY,
            Part::Tags => Revocation::TAG,
            Part::Revocations => Paper::REVOCATION,
            Part::Ownerships => Revocation::OWNERSHIP,
            Part::End => return Ok(None),
        };
        Ok(Some(Credential::Paper(Paper::read(kind, reader)?)))
    }
}

impl<'a> Iterator for Credentials<'a> {
    type Item = Result<Credential<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.read().transpose();
        if !matches!(item, Some(Ok(_))) {
            self.part = Part::End;
        }
        item
    }
}

/// Credentials of one kind, back to back as they were received.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Records<'a> {
    /// How many.
    pub count: u16,
    /// All of them.
    pub bytes: &'a [u8],
}

/// What goes into one NETWORK_CREDENTIALS.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Bundle<'a> {
    /// Certificate of membership.
    pub com: Option<&'a [u8]>,
    /// Capabilities.
    pub capabilities: Records<'a>,
    /// Tags.
    pub tags: Records<'a>,
    /// Revocations.
    pub revocations: Records<'a>,
    /// Certificates of ownership.
    pub ownerships: Records<'a>,
}

impl Bundle<'_> {
    /// Bytes of the payload behind which [`write_bundles`] puts 9 more for all together.
    pub fn len(&self) -> usize {
        let parts = [
            self.capabilities,
            self.tags,
            self.revocations,
            self.ownerships,
        ];
        let com = self.com.map_or(0, <[u8]>::len);
        let len = |sum: usize, part: &Records<'_>| sum.saturating_add(part.bytes.len());
        parts.iter().fold(com, len)
    }

    /// There is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes the payload.
    pub fn write(&self, writer: &mut Writer<'_>) -> Result<(), Malformed> {
        write_bundles(core::slice::from_ref(self), writer)
    }
}

/// Writes one payload with the credentials of several networks: each names its own.
pub fn write_bundles(bundles: &[Bundle<'_>], writer: &mut Writer<'_>) -> Result<(), Malformed> {
    for com in bundles.iter().filter_map(|b| b.com) {
        writer.bytes(com);
    }
    writer.u8(0);
    let kinds: [for<'a> fn(&Bundle<'a>) -> Records<'a>; 4] = [
        |b| b.capabilities,
        |b| b.tags,
        |b| b.revocations,
        |b| b.ownerships,
    ];
    for kind in kinds {
        let add = |sum: u16, bundle| sum.checked_add(kind(bundle).count);
        let count = bundles.iter().try_fold(0, add);
        writer.u16(count.ok_or(Malformed::Length)?);
        for bundle in bundles {
            writer.bytes(kind(bundle).bytes);
        }
    }
    writer.end()
}
