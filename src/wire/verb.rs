//! Verbs and error codes (wire 9).

use core::fmt;

use super::Malformed;
use super::control::{ErrorReply, OkReply, PushDirectPaths, Rendezvous};
use super::credential::Credentials;
use super::cursor::Reader;
use super::frames::{ExtFrame, Frame};
use super::hello::Hello;
use super::multicast::{Gather, MulticastFrame};
use super::netconf::{Chunk, ConfigRequest};

macro_rules! verbs {
    ($($(#[$doc:meta])* $name:ident = $number:literal $text:literal,)*) => {
        /// What a packet is about: the low five bits of byte 27.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum Verb { $($(#[$doc])* $name = $number,)* }

        impl Verb {
            /// Every verb that is known.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// From the low five bits of the verb byte.
            pub const fn from_byte(byte: u8) -> Option<Self> {
                match byte { $($number => Some(Self::$name),)* _ => None }
            }

            /// The name that everybody uses.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

verbs! {
    /// Nothing.
    Nop = 0x00 "NOP",
    /// Who I am.
    Hello = 0x01 "HELLO",
    /// No to a request.
    Error = 0x02 "ERROR",
    /// Yes to a request.
    Ok = 0x03 "OK",
    /// Who is this address?
    Whois = 0x04 "WHOIS",
    /// Meet this peer there.
    Rendezvous = 0x05 "RENDEZVOUS",
    /// Ethernet frame between two members.
    Frame = 0x06 "FRAME",
    /// The same with MACs and flags.
    ExtFrame = 0x07 "EXT_FRAME",
    /// Ping.
    Echo = 0x08 "ECHO",
    /// Groups I listen to.
    MulticastLike = 0x09 "MULTICAST_LIKE",
    /// Certificates and such.
    NetworkCredentials = 0x0a "NETWORK_CREDENTIALS",
    /// To a controller.
    NetworkConfigRequest = 0x0b "NETWORK_CONFIG_REQUEST",
    /// From a controller.
    NetworkConfig = 0x0c "NETWORK_CONFIG",
    /// Who listens to this group?
    MulticastGather = 0x0d "MULTICAST_GATHER",
    /// Ethernet frame to a group.
    MulticastFrame = 0x0e "MULTICAST_FRAME",
    /// Where I can be reached.
    PushDirectPaths = 0x10 "PUSH_DIRECT_PATHS",
    /// 1.1.0 to 1.2.4.
    CircuitTest = 0x11 "CIRCUIT_TEST",
    /// Bonding; another verb before 1.4.0.
    Ack = 0x12 "ACK",
    /// Bonding; another verb before 1.4.0.
    QosMeasurement = 0x13 "QOS_MEASUREMENT",
    /// Anything between applications.
    UserMessage = 0x14 "USER_MESSAGE",
    /// Diagnostics.
    RemoteTrace = 0x15 "REMOTE_TRACE",
    /// Bonding.
    PathNegotiationRequest = 0x16 "PATH_NEGOTIATION_REQUEST",
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a request was refused (wire 9.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum ErrorCode {
    /// Not sent by real nodes now.
    InvalidRequest = 1,
    /// Not sent by real nodes now.
    BadProtocolVersion = 2,
    /// No such network; 1.0.x: no such address.
    ObjectNotFound = 3,
    /// Another identity has that address.
    IdentityCollision = 4,
    /// Not a controller.
    UnsupportedOperation = 5,
    /// Show your certificate of membership.
    NeedMembershipCertificate = 6,
    /// Not authorised.
    NetworkAccessDenied = 7,
    /// Take me off that group.
    UnwantedMulticast = 8,
    /// Sign in first.
    NetworkAuthenticationRequired = 9,
}

impl ErrorCode {
    /// From the byte on the wire.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::InvalidRequest,
            2 => Self::BadProtocolVersion,
            3 => Self::ObjectNotFound,
            4 => Self::IdentityCollision,
            5 => Self::UnsupportedOperation,
            6 => Self::NeedMembershipCertificate,
            7 => Self::NetworkAccessDenied,
            8 => Self::UnwantedMulticast,
            9 => Self::NetworkAuthenticationRequired,
            _ => return None,
        })
    }
}

/// A packet's content by its verb. What is a list stays unread: its elements are parsed one by
/// one.
#[derive(Clone, Debug)]
pub enum Message<'a> {
    /// NOP
    Nop,
    /// HELLO
    Hello(Hello<'a>),
    /// ERROR
    Error(ErrorReply<'a>),
    /// OK
    Ok(OkReply<'a>),
    /// WHOIS: see [`whois`](super::control::whois).
    Whois(&'a [u8]),
    /// RENDEZVOUS
    Rendezvous(Rendezvous),
    /// FRAME
    Frame(Frame<'a>),
    /// EXT_FRAME
    ExtFrame(ExtFrame<'a>),
    /// ECHO: comes back in the OK.
    Echo(&'a [u8]),
    /// MULTICAST_LIKE: see [`likes`](super::multicast::likes).
    MulticastLike(&'a [u8]),
    /// NETWORK_CREDENTIALS, or the certificates of before 1.2.
    NetworkCredentials(Credentials<'a>),
    /// NETWORK_CONFIG_REQUEST
    NetworkConfigRequest(ConfigRequest<'a>),
    /// NETWORK_CONFIG
    NetworkConfig(Chunk<'a>),
    /// NETWORK_CONFIG_REFRESH, which has the same number: see
    /// [`refresh`](super::netconf::refresh).
    NetworkConfigRefresh(&'a [u8]),
    /// MULTICAST_GATHER
    MulticastGather(Gather<'a>),
    /// MULTICAST_FRAME
    MulticastFrame(MulticastFrame<'a>),
    /// PUSH_DIRECT_PATHS
    PushDirectPaths(PushDirectPaths<'a>),
    /// USER_MESSAGE: type and data.
    UserMessage(u64, &'a [u8]),
    /// A verb that is known and has no use here.
    Ignored(Verb),
    /// A verb that is not known.
    Unknown(u8),
}

/// Reads a payload, decompressed, by the verb byte in front of it; reserved bits are ignored.
pub fn parse(verb_byte: u8, payload: &[u8]) -> Result<Message<'_>, Malformed> {
    let number = verb_byte & super::packet::VERB_MASK;
    let Some(verb) = Verb::from_byte(number) else {
        return Ok(Message::Unknown(number));
    };
    Ok(match verb {
        Verb::Nop => Message::Nop,
        Verb::Hello => Message::Hello(Hello::parse(payload)?),
        Verb::Error => Message::Error(ErrorReply::parse(payload)?),
        Verb::Ok => Message::Ok(OkReply::parse(payload)?),
        Verb::Whois => Message::Whois(payload),
        Verb::Rendezvous => Message::Rendezvous(Rendezvous::parse(payload)?),
        Verb::Frame => Message::Frame(Frame::parse(payload)?),
        Verb::ExtFrame => Message::ExtFrame(ExtFrame::parse(payload)?),
        Verb::Echo => Message::Echo(payload),
        Verb::MulticastLike => Message::MulticastLike(payload),
        Verb::NetworkCredentials => Message::NetworkCredentials(Credentials::new(payload)),
        Verb::NetworkConfigRequest => Message::NetworkConfigRequest(ConfigRequest::parse(payload)?),
        Verb::NetworkConfig if super::netconf::refresh(payload).is_some() => {
            Message::NetworkConfigRefresh(payload)
        }
        Verb::NetworkConfig => Message::NetworkConfig(Chunk::parse(payload)?),
        Verb::MulticastGather => Message::MulticastGather(Gather::parse(payload)?),
        Verb::MulticastFrame => Message::MulticastFrame(MulticastFrame::parse(payload)?),
        Verb::PushDirectPaths => Message::PushDirectPaths(PushDirectPaths::parse(payload)?),
        Verb::UserMessage => {
            let mut reader = Reader::new(payload);
            Message::UserMessage(reader.u64()?, reader.rest())
        }
        Verb::CircuitTest
        | Verb::Ack
        | Verb::QosMeasurement
        | Verb::RemoteTrace
        | Verb::PathNegotiationRequest => Message::Ignored(verb),
    })
}
