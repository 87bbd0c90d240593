//! What reaches the leader's handler, and what of its answer reaches the client.

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use http::{Method, StatusCode};

use super::world::*;

#[tokio::test]
async fn the_leader_handles_its_own_requests() {
    let node = TestNode::leader(1);
    let app = node.app(|request| {
        assert!(request.headers().keys().all(|name| !name.as_str().starts_with("slimcluster-")));
        ([("slimcluster-from", "forged"), ("x-kept", "1")], "here").into_response()
    });
    let request = Request::get("/").header("slimcluster-from", "forged").body(Body::empty()).unwrap();
    let response = ask(&app, request).await;
    assert_eq!(response.headers()["x-kept"], "1");
    assert!(!response.headers().contains_key("slimcluster-from"), "only a delegated request is answered with the echo");
    assert_eq!(text(response).await, "here");
}

#[tokio::test]
async fn what_is_not_selected_stays_on_this_node() {
    let leader = TestNode::leader(2);
    let node = TestNode::follower_of(2, &serve(leader.unreached()).await);
    let layer = super::super::DelegateToLeader::new(std::sync::Arc::new(node), |request| request.uri().path() == "/a");
    let app = Router::new().fallback(|| async { "here" }).layer(layer);
    assert_eq!(text(ask(&app, Request::get("/b").body(Body::empty()).unwrap()).await).await, "here");
    assert_eq!(leader.handled(), 0);
    assert_eq!(
        text(ask(&app, Request::get("/a").body(Body::empty()).unwrap()).await).await,
        "handled on the wrong node"
    );
}

/// Answers with what it got.
fn mirror(request: Request) -> Response {
    let mut seen = format!("{} {}\n", request.method(), request.uri());
    let mut lines: Vec<String> =
        request.headers().iter().map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap())).collect();
    lines.sort();
    seen.extend(lines);
    let mut response = Response::new(Body::from(seen));
    *response.status_mut() = StatusCode::IM_A_TEAPOT;
    for (name, value) in [
        ("x-answer", "1"),
        ("set-cookie", "a=1"),
        ("connection", "x-hop"),
        ("x-hop", "1"),
        ("keep-alive", "timeout=9"),
        ("slimcluster-to", "forged"),
        ("slimcluster-from", "forged"),
    ] {
        response.headers_mut().append(name, value.parse().unwrap());
    }
    response.headers_mut().append("set-cookie", "b=2".parse().unwrap());
    response
}

#[tokio::test]
async fn the_request_crosses_whole_except_for_what_concerns_one_connection() {
    let leader = serve(TestNode::leader(2).app(mirror)).await;
    let app = TestNode::follower_of(2, &leader).unreached();
    let client: std::net::SocketAddr = "192.0.2.9:5000".parse().unwrap();
    let request = Request::put("/a%20b/c?x=1&y=%2F")
        .header("host", "shop.example")
        .header("authorization", "Bearer t")
        .header("x-list", "1")
        .header("x-list", "2")
        .header("connection", "x-private, upgrade, HTTP2-Settings")
        .header("x-private", "1")
        .header("upgrade", "h2c")
        .header("http2-settings", "AAM")
        .header("te", "trailers")
        .header("proxy-authorization", "p")
        .header("expect", "100-continue")
        .header("slimcluster-from", "forged")
        .extension(ConnectInfo(client))
        .body(Body::from("abc"))
        .unwrap();
    let response = ask(&app, request).await;
    assert_eq!(response.status(), StatusCode::IM_A_TEAPOT);
    let mut names: Vec<&str> = response.headers().keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["content-length", "date", "set-cookie", "x-answer"]);
    assert_eq!(response.headers().get_all("set-cookie").iter().collect::<Vec<_>>(), ["a=1", "b=2"]);
    assert_eq!(
        text(response).await,
        format!(
            "PUT /a%20b/c?x=1&y=%2F\nauthorization: Bearer t\ncontent-length: 3\nhost: {leader}\n\
             x-forwarded-for: 192.0.2.9\nx-forwarded-host: shop.example\nx-list: 1\nx-list: 2\n"
        )
    );
}

#[tokio::test]
async fn every_method_and_body_crosses() {
    let leader = TestNode::leader(2);
    let app = Router::new()
        .fallback(|method: Method, body: String| async move { format!("{method} {body}") })
        .layer(leader.layer());
    let app = TestNode::follower_of(2, &serve(app).await).unreached();
    for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "PURGE"] {
        for body in ["", "abc"] {
            let request = Request::builder().method(method).uri("/x").body(Body::from(body)).unwrap();
            let response = ask(&app, request).await;
            assert_eq!(response.status(), 200, "{method} {body}");
            let expected = if method == "HEAD" { String::new() } else { format!("{method} {body}") };
            assert_eq!(text(response).await, expected);
        }
    }
}

#[tokio::test]
async fn a_nested_router_delegates_the_whole_path() {
    let routes = |node: &TestNode| {
        let inner = Router::new().route("/increment", any(|| async { "counted" })).layer(node.layer());
        Router::new().nest("/api/counter", inner)
    };
    let leader = serve(routes(&TestNode::leader(2))).await;
    let app = routes(&TestNode::follower_of(2, &leader));
    let response = ask(&app, Request::post("/api/counter/increment?by=1").body(Body::empty()).unwrap()).await;
    assert_eq!((response.status().as_u16(), text(response).await.as_str()), (200, "counted"));
}

#[tokio::test]
async fn what_is_no_exchange_of_request_and_answer_is_refused() {
    let leader = TestNode::leader(2);
    let app = TestNode::follower_of(2, &serve(leader.unreached()).await).unreached();
    let web_socket = Request::get("/").header("connection", "upgrade").header("upgrade", "websocket");
    assert_eq!(ask(&app, web_socket.body(Body::empty()).unwrap()).await.status(), 501);
    let tunnel = Request::builder().method("CONNECT").uri("example.org:443").body(Body::empty()).unwrap();
    assert_eq!(ask(&app, tunnel).await.status(), 501);
    assert_eq!(leader.handled(), 0);
}

#[tokio::test]
async fn connections_are_used_again() {
    let leader = TestNode::leader(2);
    let ports = std::sync::Arc::new(std::sync::Mutex::new(std::collections::BTreeSet::new()));
    let seen = std::sync::Arc::clone(&ports);
    let app = leader.app(move |request| {
        let peer = request.extensions().get::<ConnectInfo<std::net::SocketAddr>>().unwrap().0;
        seen.lock().unwrap().insert(peer.port());
        "ok".into_response()
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    let service = app.into_make_service_with_connect_info::<std::net::SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    let app = TestNode::follower_of(2, &authority).unreached();
    for _ in 0..50 {
        assert_eq!(text(ask(&app, post("1")).await).await, "ok");
        // The connection is ready again once its task has run.
        tokio::task::yield_now().await;
    }
    assert!(ports.lock().unwrap().len() < 10, "{} connections for 50 requests in turn", ports.lock().unwrap().len());
}
