//! Why a configuration, a piece of one, or a credential was not taken.

use core::fmt;

/// Names fields of a configuration, and what is counted like one.
macro_rules! fields {
    ($($name:ident = $key:literal,)+) => {
        /// A field that may be refused.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Field {
            $(#[doc = $key] $name,)+
        }

        impl Field {
            /// As the dictionary has it.
            pub const fn key(self) -> &'static str {
                const KEYS: &[&str] = &[$($key),+];
                KEYS[self as usize]
            }
        }
    };
}

fields! {
    NetworkId = "nwid",
    Id = "id",
    Timestamp = "ts",
    Name = "n",
    Ethertypes = "et",
    Com = "com",
    Bridges = "ab",
    V4 = "v4s",
    V6 = "v6s",
    ModernCom = "C",
    Capabilities = "CAP",
    Tags = "TAG",
    Ownerships = "COO",
    Specialists = "S",
    Routes = "RT",
    Addresses = "I",
    Rules = "R",
    Dns = "DNS",
    Credentials = "credentials",
}

/// The reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// Longer than we take (network 9).
    TooLong,
    /// A piece that fits none of the others.
    Piece,
    /// Unsigned, and not from the controller itself.
    Unsigned,
    /// The signature is not the controller's.
    Signature,
    /// The controller's identity is not known yet.
    UnknownController,
    /// More signatures to check than the time allows.
    Busy,
    /// For another network.
    OtherNetwork,
    /// For another member.
    OtherMember,
    /// Issued before the one in force.
    Older,
    /// A field is missing or damaged.
    Field(Field),
    /// More entries of a field than we take.
    TooMany(Field),
    /// A credential that was revoked.
    Revoked,
    /// A credential in a form that no controller makes.
    Form,
}

impl Refusal {
    /// Slots of [`Refusals`](super::NetworkView::refused).
    pub(crate) const KINDS: usize = 13;

    pub(crate) const fn slot(self) -> usize {
        match self {
            Self::TooLong => 0,
            Self::Piece => 1,
            Self::Unsigned => 2,
            Self::Signature => 3,
            Self::UnknownController => 4,
            Self::Busy => 5,
            Self::OtherNetwork => 6,
            Self::OtherMember => 7,
            Self::Older => 8,
            Self::Field(_) => 9,
            Self::TooMany(_) => 10,
            Self::Revoked => 11,
            Self::Form => 12,
        }
    }

    /// Names of the counters, by slot.
    pub(crate) const NAMES: [&'static str; Self::KINDS] = [
        "too-long",
        "bad-piece",
        "unsigned",
        "bad-signature",
        "unknown-controller",
        "too-many-signatures",
        "other-network",
        "other-member",
        "older",
        "bad-field",
        "too-many-entries",
        "revoked",
        "bad-form",
    ];
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::NAMES[self.slot()])?;
        match self {
            Self::Field(field) | Self::TooMany(field) => {
                f.write_str(":")?;
                f.write_str(field.key())
            }
            _ => Ok(()),
        }
    }
}
