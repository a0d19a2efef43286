//! An upstream that takes its time.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::upstream::{Call, Upstream};
use crate::support::{request, until};

#[tokio::test]
async fn no_more_requests_than_are_allowed_are_under_way_and_the_next_one_waits() {
    let open = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&open);
    let upstream = Upstream::start(move |mut call: Call| {
        let held = Arc::clone(&held);
        async move {
            while call.head().await.is_some() {
                held.acquire().await.unwrap().forget();
                call.answer("at last").await;
            }
        }
    })
    .await;
    let settings = [
        ("gateway.max_requests", "2"),
        ("gateway.connect_timeout_s", "1"),
    ];
    let server = upstream.gateway(&settings).await;
    let ask = || async {
        let mut client = server.connect().await;
        client.send(request("GET", "/", &[], None)).await;
        client
    };
    let (mut one, mut two) = (ask().await, ask().await);
    until("both to arrive", async || upstream.accepted() == 2).await;
    let refused = server.get("/").await;
    assert_eq!(refused.status, 503);
    assert!(refused.header("retry-after").is_some());
    assert_eq!(upstream.accepted(), 2);
    let mut three = ask().await;
    open.add_permits(3);
    for client in [&mut one, &mut two, &mut three] {
        assert_eq!(client.answer().await.status, 200);
    }
    let busy = "chatferry_gateway_failures_total{kind=\"busy\"}";
    assert!((server.metric(busy).await - 1.0).abs() < f64::EPSILON);
}
