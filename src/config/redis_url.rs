//! Where a Redis is, as `layer.hosts` names it. How a connection is opened is the layer's.
//!
//! | entry | what it is |
//! |---|---|
//! | `redis://user:pw@host:port/db` | plain TCP |
//! | `rediss://…` | TLS |
//! | `unix:///path?db=0&password=…` | a socket file |
//! | `sentinel://user:pw@h:p,h:p/master/db` | the master that the Sentinels name; `?sentinel_password=…` |
//!
//! The names of the options are redis-py's. The first three kinds take `username`, `password` and
//! `db` as options too. TLS has `ssl_ca_certs=FILE`, `ssl_cert_reqs` (`required`, or `none` for no
//! check at all), `ssl_check_hostname=false` for one of the chain only, `ssl_certfile=FILE` and
//! `ssl_keyfile=FILE`; with Sentinels, `ssl=true` asks for it to the master and `sentinel_ssl=true`
//! to them. What tunes redis-py itself is passed over, and any other option is refused:
//! [`options`].

mod options;

use std::{fmt, path::PathBuf, sync::Arc};

use redis::{ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo};

use self::options::TlsOptions;

pub use self::options::{CertificateChecks, Secured};

/// Where a Redis is.
#[derive(Clone, Debug)]
pub struct RedisUrl {
    /// For logs: no secrets.
    shown: Arc<str>,
    pub place: RedisPlace,
    pub login: RedisConnectionInfo,
}

/// One server, or those that know which one it is.
#[derive(Clone, Debug)]
pub enum RedisPlace {
    At(Server),
    Sentinels(Sentinels),
}

/// The Sentinels of a master.
#[derive(Clone, Debug)]
pub struct Sentinels {
    pub servers: Vec<Server>,
    pub login: RedisConnectionInfo,
    pub master: String,
    /// TLS to the master.
    pub tls: Option<Secured>,
}

/// Where a server is.
#[derive(Clone, Debug)]
pub enum Server {
    Tcp(String, u16, Option<Secured>),
    File(PathBuf),
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Server::Tcp(host, port, _) => write!(f, "{host}:{port}"),
            Server::File(path) => write!(f, "{}", path.display()),
        }
    }
}

impl RedisUrl {
    /// Reads an entry of `layer.hosts`. Opens nothing.
    ///
    /// # Errors
    /// A text that says what is expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (scheme, rest) = text.split_once("://").ok_or(EXPECTED)?;
        let (place, login, shown) = match scheme {
            "sentinel" => sentinel(rest)?,
            "redis" | "unix" | "rediss" => one(text)?,
            _ => return Err(EXPECTED.to_owned()),
        };
        Ok(RedisUrl {
            shown: shown.into(),
            place,
            login,
        })
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

const EXPECTED: &str = "redis://host:port/db, rediss://…, unix:///path?db=0 or \
    sentinel://host:port,host:port/master/db";

/// As redis-py reads a URL: what its options say of the login is believed where it says nothing
/// else, and of the database in any case.
fn one(text: &str) -> Result<(RedisPlace, RedisConnectionInfo, String), String> {
    let info = text.into_connection_info();
    let info = info.map_err(|error| format!("{EXPECTED} ({error})"))?;
    let url = redis::parse_redis_url(text).ok_or(EXPECTED)?;
    let options = TlsOptions::read(url.query_pairs(), &[])?;
    let mut login = ours(info.redis_settings());
    for (key, value) in url.query_pairs() {
        login = match &*key {
            "username" if url.username().is_empty() => login.set_username(value),
            "password" if url.password().is_none() => login.set_password(value),
            "db" => login.set_db(value.parse().map_err(|_| EXPECTED)?),
            _ => login,
        };
    }
    let server = match info.addr() {
        ConnectionAddr::Unix(path) => Server::File(path.clone()),
        ConnectionAddr::Tcp(_, _) if options.tells_of_tls => {
            return Err("rediss://… where there are options of TLS".to_owned());
        }
        ConnectionAddr::Tcp(host, port) => Server::Tcp(host.clone(), *port, None),
        ConnectionAddr::TcpTls { host, port, .. } => {
            Server::Tcp(host.clone(), *port, Some(options.secured()))
        }
        _ => return Err(EXPECTED.to_owned()),
    };
    let shown = server.to_string();
    Ok((RedisPlace::At(server), login, shown))
}

fn ours(login: &RedisConnectionInfo) -> RedisConnectionInfo {
    let login = login.clone();
    login.set_lib_name("chatferry", env!("CARGO_PKG_VERSION"))
}

/// `[user:pw@]host:port,host:port/master[/db][?sentinel_password=…&sentinel_username=…]`
fn sentinel(rest: &str) -> Result<(RedisPlace, RedisConnectionInfo, String), String> {
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (login, rest) = match rest.rsplit_once('@') {
        Some((login, rest)) => (format!("{login}@"), rest),
        None => (String::new(), rest),
    };
    let (hosts, path) = rest.split_once('/').ok_or(EXPECTED)?;
    let (master, db) = path.split_once('/').unwrap_or((path, "0"));
    if master.is_empty() {
        return Err(EXPECTED.to_owned());
    }
    let info = |text: &str| {
        let info = text.into_connection_info();
        info.map_err(|error| format!("{EXPECTED} ({error})"))
    };
    // The options as the client reads them in a URL, percent signs and all.
    let url = redis::parse_redis_url(&format!("redis://-?{query}")).ok_or(EXPECTED)?;
    let options = TlsOptions::read(url.query_pairs(), &options::SENTINELS)?;
    let mut own = ours(&RedisConnectionInfo::default());
    for (key, value) in url.query_pairs() {
        own = match &*key {
            "sentinel_username" => own.set_username(value),
            "sentinel_password" => own.set_password(value),
            _ => own,
        };
    }
    let mut servers = Vec::new();
    for host in hosts.split(',').filter(|host| !host.is_empty()) {
        let host = if host.rsplit(']').next().is_some_and(|end| end.contains(':')) {
            host.to_owned()
        } else {
            format!("{host}:26379")
        };
        let ConnectionAddr::Tcp(host, port) = info(&format!("redis://{host}"))?.addr().clone()
        else {
            return Err(EXPECTED.to_owned());
        };
        let tls = options.sentinel_ssl.then(|| options.secured());
        servers.push(Server::Tcp(host, port, tls));
    }
    if servers.is_empty() {
        return Err(EXPECTED.to_owned());
    }
    if options.tells_of_tls && !(options.ssl || options.sentinel_ssl) {
        return Err("ssl=true or sentinel_ssl=true where there are options of TLS".to_owned());
    }
    let master_login = info(&format!("redis://{login}master/{db}"))?;
    let place = RedisPlace::Sentinels(Sentinels {
        servers,
        login: own,
        master: master.to_owned(),
        tls: options.ssl.then(|| options.secured()),
    });
    let shown = format!("master {master} of the Sentinels");
    Ok((place, ours(master_login.redis_settings()), shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_entry_is_read() {
        for (text, shown) in [
            ("redis://localhost", "localhost:6379"),
            ("redis://user:p%40w@10.0.0.1:7000/3", "10.0.0.1:7000"),
            ("rediss://:pw@redis.example:6380/0", "redis.example:6380"),
            ("rediss://h?ssl_cert_reqs=none", "h:6379"),
            ("rediss://h?ssl_ca_certs=ca.pem", "h:6379"),
            ("unix:///run/redis.sock?db=2", "/run/redis.sock"),
            (
                "sentinel://:pw@a:26379,b/mymaster/1",
                "master mymaster of the Sentinels",
            ),
        ] {
            let address = RedisUrl::parse(text).unwrap();
            assert_eq!(address.to_string(), shown, "{text}");
        }
    }

    #[test]
    fn logins_and_databases_are_kept() {
        let login = RedisUrl::parse("redis://u:p%40w@h:1/3").unwrap().login;
        let got = (login.username(), login.password(), login.db());
        assert_eq!(got, (Some("u"), Some("p@w"), 3));

        for text in [
            "unix:///r?db=2&username=u&password=p%40w",
            "redis://h?password=p%40w&username=u&db=2",
            "rediss://u:p%40w@h/7?db=2&password=no&username=no",
        ] {
            let login = RedisUrl::parse(text).unwrap().login;
            let got = (login.username(), login.password(), login.db());
            assert_eq!(got, (Some("u"), Some("p@w"), 2), "{text}");
        }

        let text = "sentinel://:pw@a,[::1]:2/m/4?sentinel_password=s%20p";
        let address = RedisUrl::parse(text).unwrap();
        let RedisPlace::Sentinels(sentinels) = address.place else {
            panic!("Sentinels");
        };
        let master = &address.login;
        assert_eq!((master.password(), master.db()), (Some("pw"), 4));
        let at: Vec<String> = sentinels.servers.iter().map(ToString::to_string).collect();
        assert_eq!(at, ["a:26379", "::1:2"]);
        assert_eq!(sentinels.login.password(), Some("s p"));
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in [
            "",
            "localhost:6379",
            "http://h",
            "redis://",
            "sentinel://a",
            "redis://h/x",
            "redis://h?db=x",
            "sentinel:///m",
            "sentinel://a//0",
            "rediss://h?ssl_ca_cert=ca.pem",
            "redis://h?ssl_ca_certs=ca.pem",
            "redis://h?sentinel_password=p",
            "rediss://h?ssl_check_hostname=maybe",
            "rediss://h?ssl_keyfile=k.pem",
        ] {
            assert!(RedisUrl::parse(bad).is_err(), "{bad}");
        }
    }
}
