//! `[host]`: an application of Django Channels whose sockets are held here.

use std::path::PathBuf;

use super::{
    Bind, Config, Loaded,
    declare::settings,
    django::Prefix,
    replace_default,
    route::{HostRoute, RouteWay},
    secret::Secret,
};

/// Least bytes of `host.secret`: as many as what is made of it has.
const SECRET: usize = 32;

settings! {
    /// An application of Django Channels whose sockets are held here, while its own consumers run
    /// in workers. Off without `host.command`, `host.application`, `host.socket` and
    /// `host.listen`.
    pub struct Host in "host" {
        /// The ASGI application, as `mysite.asgi:application`: the workers are then
        /// `python3 -m chatferry_worker APPLICATION`.
        application: Option<String> = "",
        /// Command that starts a worker, as `python manage.py chatferry_worker`; for the shell. It
        /// finds the address of Chatferry in `CHATFERRY_HOST_SOCKET`.
        command: Option<String> = "",
        /// Workers that are started, and started again when they end. 0 starts none: they are
        /// started by somebody else and join at `host.socket`.
        workers: usize = 1 in 0..=256,
        /// Unix socket that workers join at. Only processes of the same user, or of root, may.
        /// Without one it is in a directory of the process' own below the system's for temporary
        /// files, and only workers that are started from here find it.
        socket: Option<PathBuf> = "",
        /// Address of TCP that workers join at besides, as `127.0.0.1:9100`: those in other
        /// containers, or on other machines. They prove that they know `host.secret`, which never
        /// crosses the connection. What crosses it is not encrypted.
        listen: Option<Bind> = "",
        /// The secret of workers that join at `host.listen`, of 32 bytes at least.
        secret: Option<Secret> = "",
        /// Prefixes of paths whose sockets are hosted. `/ws/room/=5%` is a share of them: by what
        /// follows the prefix, which is a room in most projects, and where nothing does by the
        /// client's address; the others go where they would go without the entry. `=tunnel` is
        /// `gateway.upstream`, `=native` the chat of this server, `=host` or nothing the
        /// application. The longest entry decides. A path that leads to the chat of this server, or
        /// may be read as one below `django.ws_prefix`, is hosted only if an entry here is or
        /// begins with that prefix; `auth`, `ws.allowed_origins` and the policy of the chat mean
        /// nothing for what is hosted, as the application has its own. SIGHUP rereads it; open
        /// sockets whose way is another then are closed with 1012 over 3 s, or stay with
        /// `gateway.on_change = leave`.
        routes: Vec<HostRoute> = ["/ws/"],
        /// Prefixes of paths whose requests of HTTP the application answers, as in `host.routes`;
        /// `chatferry host` without `gateway.upstream` means all of them. `/healthz`, `/readyz` and
        /// `/metrics` stay here. A path that may be read as one below `django.url_prefix` or
        /// `django.ws_prefix` is the application's only if an entry here is or begins with that
        /// prefix; `auth`, `cors` and the policy of the chat mean nothing for what the application
        /// answers. What no entry names goes to `gateway.upstream`, or is not found. SIGHUP rereads
        /// it.
        http_routes: Vec<HostRoute> = [],
        /// Requests of HTTP that one worker is asked at once, until the application has returned.
        /// More wait for `host.call_timeout_s` and then get a 503. Django takes a thread for each.
        max_requests: usize = 256 in 1..=100_000,
        /// Seconds a worker may take for one call: a connect, a frame, an event or a disconnect.
        /// Past them the socket is closed with 1011. As many for the head of an answer from the
        /// last byte of its request that was passed on; past them the client gets a 503.
        call_timeout_s: u64 = 60 in 1..=3600,
        /// Calls that one worker is asked at once. Sockets whose calls wait are not read.
        max_calls: usize = 128 in 1..=10_000,
        /// Events that wait for one socket; past them the newest are dropped and counted, as
        /// Channels does with `capacity`.
        capacity: usize = 100 in 1..=100_000,
        /// Frames that a client may send in a second on one hosted socket, all of them at once if
        /// need be: messages, their fragments, pings and pongs, of any length. One that sends more
        /// is read slower, and its socket stays open. 0 is any number.
        frames_per_s: u32 = 1000 in 0..=1_000_000,
        /// Call an event handler that provably depends on its event alone once for all sockets of
        /// its class, and send all of them the same bytes.
        encode_once: bool = true,
        /// Let sockets hibernate that have had no call for some seconds, if their consumers can be
        /// written down: their workers hold nothing of them, and may end unnoticed. The next call
        /// wakes them.
        hibernate: bool = false,
    }
}

impl Host {
    /// Returns `true` if anything is hosted.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.application.is_some()
            || self.command.is_some()
            || self.socket.is_some()
            || self.listen.is_some()
    }

    /// Returns whether workers could join by TCP while the secret is missing or too short.
    pub(super) fn lacks_secret(&self) -> bool {
        let length = self.secret.as_ref().map_or(0, |it| it.expose().len());
        self.listen.is_some() && length < SECRET
    }

    /// Returns whether the address for TCP is the path of a Unix socket.
    pub(super) fn listens_at_a_file(&self) -> bool {
        matches!(self.listen, Some(Bind::Unix(_)))
    }

    /// Returns the command that starts a worker, for the shell; `None` if workers are started by
    /// somebody else.
    #[must_use]
    pub fn start(&self) -> Option<String> {
        let application = self.application.as_ref();
        // The name is a single word of the shell whatever is in it.
        let quoted = |name: &String| name.replace('\'', r"'\''");
        let module = application.map(|it| format!("python3 -m chatferry_worker '{}'", quoted(it)));
        let command = self.command.clone().or(module)?;
        (self.workers > 0).then_some(command)
    }
}

impl Config {
    /// Returns whether a route of the application leaves something to Django, and there is none.
    pub(super) fn lacks_upstream(&self) -> bool {
        self.gateway.upstream.is_none()
            && self.split_routes().any(|(route, is_chat)| {
                route.way == RouteWay::Tunnel || !is_chat && route.way != RouteWay::Native
            })
    }

    /// Returns whether a route that cannot be the chat's is to be served by it.
    pub(super) fn lacks_chat(&self) -> bool {
        self.split_routes()
            .any(|(route, is_chat)| route.way == RouteWay::Native && !is_chat)
    }

    /// Returns the routes that the application does not serve alone, and whether each is the chat's.
    fn split_routes(&self) -> impl Iterator<Item = (&HostRoute, bool)> {
        let (rest, socket) = (&self.django.url_prefix, &self.django.ws_prefix);
        let sockets = self
            .host
            .routes
            .iter()
            .map(move |it| (it, [socket, socket]));
        let http = self
            .host
            .http_routes
            .iter()
            .map(move |it| (it, [rest, socket]));
        let split = sockets.chain(http).filter(|(route, _)| route.leaves_any());
        split.map(|(route, chat)| {
            let is_within = |it: &&Prefix| route.prefix.as_str().starts_with(it.as_str());
            (route, chat.iter().any(is_within))
        })
    }
}

impl Loaded {
    /// Lets the application answer every request, unless `host.http_routes` is set or there is a
    /// `gateway.upstream` for them.
    #[must_use]
    pub fn hosting_http(mut self) -> Self {
        let config = &mut self.config;
        let (rest, socket) = (&config.django.url_prefix, &config.django.ws_prefix);
        // The last two name the chat's own prefixes, which no shorter one does.
        let routes = format!("[\"/\", \"{rest}\", \"{socket}\"]");
        let (key, why) = ("host.http_routes", "for chatferry host");
        if config.gateway.upstream.is_none()
            && replace_default(&mut self.effective, key, &routes, why)
        {
            let prefixes = [Prefix::root(), rest.clone(), socket.clone()];
            config.host.http_routes = prefixes.map(HostRoute::whole).into();
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, ConfigErrors, Loaded};

    fn load(pairs: &[(&str, &str)]) -> Result<Loaded, ConfigErrors> {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let flags: Vec<_> = pairs.iter().map(own).collect();
        Config::load(None, std::iter::empty(), &flags)
    }

    #[test]
    fn nothing_is_hosted_unless_something_is_named() {
        assert!(!Config::of(&[]).host.is_on());
        assert!(!Config::of(&[("host.workers", "4")]).host.is_on());
        for key in ["host.application", "host.command", "host.socket"] {
            assert!(Config::of(&[(key, "x")]).host.is_on(), "{key}");
        }
        let secret = ("host.secret", "0123456789abcdef0123456789abcdef");
        assert!(
            Config::of(&[("host.listen", "127.0.0.1:0"), secret])
                .host
                .is_on()
        );
    }

    #[test]
    fn workers_do_not_join_by_tcp_without_a_secret_that_nobody_guesses() {
        let long = ("host.secret", "0123456789abcdef0123456789abcdef");
        let short = ("host.secret", "0123456789abcdef");
        let listen = ("host.listen", "127.0.0.1:0");
        assert!(load(&[listen, long]).is_ok());
        for wrong in [
            &[listen][..],
            &[listen, short],
            &[("host.listen", "unix:/x"), long],
        ] {
            let Err(errors) = load(wrong) else {
                panic!("{wrong:?} is taken");
            };
            let errors = errors.to_string();
            assert!(errors.contains("host.listen"), "{errors}");
            assert!(!errors.contains("0123"), "{errors}");
        }
    }

    #[test]
    fn an_application_is_one_word_for_the_shell() {
        let start = |pairs: &[(&str, &str)]| Config::of(pairs).host.start();
        let application = ("host.application", "a.asgi:app'; rm -r x");
        assert_eq!(
            start(&[application]).as_deref(),
            Some(r"python3 -m chatferry_worker 'a.asgi:app'\''; rm -r x'")
        );
        let command = ("host.command", "python manage.py chatferry_worker");
        assert_eq!(
            start(&[application, command]).as_deref(),
            Some("python manage.py chatferry_worker")
        );
        assert_eq!(start(&[command, ("host.workers", "0")]), None);
        assert_eq!(start(&[("host.socket", "/run/x")]), None);
    }

    #[test]
    fn an_application_answers_all_requests_unless_something_else_is_said() {
        let routes = |pairs: &[(&str, &str)]| {
            let routes = load(pairs).unwrap().hosting_http().config.host.http_routes;
            routes.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(routes(&[]), ["/", "/api/chat/", "/ws/chat/"]);
        let moved = ("django.url_prefix", "/talk/");
        assert_eq!(routes(&[moved]), ["/", "/talk/", "/ws/chat/"]);
        let upstream = ("gateway.upstream", "http://127.0.0.1:8001");
        assert!(routes(&[upstream]).is_empty());
        let own = ("host.http_routes", "/shop/");
        assert_eq!(routes(&[own]), ["/shop/"]);
        assert_eq!(routes(&[own, upstream]), ["/shop/"]);
    }

    #[test]
    fn a_route_leaves_nothing_to_nobody() {
        let upstream = ("gateway.upstream", "http://127.0.0.1:8001");
        for key in ["host.routes", "host.http_routes"] {
            for split in ["/a/=5%", "/a/=tunnel", "/ws/chat/=tunnel"] {
                assert!(load(&[(key, split)]).is_err(), "{split}");
                assert!(load(&[(key, split), upstream]).is_ok(), "{split}");
            }
            for chat in ["/ws/chat/=5%", "/ws/chat/=native"] {
                assert!(load(&[(key, chat)]).is_ok(), "{chat}");
            }
            assert!(load(&[(key, "/a/=native"), upstream]).is_err());
        }
        assert!(load(&[("host.http_routes", "/api/chat/=native")]).is_ok());
        assert!(load(&[("host.routes", "/api/chat/=native")]).is_err());
    }
}
