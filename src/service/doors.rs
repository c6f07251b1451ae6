//! What is open by TCP: as `settings` of `local.conf` have it (service 3.3, 6.1), with the tokens
//! that the home holds.
//!
//! `settings.router.controlTcp` is `true`, `false` or a port; where nobody says, the port is open
//! if HTTP is built, because those who know nothing else expect it there.
//! `settings.allowManagementFrom` opens HTTP to other machines. `settings.router.metrics: false`
//! takes the figures from HTTP, and then no token is made for them.

use mio::Registry;
use zeroize::Zeroizing;

use super::Fatal;
use super::control::auth::Guard;
use super::control::{Server, TcpAccess};
use super::local_conf::{ControlTcp, Settings};
use super::log;
use super::settings::Prefix;
use super::state::Home;
use crate::crypto::rng::Rng;
use crate::os::{entropy, shown};

/// What is wanted, or in force.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
struct Wanted {
    port: Option<u16>,
    management: Vec<Prefix>,
    metrics: bool,
}

impl Wanted {
    fn of(settings: &Settings, primary: u16) -> Self {
        let http = cfg!(feature = "http-compat");
        let port = match settings.router.control_tcp {
            Some(ControlTcp::Off) => None,
            Some(ControlTcp::Primary) => Some(primary),
            Some(ControlTcp::Port(port)) => Some(port),
            None => http.then_some(primary),
        };
        let metrics = http && cfg!(feature = "metrics");
        Self {
            port,
            management: settings.allow_management_from.clone(),
            metrics: metrics && port.is_some() && settings.router.metrics.unwrap_or(true),
        }
    }
}

/// The control socket, if it is not open. Without one the network works all the same, and TCP may
/// be left: only an instance that answers there is a reason to stop.
pub(super) fn open_socket(
    server: &mut Server,
    home: &mut Home,
    registry: &Registry,
) -> Result<(), Fatal> {
    const NAME: &str = "zerotier-one.sock";
    match server.open(registry) {
        Ok(()) => home.forget_trouble(NAME),
        Err(error) if error.errno == libc::EADDRINUSE => {
            home.note_trouble(NAME, error);
            return Err(Fatal::new(format_args!(
                "another instance answers on the control socket in {}",
                shown(&home.dir())
            )));
        }
        Err(error) => {
            if home.note_trouble(NAME, error) {
                log::error!("no control socket: {}", home.explain(NAME, &error));
            }
        }
    }
    Ok(())
}

/// The TCP port.
pub(super) struct Doors {
    /// `None`: it cannot be used, so nothing is opened.
    token: Option<Zeroizing<String>>,
    now: Wanted,
}

impl Doors {
    /// All closed. `token` opens what will be.
    pub(super) fn new(token: Result<Zeroizing<String>, String>) -> Self {
        let token = token.inspect_err(|text| {
            log::error!("{text}: the token cannot be used, so there is no control by TCP");
        });
        Self {
            token: token.ok(),
            now: Wanted::default(),
        }
    }

    /// Opens and closes as `settings` say. Nothing is touched if they say the same as before.
    pub(super) fn follow(
        &mut self,
        settings: &Settings,
        primary: u16,
        home: &mut Home,
        server: &mut Server,
        registry: &Registry,
    ) {
        let wanted = Wanted::of(settings, primary);
        let Some(token) = self.token.as_ref().filter(|_| wanted != self.now) else {
            return;
        };
        let access = wanted.port.map(|port| TcpAccess {
            port,
            management: wanted.management.clone(),
            guard: Guard::new(
                token.clone(),
                wanted.metrics.then(|| metrics_token(home)).flatten(),
            ),
        });
        if let Err(error) = server.set_tcp(access, registry) {
            let port = wanted.port.unwrap_or(primary);
            log::warn!("no control by TCP on port {port}: {error}");
        }
        // What failed is tried again when somebody changes something.
        self.now = wanted;
    }
}

fn metrics_token(home: &mut Home) -> Option<Zeroizing<String>> {
    let made = entropy::seed()
        .map_err(|error| error.to_string())
        .and_then(|seed| home.metrics_token(&mut Rng::new(seed)));
    made.inspect_err(|text| log::error!("{text}: no figures by HTTP"))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::local_conf::LocalConf;

    fn wanted(text: &str) -> Wanted {
        let (conf, _) = LocalConf::parse(text.as_bytes()).expect("settings");
        Wanted::of(&conf.settings, 9993)
    }

    fn router(text: &str) -> Wanted {
        wanted(&format!(r#"{{"settings":{{"router":{{{text}}}}}}}"#))
    }

    #[test]
    fn the_port_is_as_the_owner_says() {
        let default = cfg!(feature = "http-compat").then_some(9993);
        assert_eq!(wanted("{}").port, default);
        assert_eq!(router(r#""controlTcp":false"#).port, None);
        assert_eq!(router(r#""controlTcp":true"#).port, Some(9993));
        assert_eq!(router(r#""controlTcp":"9996""#).port, Some(9996));
        assert_eq!(router(r#""controlTcp":0"#).port, None);
    }

    #[test]
    fn figures_are_there_unless_the_owner_or_the_build_has_none() {
        let built = cfg!(all(feature = "http-compat", feature = "metrics"));
        assert_eq!(wanted("{}").metrics, built);
        assert!(!router(r#""metrics":false"#).metrics);
        assert!(!router(r#""metrics":true,"controlTcp":false"#).metrics);
    }

    #[test]
    fn others_manage_only_if_they_are_named() {
        assert_eq!(wanted("{}").management, []);
        let named = wanted(r#"{"settings":{"allowManagementFrom":["10.0.0.0/8","fd00::/8"]}}"#);
        assert_eq!(named.management.len(), 2);
    }
}
