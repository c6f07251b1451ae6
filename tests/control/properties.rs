//! Whatever comes in.

use std::fmt::Write as _;

use proptest::prelude::*;
use zt::service::control::Field;
use zt::service::control::line::{self, ROW_MAX};

use super::client::Client;
use crate::fake_daemon::Fake;

proptest! {
    #[test]
    fn any_bytes_parse_without_harm(mut bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(Some(request)) = line::parse(&mut bytes) {
            prop_assert!((1..=16).contains(&request.command.len()));
            prop_assert!(request.args().len() <= line::ARGS_MAX);
            for arg in request.args() {
                prop_assert!(!arg.is_empty());
                prop_assert!(!arg.chars().any(|c| c.is_ascii_control()));
            }
        }
    }

    #[test]
    fn fields_survive_the_way_to_the_other_side(
        fields in prop::collection::vec("[ -~äß€😀]{1,40}", 0..16),
        json in any::<bool>(),
    ) {
        let mut text = String::from(if json { "-j set" } else { "set" });
        for field in &fields {
            write!(text, " {}", Field(field)).unwrap();
        }
        let mut bytes = text.into_bytes();
        let request = line::parse(&mut bytes).unwrap().unwrap();
        prop_assert_eq!(request.command, "set");
        prop_assert_eq!(request.json, json);
        prop_assert_eq!(request.args(), fields);
    }

    #[test]
    fn unescape_undoes_escape(text in "\\PC{0,60}") {
        let field = Field(&text).to_string();
        prop_assert!(!field.is_empty() && !field.contains(' '));
        prop_assert_eq!(line::unescape(&field), text);
    }

    /// Whatever comes in, whole or in pieces, each line has one reply, and the replies have the
    /// form of 6.3.
    #[test]
    fn any_input_is_answered_in_form(
        chunks in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..50),
                "[a-z0-9 %.-]{0,20}\n".prop_map(String::into_bytes),
                prop::sample::select(vec![
                    "info\n", "help\n", "listpeers\n", "-j info\n", "monitor\n",
                    "get 8056c2e21c000001 ip\n", "\r\n", "quit\n",
                ]).prop_map(|s| s.as_bytes().to_vec()),
                (900..6000_usize).prop_map(|n| vec![b'a'; n]),
            ],
            0..20,
        ),
        window in 1..5000_usize,
    ) {
        let host = &mut Fake::new();
        let mut client = Client::new(host);
        let mut text = Vec::new();
        let mut closed = false;
        for chunk in &chunks {
            client.send(chunk);
            client.window(window);
            closed = closed || client.run(host);
            text.append(&mut client.stream.0.borrow_mut().outgoing);
        }
        client.end();
        for _ in 0..10_000 {
            client.window(window);
            closed = closed || client.run(host);
            text.append(&mut client.stream.0.borrow_mut().outgoing);
            if closed {
                break;
            }
        }
        prop_assert!(closed, "it goes on for ever");
        let text = String::from_utf8(text).unwrap();
        prop_assert!(text.ends_with("\n.\n"));
        let input = chunks.concat();
        let lines = input.split(|b| *b == b'\n').filter(|l| !l.is_empty()).count();
        let replies = text.split("\n.\n").count() - 1;
        prop_assert!(replies <= lines + 1, "{replies} replies to {lines} lines");
        for reply in text.split_terminator("\n.\n") {
            let code = reply.split(' ').next().unwrap();
            prop_assert!(code.len() == 3 && code.bytes().all(|b| b.is_ascii_digit()), "{reply}");
            prop_assert!(reply.lines().all(|l| !l.starts_with('.') && l.len() < ROW_MAX));
        }
    }
}
