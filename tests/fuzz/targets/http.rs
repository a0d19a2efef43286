//! Bytes on a fresh connection to a whole server.

use std::{
    env, fs,
    io::{ErrorKind, Read, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    path::PathBuf,
    process,
    sync::LazyLock,
    time::Duration,
};

use chatferry::{
    config::Config,
    server::{Server, Site},
};

/// A server on a socket file, for as long as the process lives.
static SERVER: LazyLock<PathBuf> = LazyLock::new(|| {
    let directory = env::temp_dir().join(format!("chatferry-fuzz-{}", process::id()));
    fs::create_dir_all(&directory).unwrap();
    let socket = directory.join("socket");
    let flags = [
        ("server.bind", format!("unix:{}", socket.display())),
        (
            "store.url",
            format!("sqlite://{}", directory.join("chat.sqlite3").display()),
        ),
        ("log.level", "off".to_owned()),
    ]
    .map(|(key, value)| (key.to_owned(), value));
    let config = Config::load(None, std::iter::empty(), &flags)
        .unwrap()
        .config;
    let (ready, listening) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let server = Server::bind(Site::start(config).await.unwrap())
                .await
                .unwrap();
            ready.send(()).unwrap();
            server.run().await
        })
    });
    listening.recv().unwrap();
    // Open files go on working; nothing is left behind when the process ends.
    let _ = fs::remove_file(directory.join("chat.sqlite3"));
    socket
});

/// Whatever a client says first, it gets answers of HTTP or the end, and the next client is served.
pub fn http_bytes(input: &[u8]) {
    let mut hostile = connect();
    // The server may have answered and gone before all of it was said.
    let _ = hostile.write_all(input);
    // Ends what waits for more; the server may then drop what it was about to answer.
    let _ = hostile.shutdown(Shutdown::Write);
    let answer = everything(hostile);
    assert!(
        answer.is_empty() || answer.starts_with(b"HTTP/1."),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    let mut next = connect();
    next.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .unwrap();
    let answer = everything(next);
    assert!(
        answer.starts_with(b"HTTP/1.1 200"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
}

fn connect() -> UnixStream {
    let stream = UnixStream::connect(&*SERVER).unwrap();
    // So that a hang is an error; how long it takes says nothing.
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    stream
}

fn everything(mut stream: UnixStream) -> Vec<u8> {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("no answer and no end"),
        // A reset ends the answer as well.
        _ => answer,
    }
}
