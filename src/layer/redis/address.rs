//! Where a Redis is, as `layer.hosts` names it, and how to get a connection to it.
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
//! to them. What tunes redis-py itself is passed over, and any other option is refused: [`options`].

mod dial;
mod options;

use std::{sync::Arc, time::Duration};

use redis::{
    AsyncConnectionConfig, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo,
    aio::{MultiplexedConnection, PubSub},
};

pub use self::dial::Connection;

use self::{
    dial::Server,
    options::{Options, Secured},
};
use super::bounds::{Ahead, Bounded};
use crate::layer::LayerError;

/// From the first packet to a connection that has logged in.
const CONNECT: Duration = Duration::from_secs(2);

/// Commands that wait to be written before those that give them wait too.
const PIPELINE: usize = 1024;

/// Bytes gathered before they are written while more commands wait.
const WRITE: usize = 64 * 1024;

/// Most bytes of a value in an answer, where no events come.
const VALUE: usize = 1024 * 1024;

/// Where a Redis is.
#[derive(Clone, Debug)]
pub struct Address {
    /// For logs: no secrets.
    shown: Arc<str>,
    place: Place,
    login: RedisConnectionInfo,
    /// Most bytes of a value in an answer.
    value_max: usize,
}

#[derive(Clone, Debug)]
enum Place {
    At(Server),
    Sentinels(Sentinels),
}

#[derive(Clone, Debug)]
struct Sentinels {
    servers: Vec<Server>,
    login: RedisConnectionInfo,
    master: String,
    /// TLS to the master.
    tls: Option<Secured>,
}

impl Address {
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
        Ok(Address {
            shown: shown.into(),
            place,
            login,
            value_max: VALUE,
        })
    }

    /// The same for answers with values of up to so many bytes; larger ones are left out.
    #[must_use]
    pub fn with_values_of(mut self, bytes: usize) -> Self {
        self.value_max = bytes;
        self
    }

    /// Opens a connection for commands, or one that also waits for messages if `response` is long
    /// enough for that. `response` bounds the wait for each answer.
    pub async fn connect(&self, response: Duration) -> Result<Connection, LayerError> {
        Ok(self.connect_to(response).await?.0)
    }

    /// The same, and the address of the server that it leads to.
    pub async fn connect_to(&self, response: Duration) -> Result<(Connection, String), LayerError> {
        let server = self.server().await?;
        let connection = within(commands(&server, &self.login, response, self.value_max)).await?;
        Ok((connection, server.to_string()))
    }

    /// Fails if the Sentinels lead to another server than this one by now: it may take for the master
    /// itself until they demote it. Without Sentinels, and without an answer, nothing is known.
    ///
    /// # Errors
    /// [`LayerError::Unavailable`].
    pub async fn still_leads_to(&self, server: &str) -> Result<(), LayerError> {
        let Place::Sentinels(sentinels) = &self.place else {
            return Ok(());
        };
        match sentinels.find_master().await {
            Ok(at) if at.to_string() != server => Err(unavailable(format!(
                "the Sentinels name {at} as the master, and no longer {server}"
            ))),
            _ => Ok(()),
        }
    }

    /// Returns whether Sentinels are asked for the server.
    #[must_use]
    pub fn has_sentinels(&self) -> bool {
        matches!(self.place, Place::Sentinels(_))
    }

    /// Opens a connection for subscriptions. `ahead` is for the task that takes the messages.
    pub async fn subscribe(&self, ahead: &Arc<Ahead>) -> Result<PubSub, LayerError> {
        let server = self.server().await?;
        within(async {
            let stream = Bounded::new(server.dial().await?, self.value_max);
            let stream = stream.not_far_ahead(Arc::clone(ahead));
            PubSub::new(&self.login, stream).await.map_err(unavailable)
        })
        .await
    }

    async fn server(&self) -> Result<Server, LayerError> {
        match &self.place {
            Place::At(server) => Ok(server.clone()),
            Place::Sentinels(sentinels) => sentinels.find_master().await,
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown)
    }
}

const EXPECTED: &str = "redis://host:port/db, rediss://…, unix:///path?db=0 or \
    sentinel://host:port,host:port/master/db";

fn unavailable(error: impl std::fmt::Display) -> LayerError {
    LayerError::Unavailable(error.to_string())
}

async fn within<T>(opening: impl Future<Output = Result<T, LayerError>>) -> Result<T, LayerError> {
    match tokio::time::timeout(CONNECT, opening).await {
        Ok(opened) => opened,
        Err(_) => Err(unavailable("no connection within 2 s")),
    }
}

/// A connection for commands, logged in.
async fn commands(
    server: &Server,
    login: &RedisConnectionInfo,
    response: Duration,
    value_max: usize,
) -> Result<Connection, LayerError> {
    let config = AsyncConnectionConfig::new()
        .set_response_timeout(Some(response))
        .set_pipeline_buffer_size(PIPELINE)
        .set_write_backpressure_boundary(WRITE);
    let stream = Bounded::new(server.dial().await?, value_max);
    let opened = MultiplexedConnection::new_with_config(login, stream, config).await;
    let (commands, driver) = opened.map_err(unavailable)?;
    Ok(Connection::driven_by(driver, commands))
}

/// As redis-py reads a URL: what its options say of the login is believed where it says nothing
/// else, and of the database in any case.
fn one(text: &str) -> Result<(Place, RedisConnectionInfo, String), String> {
    let info = text.into_connection_info();
    let info = info.map_err(|error| format!("{EXPECTED} ({error})"))?;
    let url = redis::parse_redis_url(text).ok_or(EXPECTED)?;
    let options = Options::read(url.query_pairs(), &[])?;
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
    Ok((Place::At(server), login, shown))
}

fn ours(login: &RedisConnectionInfo) -> RedisConnectionInfo {
    let login = login.clone();
    login.set_lib_name("chatferry", env!("CARGO_PKG_VERSION"))
}

/// `[user:pw@]host:port,host:port/master[/db][?sentinel_password=…&sentinel_username=…]`
fn sentinel(rest: &str) -> Result<(Place, RedisConnectionInfo, String), String> {
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
    let options = Options::read(url.query_pairs(), &options::SENTINELS)?;
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
    let place = Place::Sentinels(Sentinels {
        servers,
        login: own,
        master: master.to_owned(),
        tls: options.ssl.then(|| options.secured()),
    });
    let shown = format!("master {master} of the Sentinels");
    Ok((place, ours(master_login.redis_settings()), shown))
}

impl Sentinels {
    /// Asks one Sentinel after the other.
    async fn find_master(&self) -> Result<Server, LayerError> {
        let mut last = unavailable("no Sentinel answers");
        for sentinel in &self.servers {
            match self.ask(sentinel).await {
                Ok(at) => return Ok(at),
                Err(LayerError::Unavailable(why)) => {
                    last = unavailable(format!("the Sentinel {sentinel}: {why}"));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn ask(&self, sentinel: &Server) -> Result<Server, LayerError> {
        let mut connection = within(commands(sentinel, &self.login, CONNECT, VALUE)).await?;
        let mut question = redis::cmd("SENTINEL");
        question.arg("get-master-addr-by-name").arg(&self.master);
        let answer = question.query_async::<Option<(String, u16)>>(&mut connection);
        let (host, port) = answer
            .await
            .map_err(unavailable)?
            .ok_or_else(|| unavailable(format!("the Sentinels know no master {}", self.master)))?;
        Ok(Server::Tcp(host, port, self.tls.clone()))
    }
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
            let address = Address::parse(text).unwrap();
            assert_eq!(address.to_string(), shown, "{text}");
        }
    }

    #[test]
    fn logins_and_databases_are_kept() {
        let login = Address::parse("redis://u:p%40w@h:1/3").unwrap().login;
        let got = (login.username(), login.password(), login.db());
        assert_eq!(got, (Some("u"), Some("p@w"), 3));

        for text in [
            "unix:///r?db=2&username=u&password=p%40w",
            "redis://h?password=p%40w&username=u&db=2",
            "rediss://u:p%40w@h/7?db=2&password=no&username=no",
        ] {
            let login = Address::parse(text).unwrap().login;
            let got = (login.username(), login.password(), login.db());
            assert_eq!(got, (Some("u"), Some("p@w"), 2), "{text}");
        }

        let text = "sentinel://:pw@a,[::1]:2/m/4?sentinel_password=s%20p";
        let address = Address::parse(text).unwrap();
        let Place::Sentinels(sentinels) = address.place else {
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
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
    }
}
