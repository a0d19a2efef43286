//! Where a Redis is, as `layer.hosts` names it, and how to get a connection to it.
//!
//! | entry | what it is |
//! |---|---|
//! | `redis://user:pw@host:port/db` | plain TCP |
//! | `rediss://…` | TLS; `?ssl_ca_certs=FILE` for a private CA, `?ssl_cert_reqs=none` for none at all |
//! | `unix:///path?db=0&password=…` | a socket file |
//! | `sentinel://user:pw@h:p,h:p/master/db` | whatever the Sentinels say is the master; `?sentinel_password=…` |
//!
//! The names of the options are redis-py's; the first three kinds take `username`, `password` and
//! `db` as options too.

use std::{sync::Arc, time::Duration};

use redis::{
    AsyncConnectionConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo,
    aio::{MultiplexedConnection, PubSub},
};

use super::{
    bounds::{Ahead, Bounded},
    connection::{self, Connection, Io},
};
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
    /// Most bytes of a value in an answer.
    value_max: usize,
}

#[derive(Clone, Debug)]
enum Place {
    At(ConnectionInfo),
    /// The last part of a TLS connection that has to be read from a file.
    Tls {
        info: ConnectionInfo,
        ca_file: String,
    },
    Sentinel {
        sentinels: Vec<ConnectionInfo>,
        master: String,
        /// Its address is what the Sentinels say.
        login: ConnectionInfo,
    },
}

impl Address {
    /// Reads an entry of `layer.hosts`. Opens nothing.
    ///
    /// # Errors
    /// A text that says what is expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (scheme, rest) = text.split_once("://").ok_or(EXPECTED)?;
        let place = match scheme {
            "sentinel" => sentinel(rest)?,
            "redis" | "unix" => Place::At(info(text)?),
            "rediss" => tls(text)?,
            _ => return Err(EXPECTED.to_owned()),
        };
        let shown = match &place {
            Place::At(info) | Place::Tls { info, .. } => info.addr().to_string(),
            Place::Sentinel { master, .. } => format!("master {master} of the Sentinels"),
        };
        Ok(Address {
            shown: shown.into(),
            place,
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
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(Some(response))
            .set_pipeline_buffer_size(PIPELINE)
            .set_write_backpressure_boundary(WRITE);
        let info = self.info().await?;
        let connection = within(async {
            let stream = self.open(&info).await?;
            command_connection(&info, stream, config).await
        });
        Ok((connection.await?, info.addr().to_string()))
    }

    /// Opens a connection for subscriptions. `ahead` is for whoever takes the messages.
    pub async fn subscribe(&self, ahead: &Arc<Ahead>) -> Result<PubSub, LayerError> {
        let info = self.info().await?;
        within(async {
            let stream = self.open(&info).await?;
            let stream = stream.not_far_ahead(Arc::clone(ahead));
            PubSub::new(info.redis_settings(), stream).await
        })
        .await
    }

    async fn info(&self) -> Result<ConnectionInfo, LayerError> {
        match &self.place {
            Place::At(info) | Place::Tls { info, .. } => Ok(info.clone()),
            Place::Sentinel {
                sentinels,
                master,
                login,
            } => {
                let at = find_master(sentinels, master).await?;
                Ok(login.clone().set_addr(at))
            }
        }
    }

    async fn open(&self, info: &ConnectionInfo) -> redis::RedisResult<Bounded<Box<dyn Io>>> {
        let ca_file = match &self.place {
            Place::Tls { ca_file, .. } => Some(ca_file.as_str()),
            Place::At(_) | Place::Sentinel { .. } => None,
        };
        let stream = connection::open(info.addr(), ca_file).await?;
        Ok(Bounded::new(stream, self.value_max))
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

async fn command_connection(
    info: &ConnectionInfo,
    stream: Bounded<Box<dyn Io>>,
    config: AsyncConnectionConfig,
) -> redis::RedisResult<Connection> {
    let login = info.redis_settings();
    let (inner, driver) = MultiplexedConnection::new_with_config(login, stream, config).await?;
    Ok(Connection::new(inner, driver))
}

async fn within<T>(opening: impl Future<Output = redis::RedisResult<T>>) -> Result<T, LayerError> {
    match tokio::time::timeout(CONNECT, opening).await {
        Ok(opened) => opened.map_err(unavailable),
        Err(_) => Err(unavailable("no connection within 2 s")),
    }
}

/// As redis-py reads a URL: what its options say of the login is believed where it says nothing
/// else, and of the database in any case.
fn info(text: &str) -> Result<ConnectionInfo, String> {
    let info = text.into_connection_info();
    let info = info.map_err(|error| format!("{EXPECTED} ({error})"))?;
    let url = redis::parse_redis_url(text).ok_or(EXPECTED)?;
    let mut login = info.redis_settings().clone();
    for (key, value) in url.query_pairs() {
        login = match &*key {
            "username" if url.username().is_empty() => login.set_username(value),
            "password" if url.password().is_none() => login.set_password(value),
            "db" => login.set_db(value.parse().map_err(|_| EXPECTED)?),
            _ => login,
        };
    }
    let login = login.set_lib_name("chatferry", env!("CARGO_PKG_VERSION"));
    let alive = redis::io::tcp::TcpSettings::default().set_nodelay(true);
    Ok(info.set_redis_settings(login).set_tcp_settings(alive))
}

fn tls(text: &str) -> Result<Place, String> {
    let url = redis::parse_redis_url(text).ok_or(EXPECTED)?;
    let option = |name: &str| {
        let mut pairs = url.query_pairs();
        pairs.find_map(|(key, value)| (key == name).then(|| value.into_owned()))
    };
    let info = info(text)?;
    if option("ssl_cert_reqs").is_some_and(|value| value.eq_ignore_ascii_case("none")) {
        let ConnectionAddr::TcpTls { host, port, .. } = info.addr().clone() else {
            return Err(EXPECTED.to_owned());
        };
        let unchecked = ConnectionAddr::TcpTls {
            host,
            port,
            insecure: true,
            tls_params: None,
        };
        return Ok(Place::At(info.set_addr(unchecked)));
    }
    Ok(match option("ssl_ca_certs") {
        Some(ca_file) => Place::Tls { info, ca_file },
        None => Place::At(info),
    })
}

/// `[user:pw@]host:port,host:port/master[/db][?sentinel_password=…&sentinel_username=…]`
fn sentinel(rest: &str) -> Result<Place, String> {
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
    // The options as the client reads them in a URL, percent signs and all.
    let options = redis::parse_redis_url(&format!("redis://-?{query}")).ok_or(EXPECTED)?;
    let mut sentinels = Vec::new();
    for host in hosts.split(',').filter(|host| !host.is_empty()) {
        let host = if host.rsplit(']').next().is_some_and(|end| end.contains(':')) {
            host.to_owned()
        } else {
            format!("{host}:26379")
        };
        let found = info(&format!("redis://{host}"))?;
        let mut own = found.redis_settings().clone();
        for (key, value) in options.query_pairs() {
            own = match &*key {
                "sentinel_username" => own.set_username(value),
                "sentinel_password" => own.set_password(value),
                _ => own,
            };
        }
        sentinels.push(found.set_redis_settings(own));
    }
    if sentinels.is_empty() {
        return Err(EXPECTED.to_owned());
    }
    Ok(Place::Sentinel {
        sentinels,
        master: master.to_owned(),
        login: info(&format!("redis://{login}master/{db}"))?,
    })
}

/// Asks one Sentinel after the other, and makes sure of the answer: right after a failover the old
/// master may still be named.
async fn find_master(
    sentinels: &[ConnectionInfo],
    master: &str,
) -> Result<ConnectionAddr, LayerError> {
    let mut last = unavailable("no Sentinel answers");
    for sentinel in sentinels {
        match ask_sentinel(sentinel, master).await {
            Ok(at) => return Ok(at),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn ask_sentinel(
    sentinel: &ConnectionInfo,
    master: &str,
) -> Result<ConnectionAddr, LayerError> {
    let opened = within(async {
        let stream = connection::open(sentinel.addr(), None).await?;
        let config = AsyncConnectionConfig::new();
        command_connection(sentinel, Bounded::new(stream, VALUE), config).await
    });
    let mut connection = opened.await?;
    let mut question = redis::cmd("SENTINEL");
    question.arg("get-master-addr-by-name").arg(master);
    let answer = question.query_async::<Option<(String, u16)>>(&mut connection);
    let (host, port) = within(answer)
        .await?
        .ok_or_else(|| unavailable(format!("the Sentinels know no master {master}")))?;
    Ok(ConnectionAddr::Tcp(host, port))
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
        let Place::At(info) = Address::parse("redis://u:p%40w@h:1/3").unwrap().place else {
            panic!("plain");
        };
        let login = info.redis_settings();
        let got = (login.username(), login.password(), login.db());
        assert_eq!(got, (Some("u"), Some("p@w"), 3));

        for text in [
            "unix:///r?db=2&username=u&password=p%40w",
            "redis://h?password=p%40w&username=u&db=2",
            "rediss://u:p%40w@h/7?db=2&password=no&username=no",
        ] {
            let Place::At(info) = Address::parse(text).unwrap().place else {
                panic!("plain");
            };
            let login = info.redis_settings();
            let got = (login.username(), login.password(), login.db());
            assert_eq!(got, (Some("u"), Some("p@w"), 2), "{text}");
        }

        let text = "sentinel://:pw@a,[::1]:2/m/4?sentinel_password=s%20p";
        let Place::Sentinel {
            sentinels, login, ..
        } = Address::parse(text).unwrap().place
        else {
            panic!("Sentinels");
        };
        let master = login.redis_settings();
        assert_eq!((master.password(), master.db()), (Some("pw"), 4));
        let at: Vec<String> = sentinels.iter().map(|s| s.addr().to_string()).collect();
        assert_eq!(at, ["a:26379", "::1:2"]);
        assert_eq!(sentinels[0].redis_settings().password(), Some("s p"));
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
        ] {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
    }
}
