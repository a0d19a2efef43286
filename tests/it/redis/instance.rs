//! A Redis server of a test's own.

use std::{
    ffi::OsString,
    process::{Child, Command, Stdio},
    sync::Mutex,
};

use crate::support::{
    Directory, PATIENCE, Port,
    child::{freeze, signal},
    skip, until,
};

/// The server's program: that of the environment, or Redis.
pub fn program() -> OsString {
    std::env::var_os("CHATFERRY_TEST_REDIS_SERVER").unwrap_or_else(|| "redis-server".into())
}

/// Killed at the end of the test.
pub struct Redis {
    pub port: Port,
    pub directory: Directory,
    options: Vec<String>,
    process: Mutex<Option<Child>>,
    /// The port for other nodes, of a node of a cluster.
    pub bus: Option<Port>,
}

impl Redis {
    /// A server on a free port; `None` if there is no Redis here.
    pub async fn start() -> Option<Self> {
        Redis::with(|_| Vec::new()).await
    }

    /// A server with more options, which may name files in its directory.
    pub async fn with(options: impl FnOnce(&Directory) -> Vec<String>) -> Option<Self> {
        if Command::new(program()).arg("--version").output().is_err() {
            skip("no Redis");
            return None;
        }
        let directory = Directory::new();
        let options = options(&directory);
        let redis = Redis {
            port: Port::claim(),
            directory,
            options,
            process: Mutex::new(None),
            bus: None,
        };
        redis.run().await;
        Some(redis)
    }

    /// A node of a cluster. Its second port is claimed as well: 10,000 above the first, as by default, it
    /// may be another test's.
    pub async fn clustered() -> Option<Self> {
        let bus = Port::claim();
        let number = bus.number.to_string();
        let options = ["--cluster-enabled", "yes", "--cluster-port", &number];
        let mut redis = Redis::with(|_| options.map(str::to_owned).to_vec()).await?;
        redis.bus = Some(bus);
        Some(redis)
    }

    /// Several servers, in the order of their places among the hosts.
    pub async fn several(count: usize) -> Option<Vec<Self>> {
        let mut servers = Vec::new();
        for _ in 0..count {
            servers.push(Redis::start().await?);
        }
        Some(servers)
    }

    /// Runs the server, which remembers nothing of its life before.
    pub async fn run(&self) {
        let child = Command::new(program())
            .args([
                "--port",
                &self.port.number.to_string(),
                "--bind",
                "127.0.0.1",
            ])
            .args(["--save", "", "--appendonly", "no"])
            .args(&self.options)
            .current_dir(self.directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        *self.process.lock().unwrap() = Some(child);
        until("Redis", async || {
            let stream = tokio::net::TcpStream::connect(("127.0.0.1", self.port.number)).await;
            stream.is_ok()
        })
        .await;
    }

    pub fn kill(&self) {
        if let Some(mut child) = self.process.lock().unwrap().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops the server where it stands.
    pub fn freeze(&self) {
        freeze(self.process());
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        signal(self.process(), "CONT");
    }

    fn process(&self) -> u32 {
        self.process.lock().unwrap().as_ref().unwrap().id()
    }

    pub async fn restart(&self) {
        self.kill();
        self.run().await;
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port.number)
    }

    /// A connection of the test's own.
    pub fn open(&self) -> redis::Client {
        redis::Client::open(self.url()).unwrap()
    }

    /// The answer to one command, words separated by spaces.
    pub async fn ask<T: redis::FromRedisValue>(&self, command: &str) -> T {
        let mut words = command.split(' ');
        let mut question = redis::cmd(words.next().unwrap());
        question.arg(words.collect::<Vec<_>>());
        self.command(&question).await
    }

    pub async fn command<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> T {
        // By default it waits for half a second, which a busy machine may take.
        let patient = redis::AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        let mut connection = self
            .open()
            .get_multiplexed_async_connection_with_config(&patient)
            .await
            .unwrap();
        command.query_async(&mut connection).await.unwrap()
    }

    /// Every key, and the seconds it is still to live; -1 for ever.
    pub async fn keys(&self) -> Vec<(String, i64)> {
        let mut keys = Vec::new();
        for key in self.ask::<Vec<String>>("KEYS *").await {
            let left = self.ask(&format!("TTL {key}")).await;
            // It may have gone meanwhile.
            if left != -2 {
                keys.push((key, left));
            }
        }
        keys
    }

    /// How many connections listen on a channel of Redis' own.
    pub async fn listeners(&self, channel: &str) -> i64 {
        let (_, count): (String, i64) = self.ask(&format!("PUBSUB NUMSUB {channel}")).await;
        count
    }

    /// Cuts every connection of Chatferry's.
    pub async fn cut_connections(&self) {
        let list: String = self.ask("CLIENT LIST").await;
        for line in list.lines().filter(|line| !line.contains("cmd=client")) {
            let id = line
                .split(' ')
                .find_map(|part| part.strip_prefix("id="))
                .unwrap();
            let _: i64 = self.ask(&format!("CLIENT KILL ID {id}")).await;
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits until a channel of Redis' own has so many subscribers, on all servers together.
pub async fn subscribed(servers: &[Redis], channel: &str, wanted: i64) {
    until("subscriptions", async || {
        let mut count = 0;
        for server in servers {
            count += server.listeners(channel).await;
        }
        count == wanted
    })
    .await;
}
