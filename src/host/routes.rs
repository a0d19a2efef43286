//! Routing of paths to the application, or to the server that would answer without it. A share is the
//! same for everybody in a room, from process to process and from one start to the next.

use std::net::IpAddr;

use hyper::{Method, Uri};
use tokio::sync::watch;

use crate::{
    config::{self, Config, HostRoute, OnChange, Prefix, RouteWay},
    dialect::django::routes,
    gateway::RequestTarget,
    http::ops::Endpoint,
    python::urls::decode_path,
    rollout::is_within,
};

/// The routes in force, which SIGHUP changes.
pub struct Routes {
    live: watch::Sender<LiveRoutes>,
    rest: Prefix,
    socket: Prefix,
    /// Of our own REST API, if it is served.
    api: Option<Prefix>,
}

#[derive(Clone, PartialEq)]
struct LiveRoutes {
    sockets: Vec<HostRoute>,
    http: Vec<HostRoute>,
    on_change: OnChange,
}

impl LiveRoutes {
    fn of(settings: &config::Host, on_change: OnChange) -> Self {
        LiveRoutes {
            sockets: settings.routes.clone(),
            http: settings.http_routes.clone(),
            on_change,
        }
    }
}

impl Routes {
    pub fn of(config: &Config) -> Self {
        Routes {
            live: watch::Sender::new(LiveRoutes::of(&config.host, config.gateway.on_change)),
            rest: config.django.url_prefix.clone(),
            socket: config.django.ws_prefix.clone(),
            api: config.api_prefix(),
        }
    }

    /// Takes over the settings that may change while the server runs. Returns `true` if open
    /// sockets may have to be closed.
    pub fn reload(&self, config: &Config) -> bool {
        let now = LiveRoutes::of(&config.host, config.gateway.on_change);
        let has_changed = self.live.send_if_modified(|live| {
            let before = std::mem::replace(live, now);
            *live != before
        });
        has_changed && config.gateway.on_change == OnChange::Drain
    }

    /// Returns `true` if a socket at this target is hosted. A target that servers read in different
    /// ways is not: one of them might take it for the chat's.
    pub fn serves(&self, uri: &Uri, client: Option<IpAddr>) -> bool {
        let target = RequestTarget::of(uri);
        if !target.is_plain() {
            return false;
        }
        let path = decode_path(uri.path());
        let is_chat = target.may_be_below(self.socket.as_str())
            || routes::socket(&path, &self.socket).is_some();
        let live = self.live.borrow();
        takes(&live.sockets, &target, (&path, client), |route| {
            !is_chat || begins_with(route, &self.socket)
        })
    }

    /// Returns `true` if a request at this target is answered by the application. What probes ask
    /// is not.
    pub fn answers(
        &self,
        method: &Method,
        uri: &Uri,
        client: Option<IpAddr>,
        config: &Config,
    ) -> bool {
        let live = self.live.borrow();
        if live.http.is_empty() || *method == Method::CONNECT {
            return false;
        }
        let (target, path) = (RequestTarget::of(uri), decode_path(uri.path()));
        if target.is_plain() && Endpoint::of(&path, config).is_some() {
            return false;
        }
        let chat: Vec<&Prefix> = [&self.rest, &self.socket]
            .into_iter()
            .chain(&self.api)
            .collect();
        let of_chat = chat.iter().filter(|it| target.may_be_below(it.as_str()));
        let is_chat = of_chat.clone().next().is_some();
        if !target.is_plain() && (is_chat || is_whole(&live.http, "/")) {
            // The application's if each reading of it is.
            let mut readings = of_chat.map(|it| it.as_str()).chain(["/"]);
            return readings.all(|prefix| is_whole(&live.http, prefix));
        }
        takes(&live.http, &target, (&path, client), |route| {
            !is_chat || chat.iter().any(|it| begins_with(route, it))
        })
    }
}

fn begins_with(route: &HostRoute, prefix: &Prefix) -> bool {
    route.prefix.as_str().starts_with(prefix.as_str())
}

/// Returns whether all below a prefix is the application's, as no route leaves anything.
fn is_whole(routes: &[HostRoute], prefix: &str) -> bool {
    !routes.iter().any(HostRoute::leaves_any)
        && routes.iter().any(|route| route.prefix.as_str() == prefix)
}

/// Returns whether the longest of the routes that are meant leads a path to the application.
fn takes(
    routes: &[HostRoute],
    target: &RequestTarget<'_>,
    (path, client): (&str, Option<IpAddr>),
    is_meant: impl Fn(&HostRoute) -> bool,
) -> bool {
    let below = routes
        .iter()
        .filter(|route| target.is_below(route.prefix.as_str()) && is_meant(route));
    let longest = below.max_by_key(|route| route.prefix.as_str().len());
    longest.is_some_and(|route| match route.way {
        RouteWay::Host(100) => true,
        RouteWay::Host(percent) => is_within(share(path, &route.prefix, client), percent),
        RouteWay::Tunnel | RouteWay::Native => false,
    })
}

/// Returns the number by which a share is chosen: of what follows the prefix, or of the client
/// where nothing does.
fn share(path: &str, prefix: &Prefix, client: Option<IpAddr>) -> u128 {
    let rest = path.strip_prefix(prefix.as_str()).unwrap_or_default();
    let rest = rest.trim_end_matches('/');
    let hash = match client {
        Some(client) if rest.is_empty() => crc32fast::hash(client.to_string().as_bytes()),
        _ => crc32fast::hash(rest.as_bytes()),
    };
    u128::from(hash & 0xffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UPSTREAM: (&str, &str) = ("gateway.upstream", "http://127.0.0.1:8001");

    fn routes(sockets: &str, http: &str) -> (Routes, Config) {
        let config = Config::of(&[
            ("host.routes", sockets),
            ("host.http_routes", http),
            UPSTREAM,
        ]);
        (Routes::of(&config), config)
    }

    fn serves(sockets: &str, path: &str, client: &str) -> bool {
        let client = client.parse().ok();
        routes(sockets, "").0.serves(&path.parse().unwrap(), client)
    }

    /// Rooms, of a thousand, whose sockets are hosted.
    fn rooms(sockets: &str) -> Vec<usize> {
        let (routes, _) = routes(sockets, "");
        let is_hosted = |room: &usize| {
            let uri = format!("/ws/room/number{room}/").parse().unwrap();
            routes.serves(&uri, None)
        };
        (0..1000).filter(is_hosted).collect()
    }

    #[test]
    fn a_share_is_of_rooms_and_a_larger_one_holds_a_smaller_one() {
        assert_eq!(rooms("/ws/room/=0%").len(), 0);
        let (few, half) = (rooms("/ws/room/=5%"), rooms("/ws/room/=50%"));
        assert!((20..=90).contains(&few.len()), "{}", few.len());
        assert!((420..=580).contains(&half.len()), "{}", half.len());
        assert!(few.iter().all(|room| half.contains(room)));
        assert_eq!(rooms("/ws/room/").len(), 1000);
    }

    #[test]
    fn a_room_is_the_same_for_everybody_and_with_or_without_a_slash() {
        for room in 0..100 {
            let path = format!("/ws/room/{room}/");
            let hosted = serves("/ws/room/=50%", &path, "192.0.2.1");
            assert_eq!(serves("/ws/room/=50%", &path, "192.0.2.2"), hosted);
            let bare = path.trim_end_matches('/');
            assert_eq!(serves("/ws/room/=50%", bare, "192.0.2.3"), hosted);
        }
    }

    #[test]
    fn a_path_without_a_room_is_shared_among_clients() {
        let is_hosted = |client: &u8| {
            let client = format!("192.0.2.{client}");
            let hosted = serves("/ws/bell/=50%", "/ws/bell/", &client);
            assert_eq!(serves("/ws/bell/=50%", "/ws/bell", &client), hosted);
            hosted
        };
        let hosted = (0..100).filter(is_hosted).count();
        assert!((25..=75).contains(&hosted), "{hosted}");
    }

    #[test]
    fn the_longest_route_decides() {
        let all = "/ws/,/ws/old/=tunnel,/ws/old/new/";
        for (path, hosted) in [
            ("/ws/a/", true),
            ("/ws/old/a/", false),
            ("/ws/older/", true),
            ("/ws/old/new/a/", true),
        ] {
            assert_eq!(serves(all, path, ""), hosted, "{path}");
        }
    }

    #[test]
    fn the_chat_is_hosted_only_by_its_name_and_in_the_share_that_is_said() {
        let id = "/ws/chat/95031212-7823-4748-bb78-b212d36b1999/";
        assert!(!serves("/", id, "") && !serves("/=50%,/ws/", id, ""));
        assert!(serves("/,/ws/chat/", id, ""));
        assert!(!serves("/,/ws/chat/=native", id, ""));
        assert!(!serves("/,/ws/chat/=0%", id, ""));
        assert!(!serves("/,/ws/chat/", "/ws//chat/x/", ""));
    }

    #[test]
    fn our_own_api_is_the_applications_only_by_its_name() {
        let own = ("native.api_prefix", "/api/v1/");
        for (http, is_hosted) in [("/", false), ("/,/api/", false), ("/,/api/v1/", true)] {
            let config = Config::of(&[("host.http_routes", http), UPSTREAM, own]);
            let uri = "/api/v1/me".parse().unwrap();
            let routes = Routes::of(&config);
            let found = routes.answers(&Method::GET, &uri, None, &config);
            assert_eq!(found, is_hosted, "{http}");
        }
        let (routes, config) = routes("", "/");
        assert!(routes.answers(&Method::GET, &"/api/v1/me".parse().unwrap(), None, &config));
    }

    #[test]
    fn requests_have_routes_of_their_own() {
        let (routes, config) = routes("/ws/", "/,/shop/=tunnel");
        let answers = |method: &Method, path: &str| {
            let uri = path.parse().unwrap();
            routes.answers(method, &uri, None, &config)
        };
        for path in ["/", "/page/", "/a;b/", "/a%2fb/"] {
            assert!(answers(&Method::GET, path), "{path}");
        }
        for path in [
            "/shop/x/",
            "/healthz",
            "/readyz",
            "/metrics",
            "/api/chat/",
            "/x/../api/chat/",
            "/api%2fchat/",
            "/ws/chat/x/",
        ] {
            assert!(!answers(&Method::GET, path), "{path}");
        }
        assert!(!answers(&Method::CONNECT, "/"));
    }

    #[test]
    fn an_application_that_has_every_path_has_it_however_it_is_written() {
        let answers = |http: &str, path: &str| {
            let (routes, config) = routes("/ws/", http);
            routes.answers(&Method::GET, &path.parse().unwrap(), None, &config)
        };
        for path in [
            "/api/chat/a%2Fb/",
            "/api/chat/100%2541/",
            "/x/../api/chat/",
            "//api/chat/",
            "/ws%2fchat/x/",
            "/a/../b/",
        ] {
            assert!(answers("/,/api/chat/,/ws/chat/", path), "{path}");
            assert_eq!(answers("/", path), path == "/a/../b/", "{path}");
            assert!(!answers("/,/api/chat/=5%,/ws/chat/=5%", path), "{path}");
        }
    }

    #[test]
    fn a_reload_says_whether_open_sockets_are_concerned() {
        let (routes, config) = routes("/ws/a/", "");
        assert!(!routes.reload(&config), "nothing has changed");
        let uri = "/ws/a/x/".parse().unwrap();
        assert!(routes.serves(&uri, None));
        let back = [("host.routes", "/ws/a/=tunnel"), UPSTREAM];
        assert!(routes.reload(&Config::of(&back)));
        assert!(!routes.serves(&uri, None));
        let left = [
            ("host.routes", "/ws/"),
            UPSTREAM,
            ("gateway.on_change", "leave"),
        ];
        assert!(!routes.reload(&Config::of(&left)));
        assert!(routes.serves(&uri, None));
    }
}
