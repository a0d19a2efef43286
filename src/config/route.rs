//! Routes of a hosted application: a prefix of paths, and who serves what is below it.

use std::fmt;

use serde::Deserialize;

use super::django::Prefix;

/// A prefix of paths, and who serves what is below it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct HostRoute {
    pub prefix: Prefix,
    pub way: RouteWay,
}

/// The ways that a request may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteWay {
    /// This many percent are the application's; the others go where they would go without the
    /// route.
    Host(u8),
    /// `gateway.upstream`.
    Tunnel,
    /// The chat of this server.
    Native,
}

impl HostRoute {
    /// A route that is the application's with all that is below it.
    #[must_use]
    pub fn whole(prefix: Prefix) -> Self {
        HostRoute {
            prefix,
            way: RouteWay::Host(100),
        }
    }

    /// Returns whether something of it goes elsewhere.
    #[must_use]
    pub fn leaves_any(&self) -> bool {
        self.way != RouteWay::Host(100)
    }
}

impl TryFrom<String> for HostRoute {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let wrong = "a path that starts and ends with `/`, as `/ws/`, and who serves it unless it is \
                     the application alone: `/ws/=5%`, `/ws/=tunnel`, `/ws/=native` or `/ws/=host`";
        // A path may hold a `=`; a way holds no `/`.
        let place = text.rfind('/').map_or(0, |slash| slash + 1);
        let (prefix, way) = text.split_at_checked(place).ok_or(wrong)?;
        let way = match way {
            "" | "=host" => RouteWay::Host(100),
            "=tunnel" => RouteWay::Tunnel,
            "=native" => RouteWay::Native,
            share => {
                let number = share.strip_prefix('=').and_then(|it| it.strip_suffix('%'));
                let percent: u8 = number.and_then(|it| it.parse().ok()).ok_or(wrong)?;
                RouteWay::Host(Some(percent).filter(|it| *it <= 100).ok_or(wrong)?)
            }
        };
        let prefix = Prefix::try_from(prefix.to_owned()).map_err(|_| wrong)?;
        Ok(HostRoute { prefix, way })
    }
}

impl fmt::Display for HostRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.way {
            RouteWay::Host(100) => write!(f, "{}", self.prefix),
            RouteWay::Host(percent) => write!(f, "{}={percent}%", self.prefix),
            RouteWay::Tunnel => write!(f, "{}=tunnel", self.prefix),
            RouteWay::Native => write!(f, "{}=native", self.prefix),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_a_prefix_and_a_way() {
        let route = |text: &str| HostRoute::try_from(text.to_owned());
        for (text, prefix, way) in [
            ("/ws/", "/ws/", RouteWay::Host(100)),
            ("/ws/=5%", "/ws/", RouteWay::Host(5)),
            ("/ws/=0%", "/ws/", RouteWay::Host(0)),
            ("/a=b/=tunnel", "/a=b/", RouteWay::Tunnel),
            ("/=native", "/", RouteWay::Native),
        ] {
            let found = route(text).unwrap();
            assert_eq!((found.prefix.as_str(), found.way), (prefix, way));
            assert_eq!(found.to_string(), text);
        }
        assert_eq!(route("/ws/=host").unwrap().to_string(), "/ws/");
        for wrong in [
            "",
            "ws",
            "/ws",
            "/ws=5%",
            "/ws/=",
            "/ws/5%",
            "/ws/=5",
            "/ws/=101%",
            "/ws/=-1%",
            "/ws/=daphne",
            "/ws/==5%",
            "=5%",
        ] {
            assert!(route(wrong).is_err(), "{wrong}");
        }
    }
}
