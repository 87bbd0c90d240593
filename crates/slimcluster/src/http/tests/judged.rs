//! Whether a node is whom a request was meant for: refused before the handler, found out by the asking node.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::IntoResponse as _;
use http::StatusCode;
use slimcluster_core::{ClusterUuid, NodeId, Term};

use super::super::headers;
use super::world::*;

fn addressed(cluster: ClusterUuid, node: u128, term: Term) -> Request {
    Request::post("/")
        .header("slimcluster-to", headers::addressee(cluster, NodeId(node), term))
        .body(Body::empty())
        .unwrap()
}

#[tokio::test]
async fn only_the_node_that_is_named_handles_it() {
    let node = TestNode::leader(2);
    let app = node.app(|request| {
        assert!(!request.headers().contains_key("slimcluster-to"), "of no concern to handlers");
        "done".into_response()
    });
    let response = ask(&app, addressed(CLUSTER, 2, TERM)).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["slimcluster-from"], headers::echo(NodeId(2), TERM));
    assert_eq!(node.handled(), 1);

    let twice = Request::post("/")
        .header("slimcluster-to", headers::addressee(CLUSTER, NodeId(2), TERM))
        .header("slimcluster-to", headers::addressee(CLUSTER, NodeId(2), TERM));
    for refused in [
        addressed(ClusterUuid(1), 2, TERM),
        addressed(CLUSTER, 3, TERM),
        addressed(CLUSTER, 2, Term(6)),
        addressed(CLUSTER, 2, Term(8)),
        Request::post("/").header("slimcluster-to", "").body(Body::empty()).unwrap(),
        Request::post("/").header("slimcluster-to", "a/b/c").body(Body::empty()).unwrap(),
        twice.body(Body::empty()).unwrap(),
    ] {
        let response = ask(&app, refused).await;
        assert_eq!(response.status(), StatusCode::MISDIRECTED_REQUEST);
        assert!(!response.headers().contains_key("slimcluster-from"));
    }
    assert_eq!(node.handled(), 1, "no handler saw them");
}

#[tokio::test]
async fn there_is_never_a_second_hop() {
    let third = TestNode::leader(3);
    let second = TestNode::new(2);
    second.led_by(3, TERM, Some(&serve(third.unreached()).await));
    let app = second.unreached();
    assert_eq!(ask(&app, addressed(CLUSTER, 2, TERM)).await.status(), StatusCode::MISDIRECTED_REQUEST);
    assert_eq!(ask(&app, addressed(CLUSTER, 3, TERM)).await.status(), StatusCode::MISDIRECTED_REQUEST);
    assert_eq!((second.handled(), third.handled()), (0, 0));
}

#[tokio::test]
async fn a_delegated_request_that_is_not_selected_here_is_judged_all_the_same() {
    let node = TestNode::leader(2);
    let layer = super::super::DelegateToLeader::new(std::sync::Arc::new(node), |_| false);
    let app = Router::new().fallback(|| async { "done" }).layer(layer);
    assert_eq!(
        ask(&app, addressed(CLUSTER, 2, TERM)).await.headers()["slimcluster-from"],
        headers::echo(NodeId(2), TERM)
    );
    assert_eq!(ask(&app, addressed(CLUSTER, 4, TERM)).await.status(), StatusCode::MISDIRECTED_REQUEST);
}

#[tokio::test]
async fn a_refused_request_goes_to_the_next_leader() {
    let new = TestNode::leader(3);
    let new_at = serve(new.app(|_| "done".into_response())).await;
    let node = TestNode::new(1);
    // The old leader has lost its role and refuses; at that moment news of the new one arrive here.
    let (told, news) = (node.clone(), new_at.clone());
    let old = TestNode::new(2);
    let app =
        old.unreached().layer(axum::middleware::from_fn(move |request: Request, next: axum::middleware::Next| {
            let (told, news) = (told.clone(), news.clone());
            async move {
                let response = next.run(request).await;
                told.led_by(3, Term(8), Some(&news));
                response
            }
        }));
    node.led_by(2, TERM, Some(&serve(app).await));
    new.led_by(3, Term(8), None);

    let response = ask(&node.unreached(), post("some body")).await;
    assert_eq!((response.status().as_u16(), text(response).await.as_str()), (200, "done"));
    assert_eq!((old.handled(), new.handled()), (0, 1));
}

#[tokio::test]
async fn a_refused_request_whose_body_is_gone_is_certainly_not_applied() {
    let old = TestNode::new(2);
    let node = TestNode::follower_of(2, &serve(old.unreached()).await);
    let long = Body::from_stream(stream(vec![vec![0; 100_000]]));
    let response = ask(&node.unreached(), post(long)).await;
    assert_eq!(verdict(&response), NOT_APPLIED);
    assert_eq!(old.handled(), 0);
}

#[tokio::test]
async fn who_keeps_refusing_is_asked_until_the_bound_only() {
    let old = TestNode::new(2);
    let node = TestNode::follower_of(2, &serve(old.unreached()).await);
    let response = ask(&node.unreached(), post("x")).await;
    assert_eq!(verdict(&response), NOT_APPLIED);
    assert!(text(response).await.contains("does not lead"));
    assert_eq!(old.handled(), 0);
}

#[tokio::test]
async fn an_answer_without_the_right_echo_is_not_the_leaders() {
    for echo in [None, Some(headers::echo(NodeId(3), TERM)), Some(headers::echo(NodeId(2), Term(6)))] {
        let stranger = Router::new().fallback(move || async move {
            let mut response = "I do anything".into_response();
            if let Some(echo) = echo {
                response.headers_mut().insert("slimcluster-from", echo);
            }
            response
        });
        let node = TestNode::follower_of(2, &serve(stranger).await);
        let response = ask(&node.unreached(), post("")).await;
        assert_eq!(verdict(&response), (502, false, Some("unknown")));
        assert_eq!(node.handled(), 0);
    }
}

#[tokio::test]
async fn the_handlers_own_421_is_an_answer() {
    let leader = TestNode::leader(2);
    let app = leader.app(|_| (StatusCode::MISDIRECTED_REQUEST, "mine").into_response());
    let node = TestNode::follower_of(2, &serve(app).await);
    let response = ask(&node.unreached(), post("")).await;
    assert_eq!((response.status().as_u16(), text(response).await.as_str()), (421, "mine"));
    assert_eq!(leader.handled.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_leader_is_waited_for_within_the_bound() {
    let node = TestNode::new(1);
    let app = node.app(|_| "here".into_response());
    let response = ask(&app, post("")).await;
    assert_eq!(verdict(&response), NOT_APPLIED);

    // It is elected meanwhile: first without an address, then with one.
    let leader = TestNode::leader(2);
    let leader_at = serve(leader.app(|_| "there".into_response())).await;
    let long = Router::new().fallback(|| async { "here" }).layer(node.layer().leader_wait(Duration::from_secs(60)));
    let (response, ()) = tokio::join!(ask(&long, post("abc")), async {
        node.led_by(2, TERM, None);
        tokio::task::yield_now().await;
        node.led_by(2, TERM, Some(&leader_at));
    });
    assert_eq!(text(response).await, "there");

    // It is this node.
    let node = TestNode::new(1);
    let here =
        Router::new().fallback(|body: String| async { body }).layer(node.layer().leader_wait(Duration::from_secs(60)));
    let (response, ()) = tokio::join!(ask(&here, post("abc")), async { node.led_by(1, TERM, None) });
    assert_eq!(text(response).await, "abc");
}

#[tokio::test]
async fn a_leader_without_an_address_is_said_to_have_none() {
    let node = TestNode::new(1);
    node.led_by(2, TERM, None);
    let response = ask(&node.unreached(), post("")).await;
    assert_eq!(verdict(&response), NOT_APPLIED);
    assert!(text(response).await.contains("advertises no HTTP address"));
}
