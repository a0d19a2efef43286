//! Chatferry behind a real nginx, as people have it configured.

use std::process::{Child, Command, Stdio};

use crate::support::{
    Connection, Directory, Port, Server, Socket, request, skip, socket::handshake, until,
};

/// Ends with the test.
struct Nginx {
    process: Child,
    port: Port,
    _directory: Directory,
}

impl Nginx {
    /// An nginx whose `/old/` speaks its own default to the server, HTTP/1.0, and whose `/new/` does
    /// as `proxy_http_version 1.1` says.
    async fn before(server: &Server) -> Option<Self> {
        let (directory, port) = (Directory::new(), Port::claim());
        let location = |prefix: &str, more: &str| {
            format!(
                "location {prefix} {{ proxy_pass http://{}/; {more} \
                 proxy_set_header Upgrade $http_upgrade; \
                 proxy_set_header Connection \"upgrade\"; }}\n",
                server.address
            )
        };
        let config = format!(
            "daemon off; pid nginx.pid; error_log stderr; events {{}}\n\
             http {{ access_log off; client_body_temp_path body; proxy_temp_path proxy;\n\
             fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;\n\
             server {{ listen 127.0.0.1:{};\n{}{} }} }}\n",
            port.number,
            location("/old/", ""),
            location("/new/", "proxy_http_version 1.1;"),
        );
        std::fs::write(directory.path().join("nginx.conf"), config).unwrap();
        let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin";
        let mut nginx = Command::new("sh");
        nginx
            .args(["-c", "exec nginx -p . -c nginx.conf -e stderr"])
            .env("PATH", path)
            .current_dir(directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut process = nginx.spawn().unwrap();
        let mut ended = None;
        until("nginx", async || {
            ended = process.try_wait().unwrap();
            let at = ("127.0.0.1", port.number);
            ended.is_some() || tokio::net::TcpStream::connect(at).await.is_ok()
        })
        .await;
        if ended.is_some() {
            skip("no nginx");
            return None;
        }
        Some(Nginx {
            process,
            port,
            _directory: directory,
        })
    }

    async fn connect(&self) -> Connection {
        Connection::to(([127, 0, 0, 1], self.port.number).into()).await
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn sockets_live_and_requests_are_answered_in_either_http() {
    let server = Server::start().await;
    let id = server.conversation().await;
    let Some(nginx) = Nginx::before(&server).await else {
        return;
    };
    for prefix in ["old", "new"] {
        let path = format!("/{prefix}/ws/chat/{id}/");
        let socket = Socket::try_open(nginx.connect().await, &path, "").await;
        let mut socket = socket.ok().unwrap();
        socket.history().await;
        socket.works().await;
        let list = format!("/{prefix}/api/chat/conversations/{id}/messages/");
        let answer = nginx
            .connect()
            .await
            .ask(request("GET", &list, &[], None))
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let nobody = format!("/{prefix}/ws/chat/00000000-0000-4000-8000-000000000000/");
        let refused = Socket::try_open(nginx.connect().await, &nobody, "").await;
        assert_eq!(refused.err().unwrap().status, 403);
    }
}

#[tokio::test]
async fn a_handshake_of_the_old_http_may_come_in_pieces() {
    let server = Server::start().await;
    let id = server.conversation().await;
    let bytes = handshake(&format!("/ws/chat/{id}/"), "").replace("HTTP/1.1", "HTTP/1.0");
    for cut in [3, 40, bytes.len() - 30, bytes.len() - 1] {
        let mut connection = server.connect().await;
        connection.send(&bytes[..cut]).await;
        server.get("/healthz").await;
        let answer = connection.ask(&bytes[cut..]).await;
        assert_eq!(answer.line, "HTTP/1.1 101 Switching Protocols");
        let mut socket = Socket::over(connection);
        socket.history().await;
        socket.works().await;
    }
    let old = format!("GET /api/chat/conversations/{id}/ HTTP/1.0\r\nHost: localhost\r\n\r\n");
    let answer = server.send(old).await;
    assert_eq!(answer.line, "HTTP/1.0 200 OK");
}
