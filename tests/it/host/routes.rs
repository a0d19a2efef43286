//! Routes of hosted sockets and requests, a share of them, and what a change does.

use super::{ACCEPT, CLOSED, DONE, ENDED, OPEN, TEXT_IN, TEXT_OUT, Worker, server, shake, web};
use crate::{
    gateway::upstream::{Call, Upstream},
    support::{
        Directory, Process, Server, Socket,
        server::config,
        socket::{CLOSE, frame, handshake},
        until,
    },
};

/// Stands for the Django of today: answers everything with `django`, and takes no socket.
async fn django() -> Upstream {
    Upstream::start(|mut call: Call| async move {
        while call.head().await.is_some() {
            call.answer("django").await;
        }
    })
    .await
}

/// Takes over other routes, as SIGHUP does.
fn reload(server: &Server, upstream: &str, routes: &str, on_change: &str) {
    let settings = [
        ("gateway.upstream", upstream),
        ("gateway.on_change", on_change),
        ("host.routes", routes),
    ];
    let config = config(&Directory::new(), &settings);
    server.site.host.as_ref().unwrap().take_over(&config);
}

/// A worker that accepts every socket, hears it, and answers every request.
async fn play(mut worker: Worker) {
    loop {
        let (kind, number, _) = worker.any().await;
        match kind {
            OPEN => {
                worker.say(0x44, number, ACCEPT).await;
                worker.say(DONE, number, b"").await;
            }
            TEXT_IN => {
                worker.say(TEXT_OUT, number, b"heard").await;
                worker.say(DONE, number, b"").await;
            }
            CLOSED => worker.say(ENDED, number, &[0xc2]).await,
            web::REQUEST => web::answer(&mut worker, number, b"hosted").await,
            _ => {}
        }
    }
}

/// Whether a new socket at this path is hosted.
async fn is_hosted(server: &Server, path: &str) -> bool {
    let mut socket = shake(server, path).await;
    let answer = socket.connection.head().await;
    assert!(matches!(answer.status, 101 | 200), "{}", answer.line);
    answer.status == 101
}

async fn open(server: &Server) -> Socket {
    let mut socket = shake(server, "/ws/room/").await;
    assert_eq!(socket.connection.head().await.status, 101);
    socket
}

async fn talks(socket: &mut Socket) {
    socket.send_text("still here").await;
    assert_eq!(socket.text().await, "heard");
}

#[tokio::test]
async fn a_share_is_hosted_and_the_rest_goes_where_it_went_before() {
    let django = django().await;
    let upstream = django.url();
    let settings = [
        ("gateway.upstream", &*upstream),
        ("host.routes", "/ws/room/=50%"),
        ("host.http_routes", "/page/=50%"),
    ];
    let (server, path) = server(&settings).await;
    tokio::spawn(play(Worker::join(&path).await));
    let (mut rooms, mut pages) = (0, 0);
    for number in 0..20 {
        let path = format!("/ws/room/{number}/");
        let first = is_hosted(&server, &path).await;
        assert_eq!(is_hosted(&server, &path).await, first);
        rooms += u32::from(first);
        let page = server.get(&format!("/page/{number}/")).await;
        assert!(["hosted", "django"].contains(&page.text()));
        pages += u32::from(page.text() == "hosted");
    }
    assert!((3..=17).contains(&rooms), "{rooms}");
    assert!((3..=17).contains(&pages), "{pages}");
    assert_eq!(server.get("/other/").await.text(), "django");
}

#[tokio::test]
async fn the_way_back_is_one_setting_and_closes_what_is_open() {
    let django = django().await;
    let upstream = django.url();
    let (server, path) = server(&[("gateway.upstream", &*upstream)]).await;
    tokio::spawn(play(Worker::join(&path).await));
    let mut socket = open(&server).await;
    reload(&server, &upstream, "/ws/room/", "drain");
    assert!(is_hosted(&server, "/ws/room/").await);
    assert!(!is_hosted(&server, "/ws/other/").await);
    talks(&mut socket).await;
    reload(&server, &upstream, "/ws/room/=tunnel", "drain");
    let end = socket.frame().await;
    assert_eq!(end.close_code(), 1012);
    socket.connection.send(frame(CLOSE, end.payload)).await;
    assert!(!is_hosted(&server, "/ws/room/").await);
    until("no socket is hosted", async || {
        server.metric("chatferry_host_ws_open").await == 0.0
    })
    .await;
}

#[tokio::test]
async fn a_change_leaves_open_sockets_if_it_is_set_so() {
    let django = django().await;
    let upstream = django.url();
    let (server, path) = server(&[("gateway.upstream", &*upstream)]).await;
    tokio::spawn(play(Worker::join(&path).await));
    let mut socket = open(&server).await;
    reload(&server, &upstream, "/ws/room/=0%", "leave");
    assert!(!is_hosted(&server, "/ws/room/").await);
    talks(&mut socket).await;
}

#[tokio::test]
async fn sighup_rereads_routes_and_refuses_those_that_lead_nowhere() {
    let directory = Directory::new();
    let socket = directory.path().join("workers.sock");
    let write = |routes: &str| {
        let text = format!(
            "[host]\nsocket = \"{}\"\nworkers = 0\nroutes = {routes}\n",
            socket.display()
        );
        std::fs::write(directory.path().join("chatferry.toml"), text).unwrap();
    };
    write("[\"/ws/\"]");
    let mut server = Process::start(&directory, &[]).await;
    write("[\"/ws/=5%\"]");
    server.signal("HUP").await;
    server.logs("needs a gateway.upstream").await;
    write("[\"/ws/a/\"]");
    server.signal("HUP").await;
    server.logs("host.routes = [\"/ws/a/\"]").await;
    for (path, status) in [("/ws/a/", 503), ("/ws/b/", 500)] {
        let mut client = server.connect().await;
        client.send(handshake(path, "")).await;
        assert_eq!(client.head().await.status, status, "{path}");
    }
}
