//! Every packet of recorded conversations, read and written again.

use std::net::SocketAddr;

use zt::base::Address;
use zt::wire::control::{self, OkReply};
use zt::wire::cursor::Reader;
use zt::wire::hello::OkHello;
use zt::wire::identity::Identity;
use zt::wire::netconf::{self, Chunk};
use zt::wire::packet::{HEADER_LEN, Header};
use zt::wire::verb::{self, ErrorCode, Message, Verb};
use zt::wire::{frames, multicast};

use super::values::{hex, written};
use crate::common::{bytes, list, load, number, report, text, unhex};

/// Reads a payload to its end and writes it again, if there is a writer.
fn rewritten(verb: Verb, payload: &[u8]) -> Option<Vec<u8>> {
    let message = verb::parse(verb as u8, payload).unwrap();
    Some(match message {
        Message::Whois(payload) => {
            let addresses: Vec<Address> = control::whois(payload).collect();
            written(|w| {
                for address in &addresses {
                    control::write_whois(w, *address);
                }
                w.end()
            })
        }
        Message::Rendezvous(meet) => written(|w| control::write_rendezvous(w, meet.peer, &meet.at)),
        Message::MulticastLike(payload) => {
            let likes: Vec<_> = multicast::likes(payload).unwrap().collect();
            written(|w| {
                for (network, group) in &likes {
                    multicast::write_like(w, *network, *group);
                }
                w.end()
            })
        }
        Message::MulticastGather(gather) if gather.com.is_none() => written(|w| {
            multicast::write_gather(w, gather.network, gather.group, gather.limit, None)
        }),
        Message::MulticastFrame(frame) if frame.com.is_none() => written(|w| frame.write(w)),
        Message::PushDirectPaths(paths) => {
            let paths: Vec<SocketAddr> = paths.map(|p| p.unwrap().address.unwrap()).collect();
            written(|w| control::write_push(w, &paths))
        }
        Message::NetworkConfigRequest(request) => written(|w| request.write(w)),
        Message::NetworkConfig(chunk) => rewritten_chunk(&chunk),
        Message::Ok(reply) => {
            let body = rewritten_ok(&reply)?;
            written(|w| {
                control::write_ok_head(w, Verb::from_byte(reply.verb).unwrap(), reply.id);
                w.bytes(&body);
                w.end()
            })
        }
        Message::Error(error) => {
            let code = ErrorCode::from_byte(error.code).unwrap();
            written(|w| {
                control::write_error_head(w, Verb::from_byte(error.verb).unwrap(), error.id, code);
                match netconf::parse_error(error.body) {
                    Ok((network, more)) => netconf::write_error(w, network, more),
                    // Of WHOIS: an address.
                    Err(_) => {
                        w.bytes(error.body);
                        w.end()
                    }
                }
            })
        }
        Message::NetworkCredentials(mut list) => {
            assert!(list.all(|credential| credential.is_ok()));
            return None;
        }
        Message::Frame(frame) => {
            let mut slot = vec![0; frames::HEADROOM + frames::ETHERNET_LEN];
            let at = slot.len() - 2;
            slot[at..].copy_from_slice(&frame.ethertype.to_be_bytes());
            slot.extend_from_slice(frame.payload);
            let len = slot.len() - frames::HEADROOM;
            let range = frames::prepend_frame(&mut slot, len, frame.network).unwrap();
            slot[range][HEADER_LEN..].to_vec()
        }
        Message::ExtFrame(frame) if frame.com.is_none() => {
            let mut slot = vec![0; frames::HEADROOM];
            slot.extend_from_slice(&frame.ethernet.to_bytes());
            slot.extend_from_slice(frame.payload);
            let len = slot.len() - frames::HEADROOM;
            let (network, flags) = (frame.network, frame.flags);
            let range = frames::prepend_ext_frame(&mut slot, len, network, flags).unwrap();
            slot[range][HEADER_LEN..].to_vec()
        }
        Message::Unknown(number) => panic!("unknown verb {number}"),
        _ => return None,
    })
}

fn rewritten_chunk(chunk: &Chunk<'_>) -> Vec<u8> {
    written(|w| {
        let update = chunk
            .signed
            .map(|s| (s.flags, s.update, s.total, s.position));
        netconf::write_chunk(w, chunk.network, chunk.data, update)?;
        chunk.signed.map_or(Ok(()), |signed| {
            assert_eq!(w.written(), signed.message);
            netconf::write_chunk_signature(w, signed.signature)
        })
    })
}

fn rewritten_ok(reply: &OkReply<'_>) -> Option<Vec<u8>> {
    Some(match Verb::from_byte(reply.verb).unwrap() {
        Verb::Whois => {
            let identity = Identity::read(&mut Reader::new(reply.body)).unwrap();
            written(|w| identity.write(w))
        }
        Verb::MulticastGather => {
            let (network, group, result) = multicast::parse_ok_gather(reply.body).unwrap();
            written(|w| {
                multicast::write_answer_head(w, network, group)?;
                multicast::write_result(w, result.total, result.members()).map(|_| ())
            })
        }
        Verb::MulticastFrame => {
            let (_, _, result) = multicast::parse_ok_frame(reply.body).unwrap();
            assert!(result.is_some_and(|result| result.members().count() > 0));
            return None;
        }
        Verb::NetworkConfigRequest => rewritten_chunk(&Chunk::parse(reply.body).unwrap()),
        Verb::Hello => {
            OkHello::parse(reply.body).unwrap();
            return None;
        }
        _ => return None,
    })
}

#[test]
fn conversations() {
    let mut cases = 0;
    let mut same = 0;
    for name in ["transcript_1_14_1", "transcript_1_0_5"] {
        for case in list(&load(name), "packets") {
            let verb = match text(case, "verb") {
                "QOS" => Verb::QosMeasurement,
                name => *Verb::ALL.iter().find(|verb| verb.name() == name).unwrap(),
            };
            let payload = bytes(case, "payload");
            if let Some(again) = rewritten(verb, &payload) {
                assert_eq!(hex(&again), hex(&payload), "{case}");
                same += 1;
            }
            // The datagrams, as far as that needs no key.
            let datagrams: Vec<Vec<u8>> = list(case, "datagrams")
                .iter()
                .map(|d| unhex(d.as_str().unwrap()))
                .collect();
            let header = Header::parse(&datagrams[0]).unwrap();
            assert_eq!(header.source.to_string(), text(case, "from"));
            assert_eq!(header.destination.to_string(), text(case, "to"));
            assert_eq!(header.suite().unwrap() as u64, number(case, "cipher"));
            assert_eq!(u64::from(header.hops()), number(case, "hops"));
            assert_eq!(header.is_fragmented(), datagrams.len() > 1);
            cases += 1;
        }
    }
    println!("written again: {same}");
    assert!(same * 2 > cases);
    report("transcript_*.json", cases);
}
